package judge

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/blacktop/go-macho"
	"github.com/blacktop/go-macho/pkg/fixupchains"
)

func goMachoSigned(_ testing.TB, _, file string) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	image, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	f, err := macho.NewFile(bytes.NewReader(image))
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	signature := f.CodeSignature()
	if signature == nil {
		return []string{"there is no signature"}
	}
	for _, err := range signature.Errors {
		wrong("%v", err)
	}
	if len(signature.CodeDirectories) == 0 {
		wrong("there is no CodeDirectory")
	}
	linkedit := f.Segment("__LINKEDIT")
	if linkedit == nil || uint64(signature.Offset)+uint64(signature.Size) != linkedit.Offset+linkedit.Filesz || linkedit.Offset+linkedit.Filesz != uint64(len(image)) {
		return append(faults, "the signature is not the end of __LINKEDIT and of the file")
	}
	for i, d := range signature.CodeDirectories {
		hash := map[uint8]crypto.Hash{1: crypto.SHA1, 2: crypto.SHA256, 3: crypto.SHA256, 4: crypto.SHA384}[uint8(d.Header.HashType)]
		if hash == 0 || d.Header.PageSize > 20 {
			wrong("CodeDirectory %d has hash type %d, and pages of 2^%d bytes", i, d.Header.HashType, d.Header.PageSize)
			continue
		}
		code := image[:signature.Offset]
		page := len(code)
		if d.Header.PageSize > 0 {
			page = 1 << d.Header.PageSize
		}
		pages := slices.Collect(slices.Chunk(code, page))
		if len(pages) != len(d.CodeSlots) {
			wrong("CodeDirectory %d has %d hashes of %d pages", i, len(d.CodeSlots), len(pages))
			continue
		}
		for k, slot := range d.CodeSlots {
			h := hash.New()
			h.Write(pages[k])
			if !bytes.Equal(slot.Hash, h.Sum(nil)[:len(slot.Hash)]) || len(slot.Hash) != int(d.Header.HashSize) {
				wrong("CodeDirectory %d has another hash of page %d", i, k)
			}
		}
	}
	return faults
}

func goMachoIdentity(_ testing.TB, _, file string) Identity {
	f, err := macho.Open(file)
	if err != nil {
		return Identity{}
	}
	defer f.Close()
	if s := f.CodeSignature(); s != nil && len(s.CodeDirectories) > 0 {
		d := s.CodeDirectories[0]
		return Identity{d.ID, d.TeamID, uint32(d.Header.Flags), d.CDHash[:min(40, len(d.CDHash))]}
	}
	return Identity{}
}

// goMachoFixups reads chained fixups, or dyld's older opcodes: of those it does not give where rebased pointers go.
func goMachoFixups(_ testing.TB, _, file string) (lines []string, ok bool) {
	f, err := macho.Open(file)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	add := func(at uint64, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%#x = ", at)+fmt.Sprintf(format, args...))
	}
	if f.HasDyldChainedFixups() {
		err = goMachoChains(f, add)
	} else if f.DyldInfo() != nil || f.DyldInfoOnly() != nil {
		err = goMachoOpcodes(f, add)
	}
	slices.Sort(lines)
	return lines, err == nil
}

func goMachoChains(f *macho.File, add func(at uint64, format string, args ...any)) error {
	chains, err := f.DyldChainedFixups()
	if err == nil {
		chains, err = chains.Parse()
	}
	if err != nil {
		return err
	}
	base := f.GetBaseAddress()
	for _, start := range chains.Starts {
		for _, fixup := range start.Fixups {
			at, err := f.GetVMAddress(fixup.Offset())
			if err != nil {
				return err
			}
			switch v := fixup.(type) {
			case fixupchains.Bind:
				add(at, "%s + %d", v.Name(), v.Addend())
			case fixupchains.Rebase:
				target := v.Target()
				if target >= base {
					target -= base // some formats have addresses, some offsets
				}
				add(at, "%#x", target)
			}
		}
	}
	return nil
}

func goMachoOpcodes(f *macho.File, add func(at uint64, format string, args ...any)) error {
	binds, err := f.GetBindInfo()
	if err != nil {
		return err
	}
	for _, b := range binds {
		add(b.Start+b.SegOffset, "%s + %d", b.Name, b.Addend)
	}
	rebases, err := f.GetRebaseInfo()
	for _, r := range rebases {
		add(r.Start+r.Offset, "rebased")
	}
	return err
}

// slicesOf gives the images of a fat file, or a thin file itself.
func slicesOf(t testing.TB, file []byte) (images [][]byte) {
	t.Helper()
	be, width := binary.BigEndian, 20
	switch {
	case len(file) < 8:
		return [][]byte{file}
	case be.Uint32(file) == 0xcafebabf:
		width = 32
	case be.Uint32(file) != 0xcafebabe:
		return [][]byte{file}
	}
	for i := range int(be.Uint32(file[4:])) {
		entry := file[8+i*width:]
		offset, size := uint64(be.Uint32(entry[8:])), uint64(be.Uint32(entry[12:]))
		if width == 32 {
			offset, size = be.Uint64(entry[8:]), be.Uint64(entry[16:])
		}
		if offset > uint64(len(file)) || size > uint64(len(file))-offset {
			t.Fatalf("slice %d is not within the file", i)
		}
		images = append(images, file[offset:][:size])
	}
	return images
}
