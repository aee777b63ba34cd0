package sip

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const grants = "entitlements: {com.apple.security.cs.allow-dyld-environment-variables: true, com.apple.security.cs.disable-library-validation: true}"

// TestMacRules has a row for each rule about a program, on Apple silicon with Rosetta.
func TestMacRules(t *testing.T) {
	for _, tt := range []struct {
		name, file string // the description of the file /opt/bin/x
		kind       Kind
		slice      string
		reason     string // a part of it
	}{
		{"plain", "macho: {slices: [arm64]}", Inject, "", "nothing protects"},
		{"hardened", "macho: {slices: [x86_64, arm64], flags: [runtime]}", Copy, "arm64", "hardened"},
		{"hardened, entitled", "macho: {slices: [arm64], flags: [runtime], " + grants + "}", Inject, "", "entitled"},
		{"hardened, entitled to variables only", "macho: {slices: [arm64], flags: [runtime], entitlements: {" + allowDyld + ": true}}", Copy, "arm64", "library validation"},
		{"hardened, entitled with false", "macho: {slices: [arm64], flags: [runtime], entitlements: {" + allowDyld + ": false}}", Copy, "arm64", "is false"},
		{"hardened, entitled with a text", "macho: {slices: [arm64], flags: [runtime], entitlements: {" + allowDyld + ": \"true\"}}", Copy, "arm64", "is false"},
		{"library validation", "macho: {slices: [arm64], flags: [library-validation]}", Copy, "arm64", "library validation"},
		{"library validation, disabled", "macho: {slices: [arm64], flags: [library-validation], " + grants + "}", Inject, "", ""},
		{"restrict whatever the entitlements", "macho: {slices: [arm64], flags: [restrict], " + grants + "}", Copy, "arm64", "flag restrict"},
		{"restrict section", "macho: {slices: [arm64], restrict_segment: true, " + grants + "}", Copy, "arm64", "__RESTRICT"},
		{"guarded", "restricted: true, macho: {slices: [x86_64, arm64e]}", Copy, "x86_64", "System Integrity"},
		{"guarded, entitled", "restricted: true, macho: {slices: [x86_64, arm64e], " + grants + "}", Copy, "x86_64", "System Integrity"},
		{"guarded script", "restricted: true, script: \"#!/opt/bin/plain\\n\"", Inject, "", ""},
		{"native before Intel", "restricted: true, macho: {slices: [x86_64, arm64, arm64e]}", Copy, "arm64", ""},
		{"Intel for the system's network", "restricted: true, macho: {slices: [x86_64, arm64], libraries: [/usr/lib/libcurl.4.dylib]}", Copy, "x86_64", ""},
		{"native for another libcurl", "restricted: true, macho: {slices: [x86_64, arm64], libraries: [/opt/lib/libcurl.4.dylib]}", Copy, "arm64", ""},
		{"only arm64e", "restricted: true, macho: {slices: [arm64e, arm64e.x1]}", Outside, "", "arm64e"},
		{"of the system, not guarded", "macho: {slices: [arm64e], platform_byte: 15}", Inject, "", "not guarded"},
		{"arm64e of others", "macho: {slices: [arm64e, arm64]}", Outside, "", "the kernel ends it"},
		{"unsigned", "macho: {slices: [x86_64, arm64], unsigned: true}", Outside, "", "without a signature"},
		{"unsigned Intel", "macho: {slices: [x86_64], unsigned: true}", Inject, "", ""},
		{"unsigned elsewhere", "macho: {slices: [{arch: x86_64, unsigned: true}, arm64]}", Inject, "", ""},
		{"encrypted", "macho: {slices: [arm64], encrypted: true}", Outside, "", "encrypted"},
		{"Catalyst", "macho: {slices: [arm64], platform: catalyst}", Outside, "", "Catalyst"},
		{"iOS", "macho: {slices: [arm64], platform: ios}", Outside, "", "iOS"},
		{"setuid", "mode: \"04755\", restricted: true, macho: {slices: [x86_64, arm64e]}", Outside, "", "setuid"},
		{"setuid of the caller", "mode: \"04755\", uid: 501, macho: {slices: [arm64]}", Inject, "", ""},
		{"setgid", "mode: \"02755\", macho: {slices: [arm64]}", Outside, "", "setgid"},
		{"the slice that runs decides", "macho: {slices: [{arch: x86_64, flags: [runtime]}, {arch: arm64, flags: [adhoc]}]}", Inject, "", ""},
		{"the slice that runs is protected", "macho: {slices: [{arch: x86_64}, {arch: arm64, flags: [runtime]}]}", Copy, "arm64", ""},
		{"x1 needs other hardware", "macho: {slices: [{arch: arm64e.x1}, {arch: arm64, flags: [runtime]}]}", Copy, "arm64", ""},
		{"only Intel", "macho: {slices: [x86_64]}", Inject, "", ""},
		{"no slice that runs", "macho: {slices: [arm64e.x1]}", Fails, "", ""},
	} {
		d := describe(t, small+"files:\n  /opt/bin/plain: {macho: {slices: [arm64]}}\n  /opt/bin/x: {"+tt.file+"}\n")
		v := For(d).Decide(Request{Path: "/opt/bin/x", Cwd: "/"})
		if v.Kind != tt.kind || v.Slice != tt.slice || !strings.Contains(v.Reason, tt.reason) {
			t.Errorf("%s: %v(%s) %q, %v", tt.name, v.Kind, v.Slice, v.Reason, v.Err)
		}
		if v.Kind == Outside && v.Reason == "" {
			t.Errorf("%s: no reason", tt.name)
		}
	}
}

