package sip

import (
	"path/filepath"
	"strings"
	"syscall"
)

const reasonUnknown = "neither a program nor a script with \"#!\": execvp gives it to " + shell

// hop notes one more file on the way.
func (v *Verdict) hop(h Hop) { v.Hops = append(v.Hops, h) }

// failed is v's end: the file at path cannot be executed. What was found on the way stays.
func (v *Verdict) failed(path string, errno syscall.Errno) Verdict {
	failed := &Error{Path: path, Errno: errno}
	if n := len(path); errno == syscall.ENOENT && len(v.Chain) > 0 {
		failed.Why = "the script's interpreter does not exist"
		if strings.HasSuffix(path, "\r") {
			failed.Path, failed.Why = path[:n-1]+`\r`, "the script's first line ends with a carriage return, which belongs to the interpreter's name"
			failed.Hint = "write the file with line ends of this system: `dos2unix " + filepath.Base(v.Chain[0]) + "`, or `git config core.autocrlf input`"
		}
	}
	if errno == syscall.ENOEXEC && len(v.Chain) > 1 {
		failed.Why = "the interpreter is no program"
	}
	return Verdict{Err: failed, Hops: v.Hops}
}

// differs is the file's own path where that is another than at. This machine's files are asked for it only here.
func (f *file) differs(at string) string {
	real := f.real
	if real == "" {
		real, _ = filepath.EvalSymlinks(at)
	}
	if real == at {
		return ""
	}
	return real
}

func scriptReason(f *file) string {
	reason := "a script for " + strings.Join(f.words, " ")
	if f.crlf {
		reason += " (its first line ends with CR LF)"
	}
	return strings.ReplaceAll(reason, "\r", `\r`)
}

// maxTurns bounds how many programs stand in for each other: env env env …
const maxTurns = 8

// next says what env, at path at with its whole argv, executes when it runs.
func (e *Engine) next(r Request, argv []string, at string) *Verdict {
	if !isEnv(at) || r.turns >= maxTurns {
		return nil
	}
	plan, err := planEnv(e.kernel, argv[1:], r.Env)
	if err != nil || len(plan.words) == 0 {
		return nil
	}
	if plan.altPath && !strings.Contains(plan.words[0], "/") {
		e.searched(r.Cwd, plan)
	}
	r.turns, r.inside = r.turns+1, false
	v := e.Decide(plan.request(r))
	return &v
}

// searched gives the program of env -P the name under which it is found.
func (e *Engine) searched(cwd string, p *envPlan) {
	for dir := range strings.SplitSeq(p.path, ":") {
		if dir == "" {
			dir = "."
		}
		name := dir + "/" + p.words[0]
		if _, errno := e.host.look(absolute(cwd, name)); errno == 0 {
			p.words = append([]string{name}, p.words[1:]...)
			return
		}
	}
}

// isEnv tells by the path: other programs of that name may understand other options.
func isEnv(path string) bool { return path == "/usr/bin/env" || path == "/bin/env" }

// request is the exec that env makes of the one that started it.
func (p *envPlan) request(r Request) Request {
	r.Path, r.Argv0, r.Args = p.words[0], p.words[0], p.words[1:]
	if p.argv0 != "" {
		r.Argv0 = p.argv0
	}
	if p.chdir != "" {
		r.Cwd = absolute(r.Cwd, p.chdir)
	}
	if r.Args == nil {
		r.Args = []string{}
	}
	r.Env, r.PathVar, r.Search = p.env, p.path, true
	return r
}
