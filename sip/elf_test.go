package sip

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"
	"time"
)

// program is a recipe for the bytes of an ELF file, as far as inspectELF looks at them.
type program struct {
	class   elf.Class
	kind    elf.Type
	machine elf.Machine
	interp  string
	note    string // name of a note of type 4, two or three letters
	data    string // content of the writable segment
	section string // name of one section
	runpath string // where libraries are looked for
}

func (p program) bytes() []byte {
	le := binary.LittleEndian
	var body bytes.Buffer
	const headers = 64 + 5*56
	var table []byte
	segment := func(kind elf.ProgType, flags elf.ProgFlag, content []byte) {
		h := make([]byte, 56)
		le.PutUint32(h, uint32(kind))
		le.PutUint32(h[4:], uint32(flags))
		le.PutUint64(h[8:], uint64(headers+body.Len()))
		le.PutUint64(h[32:], uint64(len(content)))
		table = append(table, h...)
		body.Write(content)
	}
	const text, base = "text", 0x400000
	segment(elf.PT_LOAD, elf.PF_R|elf.PF_X, []byte(text+p.runpath+"\x00"))
	le.PutUint64(table[16:], base)
	if p.runpath != "" {
		var d []byte
		for _, v := range []uint64{uint64(elf.DT_NEEDED), 1, uint64(elf.DT_RUNPATH), 1, uint64(elf.DT_STRTAB), base + uint64(len(text)) - 1, 0, 0} {
			d = le.AppendUint64(d, v)
		}
		segment(elf.PT_DYNAMIC, elf.PF_R, d)
	}
	if p.interp != "" {
		segment(elf.PT_INTERP, elf.PF_R, []byte(p.interp+"\x00"))
	}
	if p.note != "" {
		n := le.AppendUint32(nil, 4)
		n = le.AppendUint32(le.AppendUint32(n, 4), 4)
		n = append(n, p.note...)
		n = append(n, make([]byte, 4-len(p.note)%4)...)
		// A note of another kind comes first.
		other := append(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 4), 8), 1), "GNU\x00abcdefgh"...)
		segment(elf.PT_NOTE, elf.PF_R, append(other, append(n, "desc"...)...))
	}
	if p.data != "" {
		segment(elf.PT_LOAD, elf.PF_R|elf.PF_W, []byte(p.data))
	}
	head := make([]byte, 64)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA], head[elf.EI_VERSION] = byte(p.class), byte(elf.ELFDATA2LSB), 1
	le.PutUint16(head[16:], uint16(p.kind))
	le.PutUint16(head[18:], uint16(p.machine))
	le.PutUint64(head[32:], 64)
	le.PutUint16(head[54:], 56)
	le.PutUint16(head[56:], uint16(len(table)/56))
	if p.section != "" {
		names := "\x00" + p.section + "\x00.shstrtab\x00"
		h := make([]byte, 64)
		le.PutUint64(h[24:], uint64(headers+body.Len()))
		le.PutUint64(h[32:], uint64(len(names)))
		body.WriteString(names)
		le.PutUint64(head[40:], uint64(headers+body.Len()))
		body.Write(h)
		le.PutUint16(head[58:], 64)
		le.PutUint16(head[60:], 1)
	}
	out := append(head, table...)
	out = append(out, make([]byte, headers-len(out))...)
	return append(out, body.Bytes()...)
}

const ldso = "/lib64/ld-linux-x86-64.so.2"

var programs = []struct {
	name   string
	p      program
	reason string
	origin bool
}{
	{"dynamic", program{interp: ldso}, "", false},
	{"static", program{}, reasonStatic, false},
	{"32 bit", program{class: elf.ELFCLASS32}, reasonMachine, false},
	{"another machine", program{machine: elf.EM_RISCV, interp: ldso}, reasonMachine, false},
	{"Go by its note", program{interp: ldso, note: "Go"}, reasonGo, false},
	{"static Go", program{note: "Go"}, reasonGo, false},
	{"another note", program{interp: ldso, note: "Gox"}, "", false},
	{"Go by its section", program{interp: ldso, section: ".go.buildinfo"}, reasonGo, false},
	{"another section", program{interp: ldso, section: ".go.buildinf"}, "", false},
	{"Go by its data", program{interp: ldso, data: "0123456789abcdef" + goMark + "\x08\x02"}, reasonGo, false},
	{"Go's mark not aligned", program{interp: ldso, data: "x" + goMark}, "", false},
	{"libraries beside it", program{interp: ldso, runpath: "/opt/lib:$ORIGIN/../lib"}, "", true},
	{"libraries beside it, in braces", program{interp: ldso, runpath: "${ORIGIN}"}, "", true},
	{"libraries elsewhere", program{interp: ldso, runpath: "/opt/ORIGIN"}, "", false},
}

func (p program) defaults() program {
	if p.class == 0 {
		p.class = elf.ELFCLASS64
	}
	if p.kind == 0 {
		p.kind = elf.ET_DYN
	}
	if p.machine == 0 {
		p.machine = machine
	}
	return p
}

func TestInspectELF(t *testing.T) {
	for _, tt := range programs {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := inspectELF(bytes.NewReader(tt.p.defaults().bytes()), "/bin/x")
			if want := (elfTraits{reason: tt.reason, origin: tt.origin}); !ok || got != want {
				t.Errorf("got %+v, %v; want %+v", got, ok, want)
			}
		})
	}
}

func TestInspectELFRefuses(t *testing.T) {
	whole := program{interp: ldso}.defaults().bytes()
	edit := func(at int, b ...byte) []byte {
		c := bytes.Clone(whole)
		copy(c[at:], b)
		return c
	}
	for name, raw := range map[string][]byte{
		"only the magic":           whole[:4],
		"cut in the header":        whole[:40],
		"cut in the table":         whole[:100],
		"a relocatable object":     edit(16, 1, 0),
		"no program headers":       edit(56, 0, 0),
		"headers of another size":  edit(54, 57, 0),
		"too many program headers": edit(56, 0xff, 0xff),
		"table far away":           edit(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if got, ok := inspectELF(bytes.NewReader(raw), "/bin/x"); ok {
			t.Errorf("%s: accepted (%+v)", name, got)
		}
	}
}

func TestLoaderItself(t *testing.T) {
	raw := program{}.defaults().bytes()
	if got, ok := inspectELF(bytes.NewReader(raw), ldso); !ok || got.reason != "" {
		t.Errorf("got %+v, %v", got, ok)
	}
}

// FuzzDecide feeds anything to the reader: it must neither panic nor read much.
func FuzzDecide(f *testing.F) {
	for _, tt := range programs {
		f.Add(tt.p.defaults().bytes())
	}
	for _, path := range []string{"/bin/true", "/lib64/ld-linux-x86-64.so.2"} {
		if raw, err := os.ReadFile(path); err == nil {
			f.Add(raw[:min(len(raw), 4096)])
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &counting{Reader: bytes.NewReader(raw)}
		start := time.Now()
		if got, ok := inspectELF(r, "/bin/x"); !ok && got != (elfTraits{}) {
			t.Errorf("refused, and yet %+v", got)
		}
		const most = 64 + 2*maxHeaders + maxHeaders + 8*maxNotes + maxNames + 4*maxData + 2*maxSearchPath
		if r.asked > most {
			t.Errorf("asked for %d bytes in %v", r.asked, time.Since(start))
		}
	})
}

type counting struct {
	*bytes.Reader
	asked int
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	c.asked += len(b)
	return c.Reader.ReadAt(b, off)
}