// TestVariant: the version of the ABI of the slice that runs decides which library goes into a program. A copy has none of arm64e.
func TestVariant(t *testing.T) {
	off := strings.Replace(small, "rosetta: true", "rosetta: true, sip: false", 1)
	below := strings.Replace(small, "rosetta: true", "rosetta: true, affinity: x86_64", 1)
	for _, tt := range []struct {
		name, mac, file string
		kind            Kind
		variant         string
	}{
		{"of the system, not guarded", small, "macho: {slices: [x86_64, arm64e], platform_byte: 15}", Inject, VariantARM64e},
		{"of before versions", small, "macho: {slices: [arm64e.old], platform_byte: 15}", Inject, VariantARM64e},
		{"with its keys off", small, "macho: {slices: [arm64e.v1]}", Inject, ""},
		{"without pointer authentication", small, "macho: {slices: [arm64], platform_byte: 15}", Inject, ""},
		{"translated", below, "macho: {slices: [x86_64, arm64e], platform_byte: 15}", Inject, ""},
		{"guarded", small, "restricted: true, macho: {slices: [x86_64, arm64e], platform_byte: 15}", Copy, ""},
		{"not guarded any more", off, "restricted: true, macho: {slices: [x86_64, arm64e], platform_byte: 15}", Inject, VariantARM64e},
		{"killed at its start", small, "macho: {slices: [arm64e]}", Outside, ""},
	} {
		v := For(describe(t, tt.mac+"files:\n  /opt/x: {"+tt.file+"}\n")).Decide(Request{Path: "/opt/x", Cwd: "/"})
		if v.Kind != tt.kind || v.Variant != tt.variant {
			t.Errorf("%s: %v, variant %q: %s", tt.name, v.Kind, v.Variant, v.Reason)
		}
	}
	d := describe(t, small+"files:\n  /opt/git: {macho: {slices: [arm64e], platform_byte: 15}}\n")
	if v := For(d).Decide(Request{Path: "/opt/git", Cwd: "/"}); v.Kind != ExecOnly || v.Variant != VariantARM64e {
		t.Errorf("a build tool: %v, variant %q", v.Kind, v.Variant)
	}
}

// TestAffinity: what runs below a translated program is the Intel slice, so it is the one that counts.
func TestAffinity(t *testing.T) {
	file := "files:\n  /x: {macho: {slices: [{arch: x86_64, flags: [restrict]}, arm64]}}\n"
	if v := For(describe(t, small+file)).Decide(Request{Path: "/x", Cwd: "/"}); v.Kind != Inject {
		t.Errorf("native: %+v", v)
	}
	below := strings.Replace(small, "rosetta: true", "rosetta: true, affinity: x86_64", 1)
	if v := For(describe(t, below+file)).Decide(Request{Path: "/x", Cwd: "/"}); v.Kind != Copy {
		t.Errorf("below a translated program: %+v", v)
	}
}

// TestProbes: a way to copy that was seen to fail gives way to the next.
func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		probes, slices, slice, reason string
	}{
		{"", "[x86_64, arm64]", "arm64", ""},
		{"arm64: false", "[x86_64, arm64]", "x86_64", ""},
		{"arm64: true, x86_64: false", "[x86_64, arm64]", "arm64", ""},
		{"x86_64: false", "[x86_64, arm64e]", "", "a copy of its x86_64 slice was seen not to run on this Mac"},
		{"arm64: false, x86_64: false", "[x86_64, arm64]", "", "a copy of its arm64 slice was seen"},
		{"x86_64: false", "[{arch: x86_64, libraries: [/usr/lib/libcurl.4.dylib]}, arm64]", "arm64", ""},
	} {
		d := describe(t, small+"probes: {"+tt.probes+"}\nfiles: {/x: {restricted: true, macho: {slices: "+tt.slices+"}}}\n")
		v := For(d).Decide(Request{Path: "/x", Cwd: "/"})
		if v.Slice != tt.slice || (v.Kind == Copy) != (tt.slice != "") || !strings.Contains(v.Reason, tt.reason) {
			t.Errorf("%s of %s: %v(%s), %s", tt.probes, tt.slices, v.Kind, v.Slice, v.Reason)
		}
	}
}

