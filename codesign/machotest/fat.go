package machotest

import "encoding/binary"

// Fat joins thin files, each at a multiple of 16 KiB.
func Fat(slices ...[]byte) []byte { return fat(0xcafebabe, slices) }

// Fat64 does so with offsets of 64 bits, which no kernel runs.
func Fat64(slices ...[]byte) []byte { return fat(0xcafebabf, slices) }

func fat(magic uint32, slices [][]byte) []byte {
	const align = 14 // log2
	be, le := binary.BigEndian, binary.LittleEndian
	head := be.AppendUint32(be.AppendUint32(nil, magic), uint32(len(slices)))
	at, offsets := 1<<align, []int{}
	for _, s := range slices {
		offsets = append(offsets, at)
		head = be.AppendUint32(be.AppendUint32(head, le.Uint32(s[4:])), le.Uint32(s[8:]))
		if magic == 0xcafebabf {
			head = be.AppendUint64(be.AppendUint64(head, uint64(at)), uint64(len(s)))
			head = be.AppendUint64(head, align<<32)
		} else {
			head = be.AppendUint32(be.AppendUint32(be.AppendUint32(head, uint32(at)), uint32(len(s))), align)
		}
		at = up(at+len(s), 1<<align)
	}
	for k, s := range slices {
		head = append(append(head, make([]byte, offsets[k]-len(head))...), s...)
	}
	return head
}
