// Package loginenv finds out the environment that the user's shell sets up. A program that is started from Finder or a desktop has a bare PATH, with which neither the
// user's tools nor the plugins of kubeconfigs are found.
package loginenv

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mirrord/app/shell"
)

// PrintFlag is the flag of the app's own program that makes it call Print with the next word, and do nothing else.
const PrintFlag = "--print-env"

// guard is a variable that the shell is started with, so that start-up files can leave out what takes long.
const guard = "MIRRORD_RESOLVING_ENVIRONMENT"

// Print writes this process's environment between two marks, for Resolve to read: whatever shells and their start-up files print, they cannot know the mark.
func Print(w io.Writer, mark string) error {
	all := base64.StdEncoding.EncodeToString([]byte(strings.Join(os.Environ(), "\x00")))
	_, err := io.WriteString(w, "\n"+mark+all+mark+"\n")
	return err
}

// between finds what Print has written.
func between(output []byte, mark string) ([]string, bool) {
	_, rest, begun := bytes.Cut(output, []byte(mark))
	text, _, ended := bytes.Cut(rest, []byte(mark))
	if !begun || !ended {
		return nil, false
	}
	all, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(all) == 0 {
		return nil, false
	}
	return strings.Split(string(all), "\x00"), true
}

// Options say how; the zero value is right.
type Options struct {
	Self    string        // the program that has PrintFlag; empty: this one
	Shell   string        // empty: SHELL, else the user's in /etc/passwd, else what is there of zsh, bash and sh
	Timeout time.Duration // of all together; 0: 10 s
	Base    []string      // what the shell is started with; nil: this process's environment
}

// Result is an environment, and how it was found.
type Result struct {
	Env     []string // never empty
	Shell   string   // that was asked; empty: none
	Took    time.Duration
	Problem string // why Env is a fallback and not the shell's, in words; empty: it is the shell's
	Hint    string // what to do about that
}

// Resolve asks the login shell. It always has a result: when the shell fails, hangs or is unknown, it is Base with the usual folders of programs added to PATH. What describes
// a shell's own place (PWD, TERM, …) stays as it is in Base.
func Resolve(ctx context.Context, o Options) Result {
	began := time.Now()
	if o.Base == nil {
		o.Base = os.Environ()
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	r := Result{Shell: o.Shell}
	if r.Shell == "" {
		r.Shell = loginShell(o.Base)
	}
	if o.Self == "" {
		self, err := os.Executable()
		if err != nil {
			return r.fallBack(o.Base, began, "the app does not know where it is: "+err.Error(), "")
		}
		o.Self = self
	}
	if r.Shell == "" {
		return r.fallBack(o.Base, began, "no login shell was found", "set SHELL")
	}
	name := filepath.Base(r.Shell)
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var err error
	for _, words := range invocations(name, o.Self) {
		var env []string
		if env, err = ask(ctx, r.Shell, words, o.Base); err == nil {
			r.Env, r.Took = merge(o.Base, env), time.Since(began)
			return r
		}
		if ctx.Err() != nil || errors.Is(err, errEndless) {
			break
		}
	}
	hint := fmt.Sprintf("try `%s -l -i -c env` in a terminal", name)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return r.fallBack(o.Base, began, fmt.Sprintf("%s did not answer within %v: its start-up files hang, or ask something", name, o.Timeout),
			fmt.Sprintf("%s; what is slow can be left out there when %s is set", hint, guard))
	}
	return r.fallBack(o.Base, began, fmt.Sprintf("%s did not tell its environment: %v", name, err), hint)
}

// fallBack completes the result without a shell.
func (r Result) fallBack(base []string, began time.Time, problem, hint string) Result {
	r.Env, r.Took, r.Problem, r.Hint = withFolders(base), time.Since(began), problem, hint
	return r
}

// Cached is Resolve, once for a process, and safe for concurrent use. A process that was started in a terminal has its environment from there already.
var Cached = sync.OnceValue(func() Result {
	if os.Getenv("TERM") != "" {
		return Result{Env: os.Environ()}
	}
	return Resolve(context.Background(), Options{})
})

