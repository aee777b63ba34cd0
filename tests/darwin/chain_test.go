package darwin

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mirrord/launcher/events"
	"mirrord/sip"
	"mirrord/sip/copies"
)

// mac is a Mac that is described, with copies of what is protected on it. It decides as the launcher does.
type mac struct {
	engine *sip.Engine
	store  *copies.Store
}

// describe gives the Mac on which there are those files besides what its system says. An entry is a line of YAML.
func describe(t *testing.T, arch string, entries ...string) *mac {
	t.Helper()
	system := map[string]string{"x86_64": "arch: x86_64", "arm64": "arch: arm64, rosetta: true"}[arch]
	host, err := sip.ReadHost(write(t, filepath.Join(t.TempDir(), "mac.yaml"),
		fmt.Appendf(nil, "mac: {os: \"15.5\", %s}\nfiles:\n  %s\n", system, strings.Join(entries, "\n  "))))
	if err != nil {
		t.Fatal(err)
	}
	store, err := copies.Open(filepath.Join(t.TempDir(), "copies"))
	if err != nil {
		t.Fatal(err)
	}
	return &mac{sip.For(host), store}
}

// decide has a copy made where the engine asks for one.
func (m *mac) decide(r sip.Request) sip.Verdict {
	if original, ok := m.store.Original(r.Path); ok {
		r.Path = original
	}
	v := m.engine.Decide(r)
	if v.Kind != sip.Copy {
		return v
	}
	original, err := filepath.EvalSymlinks(v.Program)
	if err != nil {
		return v.Uncopied(err.Error())
	}
	path, err := m.store.Copy(original, v.Slice)
	if err != nil {
		return v.Uncopied(err.Error())
	}
	return v.Copied(path, original)
}

// uncopied has what is protected executed as it is: whether it takes the layer is the loader's word.
func (m *mac) uncopied(r sip.Request) sip.Verdict {
	v := m.engine.Decide(r)
	if v.Kind == sip.Copy {
		v.Kind, v.Slice = sip.Inject, ""
	}
	return v
}

// programs are those that said hello.
func (s *session) programs(t *testing.T) (out []string) {
	for _, e := range s.emitted(events.ProcessInject) {
		path, err := filepath.EvalSymlinks(e.Path) // a copy says its original's, and the loader the one that was asked for
		if err != nil {
			t.Error(err)
		}
		out = append(out, path)
	}
	return out
}

// steps are the programs of a chain: what a script is given to, what that executes, and what that runs at last.
var steps = []string{"env", "sh", "show"}

// guards are the ways to keep libraries out of a program.
var guards = []struct {
	name       string
	restricted bool // SF_RESTRICTED
	file       func(t *testing.T, link, arch string) []byte
}{
	{"SF_RESTRICTED", true, chained},
	{"hardened runtime", false, func(t *testing.T, link, arch string) []byte {
		return sign(t, chained(t, link, arch), signing{flags: 0x10000})
	}},
	{"__RESTRICT", false, func(t *testing.T, link, arch string) []byte {
		if link == "show" {
			return read(t, layerProgram(t, link, arch, "-Wl,-sectcreate,__RESTRICT,__restrict,"+os.DevNull))
		}
		return read(t, build(t, link, arch, "-sectcreate", "__RESTRICT", "__restrict", os.DevNull))
	}},
	// As the system's own are: x86_64 and arm64e, of which Apple silicon runs the second, and lets only the first be copied.
	{"part of the system", true, func(t *testing.T, link, _ string) []byte {
		native := as(t, chained(t, link, "arm64"), arm64e, signing{notAdhoc: true, cms: true, platform: 15, identifier: "com.apple." + link})
		return fat(chained(t, link, "x86_64"), native)
	}},
}

// chained is a link that takes libraries.
func chained(t *testing.T, link, arch string) []byte {
	if link == "show" {
		return read(t, layerProgram(t, link, arch))
	}
	return read(t, build(t, link, arch))
}

