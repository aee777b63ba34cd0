// Package judge asks programs that others wrote whether a Mach-O file is sound; only tests import it. No judge knows all, and none is the kernel:
//
//	go-macho      load commands and signature can be read; the hashes of pages that it reads are those of the pages (hashed here); fixups
//	rcodesign     hashes of all pages and of the signature's blobs, by its own code (`rcodesign verify`, of the first CodeDirectory); __LINKEDIT is
//	              the last segment, and the signature its end. Not what else a CodeDirectory says: its limit, flags, the segment with code
//	LIEF          dyld's rules about segments, their sizes, order and content, and about what is in __LINKEDIT; bound pointers. Not the signature
//	llvm-objdump  load commands are complete, and what they name is within the file and does not overlap; fixups, but not those of arm64e. Not the signature
//
// go-macho is compiled in. The others are looked for on the PATH; `make test-darwin` installs them, and sets MIRRORD_JUDGES=required: a judge that
// is missing is an error then, and named otherwise.
package judge

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// judge is one of them.
type judge struct {
	name string
	// program finds what has to be installed; "" with the reason when it is not.
	program func() (path, missing string)
	// signed gives what is wrong with a thin, signed file, and with its signature.
	signed func(t testing.TB, program, file string) []string
	// identity is what the judge reads of a signature.
	identity func(t testing.TB, program, file string) Identity
	// fixups gives a line for each place that dyld fills in, sorted; false when the judge cannot read such fixups.
	fixups func(t testing.TB, program, file string) ([]string, bool)
}

// Identity is what a signature says about its program, by the first CodeDirectory.
type Identity struct {
	Identifier, Team string
	Flags            uint32
	CDHash           string // 40 hex digits
}

// all are the judges. go-macho is the last because it can take any amount of memory by numbers in a broken file: what others find broken it is not given.
var all = []judge{
	{"rcodesign", onPath("rcodesign"), rcodesignSigned, rcodesignIdentity, nil},
	{"LIEF", liefPython, liefSigned, nil, liefFixups},
	{"llvm-objdump", onPath("llvm-objdump-19", "llvm-objdump"), llvmSigned, nil, llvmFixups},
	{"go-macho", compiledIn, goMachoSigned, goMachoIdentity, goMachoFixups},
}

func compiledIn() (path, missing string) { return "compiled in", "" }

func onPath(names ...string) func() (path, missing string) {
	return func() (string, string) {
		for _, name := range names {
			if path, err := exec.LookPath(name); err == nil {
				return path, ""
			}
		}
		return "", names[0] + " is not installed"
	}
}

// required says that a missing judge is an error.
func required() bool { return os.Getenv("MIRRORD_JUDGES") == "required" }

// missing says why a judge cannot be asked, "" when it can.
func (j judge) missing() string {
	_, missing := j.program()
	return missing
}

// faults is what the judge finds wrong with a thin, signed file. It has to be there.
func (j judge) faults(t testing.TB, image []byte) []string {
	t.Helper()
	program, _ := j.program()
	return j.signed(t, program, written(t, image))
}

// Signed has the judges look at every slice of a file, thin or fat, that has been signed ad hoc, until one finds something.
func Signed(t testing.TB, file []byte) {
	t.Helper()
	judges := present(t)
	for i, image := range slicesOf(t, file) {
		for _, j := range judges {
			faults := j.faults(t, image)
			for _, fault := range faults {
				t.Errorf("%s about slice %d: %s", j.name, i, fault)
			}
			if faults != nil {
				break
			}
		}
	}
}

// Identified has every judge that can do so read whom a slice's signature is for.
func Identified(t testing.TB, image []byte, want Identity) {
	t.Helper()
	for _, j := range present(t) {
		if j.identity == nil {
			continue
		}
		program, _ := j.program()
		if got := j.identity(t, program, written(t, image)); got != want {
			t.Errorf("%s sees %+v, not %+v", j.name, got, want)
		}
	}
}

// SameFixups has the judges that can read them compare what dyld is told to fill in, by the files before and after a change: for each slice the
// same pointers at the same addresses, bound to the same symbols or to the same places. At least one judge has to read both.
func SameFixups(t testing.TB, before, after []byte) {
	t.Helper()
	olds, news := slicesOf(t, before), slicesOf(t, after)
	if len(olds) != len(news) {
		t.Errorf("%d slices became %d", len(olds), len(news))
		return
	}
	judges := present(t)
	for i := range olds {
		read := 0
		for _, j := range judges {
			if j.fixups == nil {
				continue
			}
			program, _ := j.program()
			a, ok := j.fixups(t, program, written(t, olds[i]))
			b, ok2 := j.fixups(t, program, written(t, news[i]))
			if !ok || !ok2 {
				continue
			}
			read++
			if !slices.Equal(a, b) {
				t.Errorf("%s sees other fixups in slice %d:\nbefore\n%s\nafter\n%s", j.name, i, difference(a, b), difference(b, a))
				break
			}
		}
		if read == 0 && len(judges) == len(all) {
			t.Errorf("no judge can read the fixups of slice %d", i)
		}
	}
}

// present gives the judges that can be asked.
func present(t testing.TB) (judges []judge) {
	t.Helper()
	for _, j := range all {
		switch missing := j.missing(); {
		case missing == "":
			judges = append(judges, j)
		case required():
			t.Fatalf("the judge %s is required: %s", j.name, missing)
		default:
			t.Logf("left out: the judge %s: %s", j.name, missing)
		}
	}
	return judges
}

// difference gives the lines of a that b has not, at most ten.
func difference(a, b []string) string {
	var lines []string
	for _, line := range a {
		if !slices.Contains(b, line) && len(lines) < 10 {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines, "\n")
}

func written(t testing.TB, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
