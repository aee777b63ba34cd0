package loginenv

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/app/shell"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == PrintFlag {
		if Print(os.Stdout, os.Args[2]) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// home makes a home with start-up files, and the bare environment of a program that a desktop has started.
func home(t *testing.T, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"HOME=" + dir, "ZDOTDIR=" + dir, "ENV=" + filepath.Join(dir, ".shrc"), "PATH=/usr/bin:/bin", "SHLVL=0", "USER=me", "XDG_CONFIG_HOME=" + filepath.Join(dir, ".config"), "GOCOVERDIR="}
}

// self has a name that shells would take apart.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(t.TempDir(), "it's the $app")
	if err := os.Symlink(path, odd); err != nil {
		t.Fatal(err)
	}
	return odd
}

func find(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("left out: %s is not installed (tests/need %s)", name, name)
	}
	return path
}

const noise = "echo welcome; echo '\x1b]0;title\x07' mirrord-; echo oops >&2\n"

func TestShells(t *testing.T) {
	posix := noise + "export ADDED='two words, é'\nexport PATH=\"$HOME/tools:$PATH\"\n"
	for name, files := range map[string]map[string]string{
		"bash": {".bash_profile": posix, ".bash_logout": noise},
		"zsh":  {".zshrc": posix, ".zlogin": noise, ".zlogout": noise},
		"dash": {".profile": posix, ".shrc": noise},
		"fish": {".config/fish/config.fish": "echo welcome\nset -gx ADDED 'two words, é'\nset -gx PATH $HOME/tools $PATH\n"},
		"tcsh": {".cshrc": "echo welcome\nsetenv ADDED 'two words, é'\nsetenv PATH \"$HOME/tools:$PATH\"\n", ".login": "echo login\n"},
		"ksh":  {".profile": posix},
		"nu":   {".config/nushell/login.nu": "print welcome\n$env.ADDED = 'two words, é'\n$env.PATH = ($env.PATH | prepend ($env.HOME | path join tools))\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := find(t, name)
			app := self(t)
			if name == "nu" {
				app, _ = os.Executable() // it has no way to write a quote between quotes
			}
			base := home(t, files)
			r := Resolve(context.Background(), Options{Self: app, Shell: path, Base: base, Timeout: time.Minute})
			if r.Problem != "" || r.Shell != path {
				t.Fatalf("%+v", r)
			}
			if got := shell.Lookup(r.Env, "ADDED"); got != "two words, é" {
				t.Errorf("ADDED is %q", got)
			}
			if got := shell.Lookup(r.Env, "PATH"); !strings.HasPrefix(got, shell.Lookup(base, "HOME")+"/tools:") {
				t.Errorf("PATH is %q", got)
			}
			if got := shell.Lookup(r.Env, "SHLVL"); got != "0" || shell.Lookup(r.Env, guard) != "" || shell.Lookup(r.Env, "_") != "" {
				t.Errorf("what describes the shell's place: %q", r.Env)
			}
		})
	}
}

// The shell is ended with all that it has started, and the result is a fallback.
func TestHangingShell(t *testing.T) {
	const late, endless = "bash did not answer within 1s", "printed more than 8 MiB"
	for name, c := range map[string]struct {
		text, problem string
		timeout       time.Duration
	}{
		"hangs":         {"sleep 1000 & echo $! > $HOME/pid; wait\n", late, time.Second},
		"hangs, deaf":   {"trap '' TERM INT HUP\nsleep 1000 & echo $! > $HOME/pid; while :; do wait; done\n", late, time.Second},
		"asks":          {"read -r answer < /dev/tty || sleep 1000\n", late, time.Second},
		"never silent":  {"while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done\n", endless, time.Minute},
		"executes away": {"exec sleep 1000\n", late, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			base := home(t, map[string]string{".bash_profile": c.text})
			r := Resolve(context.Background(), Options{Self: self(t), Shell: find(t, "bash"), Base: base, Timeout: c.timeout})
			if !strings.Contains(r.Problem, c.problem) || r.Hint == "" || len(r.Env) == 0 {
				t.Errorf("%+v", r)
			}
			text, err := os.ReadFile(filepath.Join(shell.Lookup(base, "HOME"), "pid"))
			var pid int
			if fmt.Sscan(string(text), &pid); err == nil && syscall.Kill(pid, 0) == nil && !ended(pid) {
				t.Errorf("%d is left", pid)
			}
		})
	}
}

