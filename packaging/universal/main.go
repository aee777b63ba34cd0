// Universal joins programs for different architectures of macOS to one file, and signs each ad hoc: arm64 programs do not run unsigned, and a
// signed x86_64 one can be told by its signature, too. The same input gives the same bytes, on any system.
//
//	universal [-arm64e] -identifier NAME -o FILE SLICE...
//
// With -arm64e, which is for a library, its arm64 slice is there a second time, named arm64e. Programs that were built for pointer authentication load no
// plain arm64 library; when the kernel runs them with the keys off they take this one. It holds no signed pointer, so it is for those alone. dyld prefers it
// in plain arm64 programs, too (dyld mach_o/GradedArchitectures.cpp), where it is the same code.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"mirrord/codesign"
)

func main() {
	identifier := flag.String("identifier", "", "the program's `name` for the system")
	out := flag.String("o", "", "the `file` to write")
	arm64e := flag.Bool("arm64e", false, "add the arm64 slice once more as arm64e")
	flag.Parse()
	if err := universal(*out, *identifier, *arm64e, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "universal:", err)
		os.Exit(1)
	}
}

// universal writes a new file and renames it: the kernel remembers the signature of one that it has seen (Apple, "Updating Mac Software").
func universal(out, identifier string, arm64e bool, names []string) (err error) {
	if out == "" || len(names) == 0 {
		return errors.New("usage: universal [-arm64e] -identifier NAME -o FILE SLICE...")
	}
	slices := make([][]byte, len(names))
	for i, name := range names {
		if slices[i], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if arm64e {
		added, err := asARM64e(slices)
		if err != nil {
			return err
		}
		slices = append(slices, added)
	}
	file, err := os.CreateTemp(filepath.Dir(out), ".universal-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := errors.Join(join(file, identifier, slices), file.Chmod(0o755), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), out)
}

// Values of mach-o/fat.h and mach-o/loader.h. The kernel executes fat files with 32-bit offsets only (xnu bsd/kern/mach_fat.c).
const (
	magicFat  = 0xcafebabe
	magicThin = 0xfeedfacf // 64-bit
	fatEntry  = 20         // bytes: cputype, cpusubtype, offset, size, alignment
	pageShift = 14         // slices begin at a page of Apple silicon
)

// join writes the slices, in this order, as one signed file. An architecture may come only once.
func join(w io.Writer, identifier string, slices [][]byte) error {
	be := binary.BigEndian
	head := be.AppendUint32(nil, magicFat)
	head = be.AppendUint32(head, uint32(len(slices)))
	at := roundUp(8 + len(slices)*fatEntry)
	seen := map[[2]uint32]bool{}
	var body []byte
	for i, s := range slices {
		if len(s) < 32 || binary.LittleEndian.Uint32(s) != magicThin {
			return fmt.Errorf("file %d is no 64-bit Mach-O file for one architecture", i+1)
		}
		arch := [2]uint32{binary.LittleEndian.Uint32(s[4:]), binary.LittleEndian.Uint32(s[8:])}
		if seen[arch] {
			return fmt.Errorf("file %d is for the same architecture as one before it", i+1)
		}
		seen[arch] = true
		if at+len(s) > math.MaxUint32 {
			return errors.New("together they are beyond the 4 GiB of a fat file")
		}
		for _, n := range []uint32{arch[0], arch[1], uint32(at), uint32(len(s)), pageShift} {
			head = be.AppendUint32(head, n)
		}
		body = append(body, s...)
		body = append(body, make([]byte, roundUp(len(s))-len(s))...)
		at += roundUp(len(s))
	}
	unsigned := append(append(head, make([]byte, roundUp(len(head))-len(head))...), body...)
	return codesign.Sign(w, bytes.NewReader(unsigned), int64(len(unsigned)), codesign.Options{Identifier: identifier})
}

func roundUp(n int) int { return (n + 1<<pageShift - 1) &^ (1<<pageShift - 1) }
