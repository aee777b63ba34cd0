package codesign

import (
	"fmt"
	"strings"
)

// Report is what Verify found. Its JSON is what `mirrord sip verify --json` prints: names are stable, new ones may come.
type Report struct {
	Fat    bool    `json:"fat"`
	Slices []Slice `json:"slices"` // in the file's order; one for a thin file, never none
}

// Slice is one Mach-O image of a file.
type Slice struct {
	Arch       string `json:"arch"`        // as lipo calls it, "cpu 0x1000005/0x3" when it does not know it
	CPUType    uint32 `json:"cpu_type"`    // these two and Kind are 0 when the slice is unreadable
	CPUSubtype uint32 `json:"cpu_subtype"` // with its capability bits
	Kind       string `json:"kind"`        // "executable", "dylib", "bundle" and so on
	Offset     int64  `json:"offset"`      // bytes, in the file
	Size       int64  `json:"size"`        // bytes, with the signature
	Unreadable string `json:"unreadable,omitempty"`
	Signed     bool   `json:"signed"` // has a signature, right or wrong. Without one, all that follows but Faults is empty

	// What the signature says, by the CodeDirectory that the kernel takes: the one with the strongest hash.
	Identifier string   `json:"identifier,omitempty"`
	Team       string   `json:"team,omitempty"`
	CDHash     string   `json:"cdhash,omitempty"` // 40 hex digits, by which the kernel knows the program
	Flags      uint32   `json:"flags"`            // of the CodeDirectory, as stored; the kernel adds more to Apple's own programs
	FlagNames  []string `json:"flag_names,omitempty"`
	Platform   uint8    `json:"platform"`          // not 0 for Apple's platform binaries
	Runtime    string   `json:"runtime,omitempty"` // the SDK whose hardened runtime was asked for, "13.3.0"

	Directories     []Directory               `json:"directories,omitempty"` // in the signature's order
	Entitlements    map[string]any            `json:"entitlements"`          // nil when there are none. Values as in a property list; false is false
	EntitlementsIn  []string                  `json:"entitlements_in,omitempty"`
	Requirements    []string                  `json:"requirements,omitempty"` // kinds: "designated" and so on
	Constraints     map[string]map[string]any `json:"constraints,omitempty"`  // launch constraints, by whom they are for: "self", "parent", "responsible", "library"
	CMS             int                       `json:"cms"`                    // bytes of the certificate signature, 0 for ad hoc. It is not checked
	Ticket          bool                      `json:"ticket,omitempty"`       // a notarization ticket is stapled. It is not checked
	SignatureOffset int64                     `json:"signature_offset,omitempty"`
	SignatureSize   int64                     `json:"signature_size,omitempty"`

	Faults []Fault  `json:"faults"`          // never nil; what is wrong, in the order in which it was found
	Notes  []string `json:"notes,omitempty"` // what could not be checked, or is unusual
}

// Directory is a CodeDirectory: the hashes of all pages.
type Directory struct {
	Version      string            `json:"version"` // "0x20400"
	Hash         string            `json:"hash"`    // "SHA-1", "SHA-256", "SHA-256/20", "SHA-384"
	PageSize     uint64            `json:"page_size"`
	Pages        int               `json:"pages"`
	BadPages     []int             `json:"bad_pages"`     // never nil; numbers of pages, from 0, whose hash is another
	CodeLimit    uint64            `json:"code_limit"`    // bytes from the slice's beginning that the pages cover
	SpecialSlots map[string]string `json:"special_slots"` // by name: "right", "wrong", "missing", "uncovered" or "unchecked" (it is outside of the file)
	ExecSegment  *ExecSegment      `json:"exec_segment"`  // null before version 0x20400
}

// ExecSegment is the segment with the program's code.
type ExecSegment struct {
	Base  uint64 `json:"base"`
	Limit uint64 `json:"limit"`
	Flags uint64 `json:"flags"` // 1: the main program of a process
}

// Fault is something wrong.
type Fault struct {
	Offset  int64  `json:"offset"` // bytes, in the file
	Problem string `json:"problem"`
}

func (f Fault) String() string { return fmt.Sprintf("byte %d: %s", f.Offset, f.Problem) }

// Valid says that nothing is wrong. An unsigned slice is valid.
func (r *Report) Valid() bool {
	for _, s := range r.Slices {
		if !s.Valid() {
			return false
		}
	}
	return true
}

// Valid says that the slice can be read, and that nothing in it is wrong.
func (s *Slice) Valid() bool { return s.Unreadable == "" && len(s.Faults) == 0 }

// maxFaults is for files that are made of faults.
const maxFaults = 64

// faults collects what is wrong with one slice.
type faults struct {
	base int64 // in the file, of what offsets are counted from
	list []Fault
}

func (f *faults) add(offset int, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, Fault{f.base + int64(offset), fmt.Sprintf(format, args...)})
	}
}

// ranges writes rising numbers shortly: "0-3, 7", and at most eight of them.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		if len(parts) == 8 {
			return strings.Join(append(parts, "..."), ", ")
		}
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