// ended: whoever is to collect it has not yet.
func ended(pid int) bool {
	for range 100 {
		out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
		if state := strings.TrimSpace(string(out)); err != nil || state == "" || state[0] == 'Z' {
			return true
		}
	}
	return false
}

// Something that the start-up files leave running holds the output open; nobody waits for it.
func TestBackgroundProcessIsNotWaitedFor(t *testing.T) {
	base := home(t, map[string]string{".bash_profile": "sleep 1000 &\nexport ADDED=1\n", ".bash_logout": "sleep 1000\n"})
	r := Resolve(context.Background(), Options{Self: self(t), Shell: find(t, "bash"), Base: base, Timeout: time.Minute})
	if r.Problem != "" || shell.Lookup(r.Env, "ADDED") != "1" {
		t.Errorf("%+v", r)
	}
}

func TestShellsThatFail(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700)
		return path
	}
	mute := script("mute", "exit 3\n")
	broken := script("broken", "eval \"mark=\\${$#}\"; mark=${mark##* }; echo \"$mark not base64 $mark\"\n")
	plain := script("plain", "[ \"$1\" = -c ] || exit 2\nexec /bin/sh \"$@\"\n") // knows -c alone
	base := []string{"PATH=/usr/bin:relative", "HOME=" + dir, "KEEP=1"}
	os.MkdirAll(filepath.Join(dir, "go/bin"), 0o700)
	for _, path := range []string{mute, broken, filepath.Join(dir, "missing")} {
		r := Resolve(context.Background(), Options{Self: self(t), Shell: path, Base: base})
		if r.Problem == "" || shell.Lookup(r.Env, "KEEP") != "1" {
			t.Errorf("%s: %+v", path, r)
		}
		if got := filepath.SplitList(shell.Lookup(r.Env, "PATH")); got[0] != "/usr/bin" || !slices.Contains(got, filepath.Join(dir, "go/bin")) || !slices.Contains(got, "/bin") {
			t.Errorf("%s: PATH is %q", path, got)
		}
	}
	if r := Resolve(context.Background(), Options{Self: self(t), Shell: plain, Base: base}); r.Problem != "" {
		t.Errorf("%+v", r)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := Resolve(ctx, Options{Self: self(t), Shell: "/bin/sh", Base: []string{"A=1"}}); r.Problem == "" || len(r.Env) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestLoginShell(t *testing.T) {
	if got := loginShell([]string{"SHELL=/bin/bash"}); got != "/bin/bash" {
		t.Errorf("%q", got)
	}
	for _, odd := range []string{"", "bash", "/does/not/exist", "/usr/sbin/nologin", "/bin/false"} {
		if got := loginShell([]string{"SHELL=" + odd}); got == odd || !shell.Executable(got) {
			t.Errorf("for %q: %q", odd, got)
		}
	}
}

func FuzzBetween(f *testing.F) {
	const mark = "mirrord-X"
	f.Add([]byte("noise\n" + mark + base64.StdEncoding.EncodeToString([]byte("A=1\x00B=2")) + mark + "\nnoise"))
	f.Add([]byte(mark + mark))
	f.Add([]byte(mark + "!" + mark))
	f.Add([]byte("mirrord-mirrord-X"))
	f.Fuzz(func(t *testing.T, output []byte) {
		env, ok := between(output, mark)
		if ok == (len(env) == 0) {
			t.Fatalf("%q, %v", env, ok)
		}
	})
}

func TestPrint(t *testing.T) {
	t.Setenv("ODD", "a\nb\xff=")
	var out bytes.Buffer
	if err := Print(&out, "MARK"); err != nil {
		t.Fatal(err)
	}
	if env, ok := between(out.Bytes(), "MARK"); !ok || !slices.Equal(env, os.Environ()) {
		t.Errorf("%q", env)
	}
}
