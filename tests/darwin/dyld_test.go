package darwin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func inserting(libraries ...string) []string {
	return []string{"DYLD_INSERT_LIBRARIES=" + strings.Join(libraries, ":"), "REPORT_KEPT=1"}
}

const terminating = "terminating because inserted dylib '"

// A library that cannot be inserted ends the process before main, with 134 and dyld's words.
func TestInsertedMissing(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		r := run(t, options, inserting("/not/there.dylib"), build(t, "report", arch))
		r.want(t, "", 134)
		r.says(t, terminating+"/not/there.dylib' could not be loaded: tried: '/not/there.dylib' (no such file), "+
			"'/System/Volumes/Preboot/Cryptexes/OS/not/there.dylib' (no such file), '/not/there.dylib' (no such file)\n", 134)
		text := write(t, filepath.Join(t.TempDir(), "text.dylib"), []byte("text"))
		run(t, options, inserting(text), build(t, "report", arch)).says(t, "could not be loaded: tried: '"+text+"' (not a mach-o file)", 134)
		run(t, options, inserting("@rpath/hook.dylib"), build(t, "report", arch)).says(t, terminating+"@rpath/hook.dylib'", 134)
	})
}

// Which slice of the inserted library a program takes, and what dyld says when there is none.
func TestInsertedSlices(t *testing.T) {
	t.Parallel()
	intel, silicon := read(t, hook(t, "intel", "x86_64")), read(t, hook(t, "arm64", "arm64"))
	e, v1 := as(t, read(t, hook(t, "arm64e", "arm64")), arm64e, signing{}), as(t, read(t, hook(t, "v1", "arm64")), arm64eV1, signing{})
	haswell := as(t, read(t, hook(t, "haswell", "x86_64")), 8, signing{})
	opcodes := read(t, library(t, "hook", "arm64", "-no_fixup_chains", "--", `-DNAME="opcodes"`))
	plain := read(t, build(t, "report", "arm64"))
	apple := as(t, plain, arm64e, signing{notAdhoc: true, cms: true, platform: 15, identifier: "com.apple.report"})
	for _, test := range []struct {
		name             string
		program, library []byte
		options          []string
		says             string
		code             int
	}{
		{"x86_64", read(t, build(t, "report", "x86_64")), fat(intel, silicon), x86, "intel: begins", 0},
		{"x86_64h before x86_64", read(t, build(t, "report", "x86_64")), fat(intel, haswell), x86, "haswell: begins", 0},
		{"not under Rosetta", read(t, build(t, "report", "x86_64")), fat(intel, haswell), arm, "intel: begins", 0},
		{"arm64", plain, fat(intel, silicon), arm, "arm64: begins", 0},
		{"arm64e before arm64", plain, fat(silicon, v1, e), arm, "arm64e: begins", 0},
		{"arm64e of another ABI before arm64", plain, fat(silicon, v1), arm, "v1: begins", 0},
		{"arm64e with its keys off", as(t, plain, arm64eV1, signing{}), fat(intel, silicon), arm, "arm64: begins", 0},
		{"arm64e of Apple wants arm64e", apple, fat(intel, silicon), arm, "fat file, but missing compatible architecture (have 'x86_64,arm64', need 'arm64e')", 134},
		{"arm64e of Apple", apple, fat(silicon, e), arm, "arm64e: begins", 0},
		{"thin, wrong", read(t, build(t, "report", "x86_64")), silicon, x86,
			"mach-o file, but is an incompatible architecture (have 'arm64', need 'x86_64h' or 'x86_64')", 134},
		{"arm64e with opcodes is taken for a threaded one", plain, as(t, opcodes, arm64e, signing{}), arm, "bad bind opcode 0x00", 134},
		{"unsigned", plain, unsigned(silicon), arm, "missing code signature in '", 134},
		{"changed", plain, changed(silicon), arm, "the hash of a page is wrong", 137},
		{"unsigned, x86_64", read(t, build(t, "report", "x86_64")), unsigned(intel), x86, "intel: begins", 0},
		{"changed, x86_64", read(t, build(t, "report", "x86_64")), changed(intel), x86, "intel: begins", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			program, lib := write(t, filepath.Join(dir, "program"), test.program), write(t, filepath.Join(dir, "library"), test.library)
			run(t, test.options, inserting(lib), program).says(t, test.says, test.code)
		})
	}
}