// TestSeen: what was found out on this machine counts as a description's probes do.
func TestSeen(t *testing.T) {
	d := describe(t, small+"files: {/x: {restricted: true, macho: {slices: [x86_64, arm64]}}}\n")
	if v := For(d).Seen(map[string]bool{"arm64": false}).Decide(Request{Path: "/x", Cwd: "/"}); v.Slice != "x86_64" {
		t.Errorf("%v(%s), %s", v.Kind, v.Slice, v.Reason)
	}
}

// TestCopyIsAsAsked: a program finds what belongs to it beside the path that it was executed by (Python its pyvenv.cfg), which may be a symbolic link.
func TestCopyIsAsAsked(t *testing.T) {
	e := For(describe(t, small+`files:
  /venv/bin/python: {link: /opt/python}
  /venv/bin/tool: {script: "#!/venv/bin/python\n"}
  /opt/python: {macho: {slices: [arm64], flags: [runtime]}}
`))
	for _, path := range []string{"/venv/bin/python", "bin/python", "/venv/bin/tool"} {
		if v := e.Decide(Request{Path: path, Cwd: "/venv"}); v.Kind != Copy || v.Asked != "/venv/bin/python" {
			t.Errorf("%s: %v, asked for as %q", path, v.Kind, v.Asked)
		}
	}
}

func TestWithoutProtectionOfTheSystem(t *testing.T) {
	off := strings.Replace(small, "rosetta: true", "rosetta: true, sip: false", 1)
	d := describe(t, off+"files:\n  /bin/ls: {restricted: true, macho: {slices: [x86_64, arm64e], platform_byte: 15}}\n  /x: {macho: {slices: [arm64], flags: [restrict]}}\n  /unsigned: {macho: {slices: [arm64], unsigned: true}}\n")
	if v := For(d).Decide(Request{Path: "/bin/ls", Cwd: "/"}); v.Kind != Inject {
		t.Errorf("ls: %+v", v)
	}
	if v := For(d).Decide(Request{Path: "/x", Cwd: "/"}); v.Kind != Copy {
		t.Errorf("a signature's flag: %+v", v)
	}
	if v := For(d).Decide(Request{Path: "/unsigned", Cwd: "/"}); v.Kind != Inject {
		t.Errorf("no signature: %+v", v)
	}
}

