package judge

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rcodesignSigned runs `rcodesign verify`, which says of ad hoc signatures that there are no certificates.
func rcodesignSigned(t testing.TB, program, file string) (faults []string) {
	out, err := exec.CommandContext(t.Context(), program, "verify", file).Output() // its warnings go to standard error
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	expected := 0
	for _, line := range lines {
		switch {
		case line == "no cryptographic signature present", line == "CMS error: missing further values (at position 0)":
			expected++
		default:
			faults = append(faults, line)
		}
	}
	if expected != 1 {
		faults = append(faults, fmt.Sprintf("it did not see an ad hoc signature (%v)", err))
	}
	return faults
}

// WrongPages gives how many pages of a thin file rcodesign finds another hash for than its signature has; false when it is not there to be asked.
func WrongPages(t testing.TB, image []byte) (pages int, ok bool) {
	t.Helper()
	program, missing := onPath("rcodesign")()
	if missing != "" {
		return 0, false
	}
	for _, fault := range rcodesignSigned(t, program, written(t, image)) {
		if strings.HasPrefix(fault, "code digest") {
			pages++
		}
	}
	return pages, true
}

// rcodesignIdentity reads `rcodesign print-signature-info`, whose lines are those of YAML. It gives flags by name: only those of our own files are known here.
func rcodesignIdentity(t testing.TB, program, file string) (id Identity) {
	out, err := exec.CommandContext(t.Context(), program, "print-signature-info", file).Output()
	if err != nil {
		t.Errorf("rcodesign: %v", err)
	}
	blob := ""
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "- "), ": ")
		switch {
		case key == "slot":
			blob = value
		case key == "sha256" && blob == "CodeDirectory (0)":
			id.CDHash = value[:min(40, len(value))]
		case key == "identifier":
			id.Identifier = value
		case key == "team_name":
			id.Team = value
		case key == "flags" && value == "CodeSignatureFlags(ADHOC)":
			id.Flags = 2
		case key == "flags" && value == "CodeSignatureFlags(ADHOC | LINKER_SIGNED)":
			id.Flags = 0x20002
		}
	}
	return id
}

func llvmSigned(t testing.TB, program, file string) (faults []string) {
	out, err := exec.CommandContext(t.Context(), program, "--macho", "--private-headers", file).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "malformed") || strings.Contains(line, "past end") || strings.Contains(line, "Inconsistent") || strings.Contains(line, "error:") {
			faults = append(faults, strings.TrimSpace(line))
		}
	}
	if err != nil && len(faults) == 0 {
		faults = append(faults, err.Error())
	}
	if !strings.Contains(string(out), "cmd LC_CODE_SIGNATURE") {
		faults = append(faults, "there is no LC_CODE_SIGNATURE")
	}
	return faults
}

// llvmFixups are those of chained fixups and of dyld's older opcodes, as one table.
func llvmFixups(t testing.TB, program, file string) (lines []string, ok bool) {
	args := []string{"--macho", "--dyld-info", "--rebase", "--bind", "--lazy-bind", "--weak-bind", "--exports-trie", file}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, file) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines, true
}

// liefScript answers each line, the path of a file, with a line of JSON.
//
//go:embed ask_lief.py
var liefScript string

// liefPython gives a Python with LIEF: MIRRORD_LIEF, or python3 on the PATH.
var liefPython = sync.OnceValues(func() (path, missing string) {
	python := os.Getenv("MIRRORD_LIEF")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import lief").Run() != nil {
		return "", python + " has no LIEF"
	}
	return python, ""
})

// lief is one Python for all questions of a test program, because it takes its time to start. It ends with the test program, or when it dies of a file.
var lief struct {
	sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

type liefSays struct {
	Faults, Fixups []string
}

func askLIEF(program, file string) (says liefSays) {
	lief.Lock()
	defer lief.Unlock()
	line, err := liefLine(program, file)
	if err == nil {
		err = json.Unmarshal(line, &says)
	}
	if err != nil {
		lief.in = nil
		says.Faults = append(says.Faults, err.Error())
	}
	return says
}

func liefLine(program, file string) ([]byte, error) {
	if lief.in == nil {
		cmd := exec.Command(program, "-c", liefScript)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		lief.in, lief.out = in, bufio.NewReader(out)
	}
	if _, err := fmt.Fprintln(lief.in, file); err != nil {
		return nil, err
	}
	return lief.out.ReadBytes('\n')
}

func liefSigned(_ testing.TB, program, file string) []string { return askLIEF(program, file).Faults }

func liefFixups(_ testing.TB, program, file string) ([]string, bool) {
	says := askLIEF(program, file)
	return says.Fixups, says.Fixups != nil
}