// Whose DYLD_ variables are dropped: then nothing is inserted, and children do not get them either.
func TestRestricted(t *testing.T) {
	t.Parallel()
	const allow, deny = "<key>com.apple.security.cs.allow-dyld-environment-variables</key>", "<key>com.apple.security.cs.disable-library-validation</key>"
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		lib, plain := hook(t, "hook", arch), read(t, build(t, "report", arch))
		section := read(t, build(t, "report", arch, "-sectcreate", "__RESTRICT", "__restrict", os.DevNull))
		for _, test := range []struct {
			name  string
			file  []byte
			flags string // in the table of files
			does  string
		}{
			{"plain", plain, "-", "inserted"},
			{"ad hoc", sign(t, plain, signing{}), "-", "inserted"},
			{"restricted file", plain, "restricted", "pruned"},
			{"setuid", plain, "setuid", "pruned"},
			{"__RESTRICT", section, "-", "pruned"},
			{"CS_RESTRICT", sign(t, plain, signing{flags: 0x800}), "-", "pruned"},
			{"CS_RESTRICT with entitlements", sign(t, plain, signing{flags: 0x800, entitlements: allow + "<true/>" + deny + "<true/>"}), "-", "pruned"},
			{"hardened", sign(t, plain, signing{flags: 0x10000}), "-", "pruned"},
			{"hardened, entitled", sign(t, plain, signing{flags: 0x10000, entitlements: allow + "<true/>" + deny + " <true/>"}), "-", "inserted"},
			{"hardened, entitled with false", sign(t, plain, signing{flags: 0x10000, entitlements: allow + "<false/>" + deny + "<true/>"}), "-", "pruned"},
			{"hardened, with library validation", sign(t, plain, signing{flags: 0x10000, entitlements: allow + "<true/>"}), "-", "kept"},
			{"library validation", sign(t, plain, signing{flags: 0x2000}), "-", "kept"},
			{"Apple's, in no protected place", sign(t, plain, signing{notAdhoc: true, cms: true, platform: 15, identifier: "com.apple.report"}), "-", "inserted"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				program := write(t, filepath.Join(t.TempDir(), "program"), test.file)
				r := run(t, append(options, "--files", table(t, program+" "+test.flags)), inserting(lib), program)
				inserted, kept := strings.Contains(r.err, "hook: begins"), strings.Contains(r.out, "env DYLD_INSERT_LIBRARIES="+lib)
				got := map[[2]bool]string{{true, true}: "inserted", {false, true}: "kept", {false, false}: "pruned"}[[2]bool{inserted, kept}]
				if got != test.does || r.code != 0 {
					t.Errorf("%q, want %q\nexit %d\n%s%s", got, test.does, r.code, r.out, r.err)
				}
				if !strings.Contains(r.out, "env REPORT_KEPT=1") {
					t.Error("a variable was dropped that is not dyld's")
				}
			})
		}
	})
}

// A restricted program breaks the chain: what it starts does not see the variables.
func TestRestrictedChain(t *testing.T) {
	t.Parallel()
	lib, env, report := hook(t, "hook", "x86_64"), build(t, "env", "x86_64"), build(t, "report", "x86_64")
	r := run(t, append(x86, "--files", table(t, "/usr/bin/env restricted "+env)), inserting(lib), "/usr/bin/env", report)
	if strings.Contains(r.err, "begins") || strings.Contains(r.out, "env DYLD_") || r.line("path") != report {
		t.Errorf("%s%s", r.out, r.err)
	}
	r = run(t, append(x86, "--files", table(t, "/usr/bin/env - "+env)), inserting(lib), "/usr/bin/env", report)
	if strings.Count(r.err, "begins") != 2 || r.line("env") != inserting(lib)[0] {
		t.Errorf("%s%s", r.out, r.err)
	}
}

// The flags of the table are what stat says.
func TestStatFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := run(t, append(x86, "--files", table(t, filepath.Join(dir, "file")+" restricted,setuid")), nil, build(t, "layouts", "x86_64"), dir)
	if got := r.line("stat"); got != "size 5 mode 104640 flags 80000" {
		t.Errorf("stat %s\n%s", got, r.err)
	}
}

// A weak library that is missing, or has no slice, leaves its symbols NULL; a strong one ends the process.
func TestDependencies(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		dir := t.TempDir()
		late := library(t, "late", arch)
		other := write(t, filepath.Join(dir, "late.dylib"), read(t, late))
		program := build(t, "linked", arch, "-fixup_chains", "-rpath", "@executable_path/libs", "-rpath", dir, late)
		run(t, options, nil, program).want(t, "there\n", 0)
		weak := build(t, "linked", arch, "-fixup_chains", "-rpath", dir, late, "--", "-DWEAK")
		run(t, options, nil, weak).want(t, "there\n", 0)
		wrong := map[string]string{"x86_64": "arm64", "arm64": "x86_64"}[arch]
		write(t, other, read(t, library(t, "late", wrong)))
		run(t, options, nil, weak).want(t, "missing\n", 0)
		run(t, options, nil, program).says(t, "but is an incompatible architecture (have '"+wrong, 134)
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
		run(t, options, nil, weak).want(t, "missing\n", 0)
		tried := filepath.Dir(program) + "/libs/late.dylib"
		run(t, options, nil, program).says(t, "Library not loaded: @rpath/late.dylib\n  Referenced from: "+program+
			"\n  Reason: tried: '"+tried+"' (no such file)", 134)
	})
}
