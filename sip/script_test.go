package sip

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines are first lines of scripts; ECHO stands for an interpreter of one's own.
var lines = []struct {
	name, head string
	words      []string // interpreter and argument; nil means ENOEXEC
}{
	{"plain", "#!ECHO\n", []string{"ECHO"}},
	{"blank before", "#! \t ECHO\n", []string{"ECHO"}},
	{"blank behind", "#!ECHO \t \n", []string{"ECHO"}},
	{"argument", "#!ECHO -e\n", []string{"ECHO", "-e"}},
	{"argument is one word", "#!ECHO -S  node --x  \nrest", []string{"ECHO", "-S  node --x"}},
	{"tab between", "#!ECHO\t-e\n", []string{"ECHO", "-e"}},
	{"carriage return stays", "#!ECHO x\r\n", []string{"ECHO", "x\r"}},
	{"no newline", "#!ECHO", []string{"ECHO"}},
	{"no newline, argument", "#!ECHO -e", []string{"ECHO", "-e"}},
	{"no newline, blank behind", "#!ECHO ", []string{"ECHO", ""}},
	{"NUL ends the name", "#!ECHO\x00 -e\n", []string{"ECHO"}},
	{"NUL ends the argument", "#!ECHO a\x00b\n", []string{"ECHO", "a"}},
	{"empty", "#!", nil},
	{"only blanks", "#!   \n", nil},
	{"only a newline", "#!\n", nil},
	{"blanks to the end", "#!" + strings.Repeat(" ", 400), nil},
	{"argument cut at 255 bytes", "#!ECHO " + strings.Repeat("a", 400) + "\n", []string{"ECHO", "CUT"}},
	{"name longer than the line", "#!/" + strings.Repeat("a", 400) + "\n", nil},
	{"no script", "echo hi\n", nil},
	{"one byte", "#", nil},
}

func expand(echo, head string, words []string) (string, []string) {
	out := make([]string, 0, len(words))
	for _, w := range words {
		w = strings.ReplaceAll(w, "ECHO", echo)
		if w == "CUT" {
			w = strings.Repeat("a", headSize-1-len("#!")-len(echo)-1)
		}
		out = append(out, w)
	}
	return strings.ReplaceAll(head, "ECHO", echo), out
}

func TestInterpreterOf(t *testing.T) {
	for _, tt := range lines {
		t.Run(tt.name, func(t *testing.T) {
			head, want := expand("/bin/echo", tt.head, tt.words)
			name, arg, hasArg, ok := interpreterOf([]byte(head[:min(len(head), headSize)]))
			got := []string{}
			if ok {
				got = append(got, name)
			}
			if hasArg {
				got = append(got, arg)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestKernelReadsScriptsSo holds the table to the kernel itself.
func TestKernelReadsScriptsSo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the table says what Linux does")
	}
	dir := t.TempDir()
	echo := filepath.Join(dir, "echo")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, echo); err != nil {
		t.Fatal(err)
	}
	for _, tt := range lines {
		t.Run(tt.name, func(t *testing.T) {
			head, want := expand(echo, tt.head, tt.words)
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte(head), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(script, "last")
			cmd.Env = []string{"SIP_TEST_ECHO=1", "GORACE=atexit_sleep_ms=0"}
			out, err := cmd.Output()
			if tt.words == nil {
				if err == nil {
					t.Fatalf("the kernel ran it: %s", out)
				}
				return
			}
			var got []string
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %q", err, out)
			}
			if diff := cmp.Diff(append(want, script, "last"), got); diff != "" {
				t.Errorf("-want +kernel\n%s", diff)
			}
		})
	}
}

func FuzzInterpreterOf(f *testing.F) {
	for _, tt := range lines {
		f.Add([]byte(tt.head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		name, arg, hasArg, ok := interpreterOf(head[:min(len(head), headSize)])
		switch {
		case !ok && (name != "" || arg != "" || hasArg):
			t.Error("a refused line has words")
		case ok && (name == "" || strings.ContainsAny(name, " \t\n\x00")):
			t.Errorf("interpreter %q", name)
		case strings.ContainsAny(arg, "\n\x00"):
			t.Errorf("argument %q", arg)
		}
	})
}