// TestMacExec has the ways of executing files that are no programs.
func TestMacExec(t *testing.T) {
	d := describe(t, small+`files:
  /bin/sh: {restricted: true, macho: {slices: [x86_64, arm64e]}}
  /bin/dash: {restricted: true, macho: {slices: [x86_64, arm64e]}}
  /usr/bin/env: {restricted: true, macho: {slices: [x86_64, arm64e]}}
  /private/var/select/sh: {link: /bin/dash}
  /opt/bin/node: {macho: {slices: [arm64]}}
  /opt/bin/script: {script: "#!/opt/bin/node --a --b # c\n"}
  /opt/bin/nested: {script: "#!/opt/bin/script\n"}
  /opt/bin/bare: {script: "x\n"}
  /opt/bin/envs: {script: "#!/usr/bin/env node\n"}
  /opt/bin/turns: {script: "#!/usr/bin/env env env env env env env env env env env node\n"}
  /Users/ann/rel: {script: "#!../../opt/bin/node\n"}
  /Users/ann/lib/node: {macho: {slices: [arm64], flags: [runtime]}}
`)
	for _, tt := range []struct {
		name string
		r    Request
		kind Kind
		path string
		argv []string
		err  error
	}{
		{"script", Request{Path: "script", Search: true}, Inject, "/opt/bin/node", []string{"/opt/bin/node", "--a", "--b", "/opt/bin/script", "1"}, nil},
		{"relative interpreter", Request{Path: "./rel"}, Inject, "../../opt/bin/node", []string{"../../opt/bin/node", "./rel", "1"}, nil},
		{"relative interpreter from elsewhere", Request{Path: "/Users/ann/rel", Cwd: "/Users/ann/lib"}, Fails, "", nil, ErrNotFound},
		{"nested, execve", Request{Path: "/opt/bin/nested"}, Fails, "", nil, ErrNotExecutable},
		{"nested, execvp", Request{Path: "nested", Argv0: "nested", Search: true}, Copy, "/bin/dash", []string{"sh", "/opt/bin/nested", "1"}, nil},
		{"bare, posix_spawn", Request{Path: "/opt/bin/bare"}, Fails, "", nil, ErrNotExecutable},
		{"bare, posix_spawnp", Request{Path: "/opt/bin/bare", Search: true}, Copy, "/bin/dash", []string{"/bin/sh", "/opt/bin/bare", "1"}, nil},
		{"env", Request{Path: "envs", Search: true}, Inject, "/opt/bin/node", []string{"node", "/opt/bin/envs", "1"}, nil},
		{"env with another PATH", Request{Path: "/opt/bin/envs", Env: []string{"PATH=/Users/ann/lib"}}, Copy, "/Users/ann/lib/node", []string{"node", "/opt/bin/envs", "1"}, nil},
		{"env without PATH", Request{Path: "/opt/bin/envs", Env: []string{"A=b"}}, Copy, "/usr/bin/env", []string{"/usr/bin/env", "node", "/opt/bin/envs", "1"}, nil},
		{"env upon env", Request{Path: "/opt/bin/turns", Env: []string{"PATH=/usr/bin:/opt/bin"}}, Copy, "/usr/bin/env", []string{"env", "env", "env", "node", "/opt/bin/turns", "1"}, nil},
		{"login shell", Request{Path: "/bin/sh", Argv0: "-sh"}, Copy, "/bin/dash", []string{"-sh", "1"}, nil},
	} {
		r := tt.r
		r.Args = []string{"1"}
		if r.Env == nil {
			r.Env = d.system.Env
		}
		if r.Cwd == "" {
			r.Cwd = d.system.Cwd
		}
		r.PathVar = variable(r.Env, "PATH")
		v := For(d).Decide(r)
		if v.Kind != tt.kind || v.Path != tt.path || !errors.Is(v.Err, tt.err) {
			t.Errorf("%s: %v %q, %v", tt.name, v.Kind, v.Path, v.Err)
		}
		if diff := cmp.Diff(tt.argv, v.Argv); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

// TestOutsideIsAsAsked: what is not followed anyway is executed as its caller asked for it.
func TestOutsideIsAsAsked(t *testing.T) {
	d, err := ReadHost("testdata/mac27-clean.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{"start.sh": {"start.sh", "1"}, "/bin/sh": {"/bin/sh", "1"}, "bare": {"bare", "./bare", "1"}} {
		v := For(d).Decide(Request{Path: path, Argv0: path, Args: []string{"1"}, Cwd: d.system.Cwd, Env: d.system.Env, PathVar: ".", Search: true})
		if diff := cmp.Diff(want, v.Argv); v.Kind != Outside || v.Program != "/bin/bash" || diff != "" {
			t.Errorf("%s: %v %s: -want +got\n%s", path, v.Kind, v.Program, diff)
		}
	}
}

// TestTraceChangesNothing: what people are told is what happens.
func TestTraceChangesNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/mac*.yaml")
	if err != nil || files == nil {
		t.Fatal(files, err)
	}
	for _, name := range files {
		d, err := ReadHost(name)
		if err != nil {
			t.Fatal(err)
		}
		for path := range d.entries {
			r := Request{Path: path, Argv0: path, Args: []string{"x"}, Cwd: d.system.Cwd, Env: d.system.Env, Search: true}
			plain := For(d).Decide(r)
			r.Trace = true
			traced := For(d).Decide(r)
			if diff := cmp.Diff(plain, traced, cmpopts.IgnoreFields(Verdict{}, "Hops", "Next", "Err")); diff != "" || fmt.Sprint(plain.Err) != fmt.Sprint(traced.Err) {
				t.Errorf("%s, %s: -plain +traced\n%s", name, path, diff)
			}
			if n := len(traced.Hops); traced.Err == nil && (n != len(traced.Chain) || traced.Hops[n-1].Kind != traced.Kind) {
				t.Errorf("%s, %s: %d hops of %d", name, path, n, len(traced.Chain))
			}
		}
	}
}

func BenchmarkDecideChain(b *testing.B) {
	d, err := ReadHost("testdata/mac15-apple.yaml")
	if err != nil {
		b.Fatal(err)
	}
	e := For(d)
	for b.Loop() {
		e.Decide(Request{Path: "npm", Argv0: "npm", Args: []string{"start"}, Cwd: d.system.Cwd, Env: d.system.Env, PathVar: variable(d.system.Env, "PATH"), Search: true, Trace: true})
	}
}
