package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"mirrord/codesign/macho"
)

func thin(data []byte) (*macho.Slice, error) {
	f, err := macho.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if f.Magic != 0 {
		return nil, errors.New("a universal file is no slice")
	}
	return f.Slices[0], nil
}

// asARM64e gives the arm64 slice among slices with the header of an arm64e one (mach-o/loader.h: cpusubtype is the third word).
func asARM64e(slices [][]byte) ([]byte, error) {
	for _, data := range slices {
		s, err := thin(data)
		if err != nil {
			return nil, err
		}
		if s.Arch != macho.ARM64 {
			continue
		}
		if err := plainFixups(s); err != nil {
			return nil, fmt.Errorf("the arm64 slice cannot be named arm64e: %w", err)
		}
		out := bytes.Clone(data)
		binary.LittleEndian.PutUint32(out[8:], macho.ARM64e.Subtype)
		return out, nil
	}
	return nil, errors.New("there is no arm64 slice")
}

// Load commands that tell where the pointers are (mach-o/loader.h, mach-o/fixup-chains.h).
const (
	lcDyldInfo      = 0x22
	lcDyldInfoOnly  = lcDyldInfo | macho.LCRequireDyld
	lcChainedFixups = 0x34 | macho.LCRequireDyld

	chainedPtr64       = 2
	chainedPtr64Offset = 6
	startsOffsetAt     = 4 // in dyld_chained_fixups_header
	pointerFormatAt    = 6 // in dyld_chained_starts_in_segment
)

// plainFixups checks that a slice's pointers stand in chains, in a format without signed ones. In an arm64e image dyld takes opcodes for the threaded
// chains of old (dyld common/MachOFile.cpp), and would write nonsense.
func plainFixups(s *macho.Slice) error {
	if s.Command(lcDyldInfo) != nil || s.Command(lcDyldInfoOnly) != nil {
		return errors.New("its fixups are opcodes (link it with -fixup_chains)")
	}
	c := s.Command(lcChainedFixups)
	if c == nil || len(c.Data) < 16 {
		return errors.New("it has no chained fixups (link it with -fixup_chains)")
	}
	le := binary.LittleEndian
	blob := int64(le.Uint32(c.Data[8:]))
	end := blob + int64(le.Uint32(c.Data[12:]))
	number := func(at int64, size int64) (uint32, error) {
		var b [4]byte
		if at < blob || at+size > end {
			return 0, errors.New("its chained fixups are cut off")
		}
		err := s.ReadFull(b[:size], at)
		return le.Uint32(b[:]), err
	}
	offset, err := number(blob+startsOffsetAt, 4)
	if err != nil {
		return err
	}
	starts := blob + int64(offset)
	count, err := number(starts, 4)
	if err != nil {
		return err
	}
	for i := range int64(min(count, uint32(len(s.Segments)))) {
		at, err := number(starts+4+4*i, 4)
		if err != nil {
			return err
		}
		if at == 0 { // no pointers in this segment
			continue
		}
		format, err := number(starts+int64(at)+pointerFormatAt, 2)
		if err != nil {
			return err
		}
		if format != chainedPtr64 && format != chainedPtr64Offset {
			return fmt.Errorf("its fixups have format %d, which dyld reads otherwise in an arm64e image", format)
		}
	}
	return nil
}
