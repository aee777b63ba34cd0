package sip

import (
	"fmt"
	"path"
	"strings"
)

// replacement is what is executed in a program's place on macOS.
type replacement struct {
	request Request // an empty Path: there is nothing
	reason  string
	edits   []Edit
	outside string // why the program itself runs outside when there is nothing
	missing string // why the program itself runs although it was to be replaced
	unknown bool   // it depends on words that nobody has told
}

const (
	macShell  = "/bin/sh"
	macEnv    = "/usr/bin/env"
	shellLink = "/private/var/select/sh"
	bash      = "/bin/bash"

	developerLink = "/var/db/xcode_select_link"
	xcode         = "/Applications/Xcode.app/Contents/Developer"
	tools         = "/Library/Developer/CommandLineTools"
	libxcselect   = "libxcselect"
)

// replace finds what does a program's work: /bin/sh only executes another shell (sh(1)), env another program, and a shim of xcode-select the
// developer tool of its name. ok is false for every other program.
func (e *Engine) replace(r Request, v Verdict, f *file) (replacement, bool) {
	told := r.Args != nil
	r.turns, r.inside = r.turns+1, true
	r.Argv0, r.Args = "", []string{}
	if len(v.Argv) > 0 {
		r.Argv0, r.Args = v.Argv[0], v.Argv[1:]
	}
	switch {
	case f.real == macShell:
		to, ok := e.host.readlink(shellLink)
		if !ok {
			to = bash
		}
		r.Path, r.Search = to, false
		if name := strings.TrimPrefix(path.Base(r.Argv0), "-"); name != "sh" {
			r.Argv0 = "sh" // by its name a shell knows that it is to be POSIX's
		}
		return replacement{request: r, reason: "only starts the shell that " + shellLink + " names"}, true
	case f.real == macEnv:
		plan, err := planEnv(Darwin, r.Args, r.Env)
		switch {
		case !told && (err != nil || len(plan.words) == 0):
			return replacement{unknown: true}, false
		case err != nil:
			return replacement{missing: err.Error()}, true
		case len(plan.words) == 0 || !plan.plain:
			return replacement{}, false
		}
		return replacement{request: plan.request(r), reason: fmt.Sprintf("looks for %s in PATH and does nothing else, so it is left out", plan.words[0])}, true
	case f.shim():
		return e.shim(r, f), true
	}
	return replacement{}, false
}

// shim tells a developer-tool shim by what it links: names differ between releases.
func (f *file) shim() bool {
	if path.Dir(f.real) != "/usr/bin" {
		return false
	}
	for _, s := range f.image.Slices {
		for _, lib := range s.Libraries {
			if strings.Contains(lib, libxcselect) {
				return true
			}
		}
	}
	return false
}

// shim finds the tool in the developer directory as xcrun(1) and xcode-select(1) say: DEVELOPER_DIR, the selected one, Xcode, the Command
// Line Tools.
func (e *Engine) shim(r Request, f *file) replacement {
	name := path.Base(f.real)
	dirs := []string{xcode, tools}
	if to, ok := e.host.readlink(developerLink); ok {
		dirs = []string{to}
	}
	if dir := variable(r.Env, "DEVELOPER_DIR"); dir != "" {
		dirs = []string{strings.TrimSuffix(dir, "/")}
		if strings.HasSuffix(dirs[0], ".app") {
			dirs[0] += "/Contents/Developer"
		}
	}
	for _, dir := range dirs {
		for _, sub := range []string{"/usr/bin/", "/Toolchains/XcodeDefault.xctoolchain/usr/bin/"} {
			if _, errno := e.host.look(dir + sub + name); errno != 0 {
				continue
			}
			r.Path, r.Search = dir+sub+name, false
			r.Argv0 = r.Path // the tool's own place, by which some find what belongs to them
			to := replacement{request: r, reason: "a shim of the developer tools: " + name + " of " + dir + " does the work"}
			if sdk := dir + sdkOf(dir); variable(r.Env, "SDKROOT") == "" && e.host.exists(sdk) {
				to.edits = []Edit{{"SDKROOT", sdk}}
			}
			return to
		}
	}
	return replacement{outside: "a shim of the developer tools, which are not installed: it only offers to install them (xcode-select --install)"}
}

// sdkOf is where a developer directory keeps the SDK of macOS.
func sdkOf(dir string) string {
	if strings.HasSuffix(dir, "CommandLineTools") {
		return "/SDKs/MacOSX.sdk"
	}
	return "/Platforms/MacOSX.platform/Developer/SDKs/MacOSX.sdk"
}
