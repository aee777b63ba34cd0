package sip

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// tree writes the files of a test: name → content. A name that ends in "-" is not executable.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		mode := os.FileMode(0o755)
		if name[len(name)-1] == '-' {
			mode = 0o644
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll([]byte(content), []byte("DIR"), []byte(dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDecide(t *testing.T) {
	dynamic := string(program{interp: ldso}.defaults().bytes())
	static := string(program{}.defaults().bytes())
	dir := tree(t, map[string]string{
		"bin/app":     dynamic,
		"bin/static":  static,
		"bin/one":     "#!DIR/bin/app -x\n",
		"bin/two":     "#!DIR/bin/one\n",
		"bin/rel":     "#!bin/app\n",
		"bin/onstat":  "#!DIR/bin/static\n",
		"bin/gone":    "#!/does/not/exist\n",
		"bin/bare":    "echo hi\n",
		"bin/onbare":  "#!DIR/bin/bare\n",
		"bin/loop":    "#!DIR/bin/loop\n",
		"bin/broken":  "\x7fELF but not much more",
		"bin/empty":   "",
		"bin/note-":   "text",
		"bin/dir/x":   "",
		"other/app":   static,
		"denied/app-": dynamic,
	})
	sh, _ := New().look(shell)
	if sh == nil || sh.format != formatBinary {
		t.Skip("no /bin/sh here")
	}
	for _, tt := range []struct {
		name string
		r    Request
		want Verdict
		err  error
	}{
		{"by path", Request{Path: dir + "/bin/app"}, Verdict{Kind: Inject, Path: dir + "/bin/app", Chain: []string{"bin/app"}}, nil},
		{"relative", Request{Path: "./bin/app"}, Verdict{Kind: Inject, Path: "./bin/app", Chain: []string{"bin/app"}}, nil},
		{"script", Request{Path: "bin/one"}, Verdict{Kind: Inject, Path: "bin/one", Chain: []string{"bin/one", "bin/app"}}, nil},
		{"script of a script", Request{Path: "bin/two"}, Verdict{Kind: Inject, Path: "bin/two", Chain: []string{"bin/two", "bin/one", "bin/app"}}, nil},
		{"relative interpreter", Request{Path: dir + "/bin/rel"}, Verdict{Kind: Inject, Path: dir + "/bin/rel", Chain: []string{"bin/rel", "bin/app"}}, nil},
		{"script of a static program", Request{Path: "bin/onstat"}, Verdict{Kind: Outside, Path: "bin/onstat", Chain: []string{"bin/onstat", "bin/static"}, Reason: reasonStatic}, nil},
		{"searched", Request{Path: "app", Search: true, PathVar: "/nowhere:" + dir + "/bin"}, Verdict{Kind: Inject, Path: dir + "/bin/app", Chain: []string{"bin/app"}}, nil},
		{"first of PATH", Request{Path: "app", Search: true, PathVar: dir + "/other:" + dir + "/bin"}, Verdict{Kind: Outside, Path: dir + "/other/app", Chain: []string{"other/app"}, Reason: reasonStatic}, nil},
		{"empty element of PATH", Request{Path: "app", Search: true, PathVar: "/nowhere:", Cwd: dir + "/bin"}, Verdict{Kind: Inject, Path: "./app", Chain: []string{"bin/app"}}, nil},
		{"no search", Request{Path: "app", PathVar: dir + "/bin"}, Verdict{}, ErrNotFound},
		{"a file in PATH", Request{Path: "app", Search: true, PathVar: dir + "/bin/one"}, Verdict{}, ErrNotFound},
		{"nowhere", Request{Path: "app", Search: true, PathVar: "/nowhere"}, Verdict{}, ErrNotFound},
		{"denied, then found", Request{Path: "app", Search: true, PathVar: dir + "/bin/dir:" + dir + "/bin"}, Verdict{Kind: Inject, Path: dir + "/bin/app", Chain: []string{"bin/app"}}, nil},
		{"denied, never found", Request{Path: "note-", Search: true, PathVar: dir + "/bin:/nowhere"}, Verdict{}, ErrNotExecutable},
		{"empty name", Request{Path: "", Search: true, PathVar: dir + "/bin"}, Verdict{}, ErrNotFound},
		{"a folder", Request{Path: "bin"}, Verdict{}, ErrNotExecutable},
		{"no x bit", Request{Path: "bin/note-"}, Verdict{}, ErrNotExecutable},
		{"interpreter missing", Request{Path: "bin/gone"}, Verdict{}, ErrNotFound},
		{"loop", Request{Path: "bin/loop"}, Verdict{}, ErrNotExecutable},
		{"broken binary", Request{Path: "bin/broken", Search: true}, Verdict{}, ErrNotExecutable},
		{"unknown format", Request{Path: "bin/bare"}, Verdict{}, ErrNotExecutable},
		{"unknown format, execvp", Request{Path: "bin/bare", Search: true}, Verdict{Kind: Inject, Path: shell, Words: []string{shell, "bin/bare"}, Chain: []string{"bin/bare", shell}}, nil},
		{"empty file, execvp", Request{Path: "bin/empty", Search: true}, Verdict{Kind: Inject, Path: shell, Words: []string{shell, "bin/empty"}, Chain: []string{"bin/empty", shell}}, nil},
		{"interpreter of unknown format, execvp", Request{Path: "bin/onbare", Search: true}, Verdict{Kind: Inject, Path: shell, Words: []string{shell, "bin/onbare"}, Chain: []string{"bin/onbare", shell}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.r.Cwd == "" {
				tt.r.Cwd = dir
			}
			got := New().Decide(tt.r)
			if !errors.Is(got.Err, tt.err) || (got.Err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", got.Err, tt.err)
			}
			for i, c := range tt.want.Chain {
				if !filepath.IsAbs(c) {
					tt.want.Chain[i] = filepath.Join(dir, c)
				}
				tt.want.Program = tt.want.Chain[i]
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Verdict{}, "Err")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestDepth holds the limit to the kernel's.
func TestDepth(t *testing.T) {
	files := map[string]string{"s0": "#!/bin/true\n"}
	for i := 1; i < 8; i++ {
		files[fmt.Sprintf("s%d", i)] = fmt.Sprintf("#!DIR/s%d\n", i-1)
	}
	dir := tree(t, files)
	e := New()
	for i := range 8 {
		path := fmt.Sprintf("%s/s%d", dir, i)
		kernel := exec.Command(path).Run()
		if got := e.Decide(Request{Path: path}); (got.Err == nil) != (kernel == nil) {
			t.Errorf("%d scripts: decided %v, the kernel %v", i+1, got.Err, kernel)
		}
	}
}

func TestChangedFileIsReadAgain(t *testing.T) {
	dir := tree(t, map[string]string{"app": string(program{interp: ldso}.defaults().bytes())})
	e := New()
	r := Request{Path: dir + "/app"}
	if v := e.Decide(r); v.Kind != Inject {
		t.Fatalf("first %+v", v)
	}
	if err := os.WriteFile(dir+"/new", program{}.defaults().bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/new", dir+"/app"); err != nil {
		t.Fatal(err)
	}
	if v := e.Decide(r); v.Kind != Outside {
		t.Fatalf("after the change %+v", v)
	}
	if err := os.Chmod(dir+"/app", 0o644); err != nil {
		t.Fatal(err)
	}
	if v := e.Decide(r); !errors.Is(v.Err, ErrNotExecutable) {
		t.Fatalf("after chmod %+v", v)
	}
}

func TestPrivilege(t *testing.T) {
	const me, you = 1000, 65534
	for _, tt := range []struct {
		name string
		f    file
		c    Creds
		want string
	}{
		{"plain", file{mode: 0o755}, Creds{me, me}, ""},
		{"setuid of another", file{mode: unix.S_ISUID | 0o755}, Creds{me, me}, reasonSetuid},
		{"setuid of the caller", file{mode: unix.S_ISUID | 0o755, uid: me, gid: me}, Creds{me, me}, ""},
		{"setuid of another for root", file{mode: unix.S_ISUID | 0o755, uid: you}, Creds{0, 0}, reasonSetuid},
		{"setuid root for root", file{mode: unix.S_ISUID | 0o755}, Creds{0, 0}, ""},
		{"setgid of another", file{mode: unix.S_ISGID | 0o755, gid: you}, Creds{me, me}, reasonSetgid},
		{"setgid of another for root", file{mode: unix.S_ISGID | 0o755, gid: you}, Creds{0, 0}, reasonSetgid},
		{"setgid without group execution", file{mode: unix.S_ISGID | 0o745, gid: you}, Creds{me, me}, ""},
		{"capabilities", file{mode: 0o755, caps: true}, Creds{me, me}, reasonCaps},
		{"capabilities for root", file{mode: 0o755, caps: true}, Creds{0, 0}, ""},
	} {
		if got := (host{}).privilege("/", &tt.f, &tt.c); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	restricted := host{uid: me, gid: me, noNewPrivilege: true}
	if got := restricted.privilege("/", &file{mode: unix.S_ISUID | 0o755}, nil); got != "" {
		t.Errorf("setuid under no_new_privs: %q", got)
	}
	if got := restricted.privilege("/", &file{mode: 0o755, caps: true}, nil); got != reasonCaps {
		t.Errorf("capabilities under no_new_privs: %q", got)
	}
}

// TestJudge tells apart what runs as a copy and what is outside.
func TestJudge(t *testing.T) {
	net := []string{"cap_net_bind_service"}
	for _, tt := range []struct {
		name      string
		f         file
		program   string
		privilege string
		asIs      bool
		want      Verdict
	}{
		{"plain", file{}, "/bin/app", "", false, Verdict{Kind: Inject}},
		{"may only be executed", file{unreadable: true}, "/bin/app", "", false, Verdict{Kind: Inject}},
		{"static", file{reason: reasonStatic}, "/bin/app", reasonSetgid, false, Verdict{Kind: Outside, Reason: reasonStatic}},
		{"setuid", file{}, "/bin/app", reasonSetuid, false, Verdict{Kind: Outside, Reason: reasonSetuid}},
		{"setgid", file{rights: []string{"the group tty"}}, "/bin/app", reasonSetgid, false, Verdict{
			Kind: Copy, Reason: reasonSetgid + "; a copy without the group tty runs"}},
		{"capabilities", file{rights: net}, "/bin/app", reasonCaps, false, Verdict{
			Kind: Copy, Reason: reasonCaps + "; a copy without cap_net_bind_service runs"}},
		{"capabilities that are inherited", file{}, "/bin/app", reasonCaps, false, Verdict{
			Kind: Copy, Reason: reasonCaps + "; a copy without these rights runs"}},
		{"setgid, may only be executed", file{unreadable: true}, "/bin/app", reasonSetgid, false, Verdict{
			Kind: Outside, Reason: reasonSetgid + "; nobody may read the file to copy it"}},
		{"libraries beside it", file{origin: true}, "/bin/app", reasonCaps, false, Verdict{
			Kind: Outside, Reason: reasonCaps + "; a copy would not find its libraries, which it looks for beside itself ($ORIGIN)"}},
		{"of no use without", file{rights: []string{"cap_net_raw"}}, "/nowhere/ping", reasonCaps, false, Verdict{
			Kind: Outside, Reason: reasonCaps + "; it needs cap_net_raw, and a copy would not have that"}},
		{"as is", file{rights: net}, "/bin/app", reasonCaps, true, Verdict{
			Kind: Outside, Reason: reasonCaps + "; it is started in a way that leaves no room for a copy"}},
	} {
		tt.want.Program = tt.program
		got := Verdict{Program: tt.program}
		new(Engine).judge(&got, &tt.f, tt.privilege, Request{AsIs: tt.asIs})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

func TestCapabilityNames(t *testing.T) {
	if got := capabilityNames(1<<10 | 1<<13 | 1<<40 | 1<<63); !slices.Equal(got, []string{"cap_net_bind_service", "cap_net_raw", "cap_checkpoint_restore"}) {
		t.Error(got)
	}
}

// TestCopyInChain: the file that is copied is the interpreter, with the words that the kernel would have made.
func TestCopyInChain(t *testing.T) {
	dir := tree(t, map[string]string{
		"app":     string(program{interp: ldso}.defaults().bytes()),
		"script":  "#!DIR/app  -x  -y \n",
		"nested":  "#!DIR/script  z\n",
		"bin/two": "#!./app\n",
	})
	var fs unix.Statfs_t
	if err := errors.Join(os.Chmod(dir+"/app", 0o755|os.ModeSetgid), unix.Statfs(dir, &fs)); err != nil {
		t.Fatal(err)
	}
	if fs.Flags&unix.ST_NOSUID != 0 {
		t.Skip("temporary files have no rights to give here (nosuid)")
	}
	other := &Creds{UID: 4711, GID: 4711}
	for _, tt := range []struct {
		name  string
		r     Request
		path  string
		asked string
		words []string
		argv  []string
	}{
		{"itself", Request{Path: "./app", Argv0: "a"}, "./app", "./app", nil, []string{"a", "1"}},
		{"script", Request{Path: dir + "/script"}, dir + "/app", dir + "/script", []string{dir + "/app", "-x  -y", dir + "/script"}, nil},
		{"relative script", Request{Path: "./script"}, dir + "/app", "./script", []string{dir + "/app", "-x  -y", "./script"}, nil},
		{"nested", Request{Path: dir + "/nested"}, dir + "/app", dir + "/nested", []string{dir + "/app", "-x  -y", dir + "/script", "z", dir + "/nested"}, nil},
		{"searched", Request{Path: "two", Search: true, PathVar: "bin"}, "./app", "bin/two", []string{"./app", "bin/two"}, nil},
	} {
		tt.r.Cwd, tt.r.Caller, tt.r.Args = dir, other, []string{"1"}
		v := New().Decide(tt.r)
		if v.Kind != Copy || v.Path != tt.path || v.Asked != tt.asked || !slices.Equal(v.Words, tt.words) || filepath.Base(v.Program) != "app" {
			t.Errorf("%s: %+v", tt.name, v)
		}
		if tt.argv == nil {
			tt.argv = append(tt.words[:len(tt.words):len(tt.words)], "1")
		}
		tt.r.Trace = true
		if v := New().Decide(tt.r); !slices.Equal(v.Argv, tt.argv) || v.Hops[len(v.Hops)-1].Kind != Copy {
			t.Errorf("%s: traced %+v, want the words %q", tt.name, v, tt.argv)
		}
	}
	// What nothing can be put in the place of is executed as it was asked for.
	v := New().Decide(Request{Path: dir + "/nested", Caller: other, AsIs: true})
	if v.Kind != Outside || v.Path != dir+"/nested" || v.Words != nil {
		t.Errorf("as is: %+v", v)
	}
}

func TestEffectiveCaps(t *testing.T) {
	v2 := func(flags byte, permitted, inheritable uint32) []byte {
		b := []byte{flags, 0, 0, 2}
		for _, v := range []uint32{permitted, inheritable, 0, 0} {
			b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		return b
	}
	for _, tt := range []struct {
		name      string
		raw       []byte
		want      bool
		permitted uint64
	}{
		{"none", nil, false, 0},
		{"+ep", v2(1, 1<<13, 0), true, 1 << 13},
		{"+p", v2(0, 1<<13, 0), true, 1 << 13},
		{"+ei", v2(1, 0, 1<<13), true, 0},
		{"+i", v2(0, 0, 1<<13), false, 0},
		{"upper half", append(v2(1, 0, 0)[:12], 1<<6, 0, 0, 0, 0, 0, 0, 0), true, 1 << 38},
		{"cut", []byte{1, 0, 0}, false, 0},
	} {
		got, permitted := effectiveCaps(func(b []byte) (int, error) {
			if tt.raw == nil {
				return 0, syscall.ENODATA
			}
			return copy(b, tt.raw), nil
		})
		if got != tt.want || permitted != tt.permitted {
			t.Errorf("%s: %v, %#x", tt.name, got, permitted)
		}
	}
}

// BenchmarkDecide is what each exec of the tree costs in the broker.
func BenchmarkDecide(b *testing.B) {
	e := New()
	for b.Loop() {
		e.Decide(Request{Path: "sh", Search: true, PathVar: "/usr/local/bin:/usr/bin:/bin", Cwd: "/"})
	}
}

func TestUncopied(t *testing.T) {
	v := Verdict{Kind: Copy, Path: "/bin/app", Words: []string{"/bin/app", "s"}, Slice: "arm64", Light: true, Reason: "guarded; a copy of its arm64 slice runs", Notes: []string{"n"}}
	want := Verdict{Kind: Outside, Path: "/bin/app", Words: v.Words, Reason: "guarded; the disk is full"}
	if diff := cmp.Diff(want, v.Uncopied("the disk is full")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// What the user's lists name runs outside, but for what the system keeps the layer out of anyway.
func TestSkip(t *testing.T) {
	dir := t.TempDir()
	script, other := filepath.Join(dir, "tool"), filepath.Join(dir, "other")
	for _, name := range []string{script, other} {
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e := New().Heed(Lists{Skip: []string{"tool"}})
	if v := e.Decide(Request{Path: script, Cwd: "/"}); v.Kind != Outside || !v.Skipped || v.Path != script || v.Reason == "" {
		t.Errorf("%+v", v)
	}
	if v := e.Decide(Request{Path: other, Cwd: "/"}); v.Kind != Inject || v.Skipped {
		t.Errorf("%+v", v)
	}
	if err := os.WriteFile(script, []byte("echo\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if v := e.Decide(Request{Path: script, Cwd: "/", Search: true}); !v.Skipped || v.Path != shell || v.Words == nil {
		t.Errorf("what a shell gets: %+v", v)
	}
	real, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if v := New().Heed(Lists{Skip: []string{filepath.Base(real)}}).Decide(Request{Path: other, Cwd: "/"}); !v.Skipped {
		t.Errorf("by its interpreter: %+v", v)
	}
}