// A script is given to an env, which empties the environment and executes a sh, which runs a program by a symbolic link. Whichever of them is protected, and in
// whichever way, the layer stays in all of them, and each takes itself for the original. Without copies it is lost.
func TestLayerProtectedChain(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		starter := layerProgram(t, "children", arch)
		plain := map[string][]byte{}
		for _, link := range steps {
			plain[link] = chained(t, link, arch)
		}
		for _, guard := range guards {
			for _, guarded := range append([][]string{steps}, []string{"env"}, []string{"sh"}, []string{"show"}) {
				t.Run(guard.name+" at "+strings.Join(guarded, " and "), func(t *testing.T) {
					bin, lib := t.TempDir(), t.TempDir()
					script := write(t, filepath.Join(bin, "script"), []byte("#!"+bin+"/env -i TELL=1 PATH="+bin+" sh\nprogram $0 \"$@\"\n"))
					entries, flags := []string{starter + ": {file: " + starter + "}", script + ": {file: " + script + "}"}, []string{}
					for _, link := range steps {
						file, path := plain[link], filepath.Join(bin, link)
						entry, flag := "", "-"
						if link == "show" {
							path = filepath.Join(lib, link)
						}
						if slices.Contains(guarded, link) {
							file = guard.file(t, link, arch)
							if guard.restricted {
								entry, flag = ", restricted: true", "restricted"
							}
						}
						write(t, path, file)
						entries, flags = append(entries, path+": {file: "+path+entry+"}"), append(flags, path+" "+flag)
						if link == "show" { // the table goes by names
							flags = append(flags, filepath.Join(bin, "program")+" "+flag)
						}
					}
					program, original := filepath.Join(bin, "program"), filepath.Join(lib, "show")
					if err := os.Symlink(original, program); err != nil {
						t.Fatal(err)
					}
					m := describe(t, arch, append(entries, program+": {link: "+original+"}")...)
					options := append(options, "--files", table(t, flags...))

					s := newSession(t, m.decide)
					r := run(t, options, s.env, starter, "again", script, "one", "two words")
					machine := map[string]string{"x86_64": "x86_64 x86_64 -1", "arm64": "arm64 arm64 0"}[arch]
					want := fmt.Sprintf("hello from the pod\nword program\nword %s\nword one\nword two words\n", script)
					if !strings.HasPrefix(r.out, want+"env ") || r.code != 0 {
						t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
					}
					r.has(t, "env PATH="+bin, "apple executable_path="+program, "executable "+program, "image "+program, "procargs "+program, "machine "+machine)
					if slices.Contains(guarded, "show") {
						r.has(t, "pidpath "+original)
					}
					if in, want := s.programs(t), []string{starter, bin + "/env", bin + "/sh", original}; !slices.Equal(in, want) {
						t.Errorf("the layer is in\n%q, not in\n%q", in, want)
					}

					s = newSession(t, m.uncopied)
					if r := run(t, options, s.env, starter, "again", script); !strings.HasPrefix(r.out, "not in the pod\nword program\n") || r.code != 0 {
						t.Errorf("without copies: exit %d\n%s%s", r.code, r.out, r.err)
					}
				})
			}
		}
	})
}

// The system's env and sh only start other programs, so those are executed in their place: the shell is a copy of the one that the system has chosen.
func TestLayerShortenedChain(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		starter, show, env := layerProgram(t, "children", arch), layerProgram(t, "show", arch), build(t, "env", arch)
		dir := t.TempDir()
		dash := write(t, filepath.Join(dir, "dash"), chained(t, "sh", arch))
		script := write(t, filepath.Join(dir, "script"), []byte("#!/usr/bin/env sh\n"+show+" $0 \"$@\"\n"))
		m := describe(t, arch, starter+": {file: "+starter+"}", show+": {file: "+show+"}", script+": {file: "+script+"}", dash+": {restricted: true, file: "+dash+"}",
			"/usr/bin/env: {restricted: true, file: \""+env+"\"}", "/bin/sh: {restricted: true, file: "+dash+"}", "/private/var/select/sh: {link: "+dash+"}")
		options = append(options, "--files", table(t, "/usr/bin/env restricted "+env, "/bin/sh restricted "+dash, dash+" restricted"))

		s := newSession(t, m.decide)
		r := run(t, options, append(s.env, "PATH=/bin"), starter, "again", script, "one")
		if want := "hello from the pod\nword " + show + "\nword " + script + "\nword one\nenv "; !strings.HasPrefix(r.out, want) || r.code != 0 {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
		if in, want := s.programs(t), []string{starter, dash, show}; !slices.Equal(in, want) {
			t.Errorf("the layer is in\n%q, not in\n%q", in, want)
		}
		for name, decide := range map[string]func(sip.Request) sip.Verdict{"without copies": m.uncopied, "as it is": injected} {
			s = newSession(t, decide)
			if r := run(t, options, append(s.env, "PATH=/bin"), starter, "again", script); !strings.HasPrefix(r.out, "not in the pod\n") || r.code != 0 {
				t.Errorf("%s: exit %d\n%s%s", name, r.code, r.out, r.err)
			}
		}
	})
}