// invocations are ways to have a shell call the program, the best first, with %s in the place of the mark. The first word is the shell's own name; "-" before it makes a
// shell a login shell that knows no flag for that.
func invocations(name, self string) [][]string {
	posix := shell.Quote(self) + " " + PrintFlag + " %s"
	switch strings.TrimPrefix(name, "-") {
	case "tcsh", "csh":
		return [][]string{{"-" + name, "-i", "-c", posix}, {name, "-c", posix}}
	case "nu":
		nu := "^'" + self + "' " + PrintFlag + " %s" // no escapes between single quotes, and no program without ^
		return [][]string{{name, "-l", "-i", "-c", nu}, {name, "-l", "-c", nu}}
	case "pwsh":
		return [][]string{{name, "-Login", "-Command", "& '" + strings.ReplaceAll(self, "'", "''") + "' " + PrintFlag + " %s"}}
	}
	// bash, zsh, fish, dash and other shells of POSIX, xonsh, elvish
	return [][]string{{name, "-l", "-i", "-c", posix}, {name, "-l", "-c", posix}, {name, "-c", posix}}
}

// isPlace says whether a variable describes where a process is, so that the shell's is of no use to another.
func isPlace(name string) bool {
	switch name {
	case "_", "PWD", "OLDPWD", "SHLVL", "XDG_RUNTIME_DIR", "WINDOWID", "COLUMNS", "LINES", guard:
		return true
	}
	return strings.HasPrefix(name, "TERM") || strings.HasPrefix(name, "DYLD_") || strings.HasPrefix(name, "LD_")
}

// merge is the shell's environment with what describes its place as in base.
func merge(base, env []string) (out []string) {
	for _, kv := range env {
		if name, _, ok := strings.Cut(kv, "="); ok && name != "" && !isPlace(name) {
			out = append(out, kv)
		}
	}
	for _, kv := range base {
		if name, _, ok := strings.Cut(kv, "="); ok && isPlace(name) && name != guard {
			out = append(out, kv)
		}
	}
	return out
}

// loginShell finds the user's shell; "" when there is none.
func loginShell(base []string) string {
	for _, path := range append([]string{shell.Lookup(base, "SHELL"), registered()}, "/bin/zsh", "/bin/bash", "/bin/sh") {
		if filepath.IsAbs(path) && shell.Executable(path) && !slices.Contains([]string{"nologin", "false"}, filepath.Base(path)) {
			return path
		}
	}
	return ""
}

// registered is the user's shell in /etc/passwd; macOS has only the system's users there, and sets SHELL.
func registered() string {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	uid := fmt.Sprint(os.Getuid())
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimRight(line, "\n"), ":"); len(fields) == 7 && fields[2] == uid {
			return fields[6]
		}
	}
	return ""
}

// withFolders adds the folders to PATH that systems and people commonly have in theirs.
func withFolders(base []string) []string {
	path := filepath.SplitList(shell.Lookup(base, "PATH"))
	add := func(folder string) {
		if info, err := os.Stat(folder); filepath.IsAbs(folder) && err == nil && info.IsDir() && !slices.Contains(path, folder) {
			path = append(path, folder)
		}
	}
	listed, _ := filepath.Glob("/etc/paths.d/*")
	for _, file := range append([]string{"/etc/paths"}, listed...) { // macOS: what path_helper(8) reads
		if info, err := os.Stat(file); err != nil || info.Size() > 64<<10 {
			continue
		}
		text, _ := os.ReadFile(file)
		for _, folder := range strings.Fields(string(text)) {
			add(folder)
		}
	}
	for _, folder := range []string{"/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/snap/bin"} {
		add(folder)
	}
	if home := shell.Lookup(base, "HOME"); home != "" {
		for _, folder := range []string{".local/bin", "bin", "go/bin", ".cargo/bin", ".krew/bin"} {
			add(filepath.Join(home, folder))
		}
	}
	out := slices.DeleteFunc(slices.Clone(base), func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	return append(out, "PATH="+strings.Join(path, string(filepath.ListSeparator)))
}
