package darwin

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const (
	arm64e   = 0x80000002 // of ABI version 0
	arm64eV1 = 0x81000002
)

// Scripts by xnu's rules (bsd/kern/kern_exec.c, exec_shell_imgact), which differ from Linux's in nearly every line.
func TestScripts(t *testing.T) {
	t.Parallel()
	report := build(t, "report", "x86_64")
	dir := t.TempDir()
	interpreter := write(t, filepath.Join(dir, "report"), read(t, report))
	other := write(t, filepath.Join(dir, "other"), []byte("#!"+interpreter+" inner\n"))
	const noexec = "errno 8 "
	for _, test := range []struct{ name, content, argv, fault string }{
		{"plain", "#!" + interpreter + "\n", "%[1]s %[2]s one two", ""},
		{"all words count", "#!" + interpreter + " -a  b\tc \nrest", "%[1]s -a b c %[2]s one two", ""},
		{"blanks before", "#! \t" + interpreter + "\n", "%[1]s %[2]s one two", ""},
		{"a comment ends the line", "#!" + interpreter + " x#y z\n", "%[1]s x %[2]s one two", ""},
		{"no newline", "#!" + interpreter, "", noexec},
		{"carriage return", "#!" + interpreter + "\r\n", "", "errno 2 "},
		{"nothing", "#!\n", "", noexec},
		{"only blanks", "#! \t\n", "", noexec},
		{"end at 511", "#!" + interpreter + strings.Repeat(" ", 511-2-len(interpreter)) + "\n", "%[1]s %[2]s one two", ""},
		{"end at 512", "#!" + interpreter + strings.Repeat(" ", 512-2-len(interpreter)) + "\n", "", noexec},
		{"interpreter is a script", "#!" + other + "\n", "", noexec},
		{"interpreter is not there", "#!/not/there\n", "", "errno 2 "},
		{"empty", "", "", noexec},
		{"text", "echo hello\n", "", noexec},
		{"ELF", "\x7fELF\x02\x01\x01", "", noexec},
	} {
		t.Run(test.name, func(t *testing.T) {
			script := write(t, filepath.Join(t.TempDir(), "script"), []byte(test.content))
			r := run(t, x86, nil, script, "one", "two")
			if test.fault != "" {
				code := 126
				if test.fault == "errno 2 " {
					code = 127
				}
				r.says(t, test.fault, code)
				return
			}
			var got []string
			for i := range 10 {
				if word := r.line(fmt.Sprintf("argv[%d]", i)); word != "(nothing)" {
					got = append(got, word)
				}
			}
			if want := fmt.Sprintf(test.argv, interpreter, script); strings.Join(got, " ") != want || r.line("path") != interpreter {
				t.Errorf("argv %q, want %q\n%s%s", got, want, r.out, r.err)
			}
		})
	}
}

// A shell runs what the kernel calls no program: libc's execvp, not execve.
func TestShellFallback(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := write(t, filepath.Join(dir, "script"), []byte(build(t, "report", "x86_64")+` x "$@"`))
	options := append(x86, "--files", table(t, "/bin/sh - "+build(t, "sh", "x86_64")))
	r := run(t, options, []string{"PATH=" + dir}, build(t, "env", "x86_64"), "script", "arg")
	if r.line("argv[1]") != "x" || r.line("argv[2]") != "arg" {
		t.Errorf("%s%s", r.out, r.err)
	}
	run(t, options, nil, script).says(t, "errno 8 ", 126)
	run(t, options, nil, build(t, "spawn", "x86_64"), "0", "-", script).says(t, "spawn: 8 Exec format error", 8)
}

// Which slice of a fat file runs. Every slice is a program that says its architecture; that of arm64e ABI 0 is killed where it is chosen: it is not Apple's.
func TestSlices(t *testing.T) {
	t.Parallel()
	intel, silicon := read(t, build(t, "report", "x86_64")), read(t, build(t, "report", "arm64"))
	v8, e, v1 := as(t, silicon, 1, signing{}), as(t, silicon, arm64e, signing{}), as(t, silicon, arm64eV1, signing{})
	haswell := as(t, intel, 8, signing{})
	bare := []string{"--machine=apple-without-rosetta"}
	below := []string{"--translated"} // a program under Rosetta
	for _, test := range []struct {
		name    string
		file    []byte
		options []string
		arch    string // "" when it does not run
		code    int
	}{
		{"both, Intel", fat(intel, silicon), x86, "x86_64", 0},
		{"both, Apple", fat(intel, silicon), arm, "arm64", 0},
		{"both, below Rosetta", fat(intel, silicon), below, "x86_64", 0},
		{"only x86_64, Apple", intel, arm, "x86_64", 0},
		{"only arm64, below Rosetta", silicon, below, "arm64", 0},
		{"only x86_64, no Rosetta", intel, bare, "", 126},
		{"both, no Rosetta", fat(intel, silicon), bare, "arm64", 0},
		{"only arm64, Intel", silicon, x86, "", 126},
		{"x86_64h, Apple", haswell, arm, "", 126},
		{"x86_64h, Intel", haswell, x86, "x86_64", 0},
		{"arm64e is better than arm64", fat(silicon, e), arm, "", 137},
		{"arm64e of another ABI is better than arm64", fat(silicon, v1), arm, "arm64", 0},
		{"arm64e of ABI 0 is better than of 1", fat(v1, e), arm, "", 137},
		{"arm64 V8", v8, arm, "arm64", 0},
		{"arm64e of before versions", fat(silicon, as(t, silicon, 2, signing{})), arm, "", 137}, // its version is 0 too
		{"arm64e.x1 is for other hardware", as(t, silicon, 0x8000000c, signing{}), arm, "", 126},
		{"kernel's arm64e", as(t, silicon, 0xc0000002, signing{}), arm, "", 126},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, test.options, nil, write(t, filepath.Join(t.TempDir(), "program"), test.file))
			if test.arch != "" && r.line("arch") != test.arch || r.code != test.code {
				t.Errorf("exit %d, want %d; arch %s, want %s\n%s", r.code, test.code, r.line("arch"), test.arch, r.err)
			}
			if test.code == 126 {
				r.says(t, "Bad CPU type in executable", 126)
			}
		})
	}
	lying := fat(intel, silicon)
	lying[8+20+7] = 1 // the second entry's subtype: V8, which its slice is not
	for _, test := range []struct {
		name    string
		file    []byte
		options []string
		errno   string
	}{
		{"a slice twice", fat(intel, intel), x86, "85"},
		{"a slice outside the file", fat(intel, silicon)[:0x6000], x86, "85"},
		{"a fat header that lies", lying, arm, "86"},
		{"a fat header that lies about another slice", lying, x86, ""},
		{"a library", read(t, library(t, "late", "x86_64")), x86, "8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, test.options, nil, write(t, filepath.Join(t.TempDir(), "program"), test.file))
			if test.errno == "" {
				r.says(t, "", 0)
				return
			}
			r.says(t, "errno "+test.errno+" ", 126)
		})
	}
}

// An x86_64 program's children start as x86_64, also those of an arm64-only child in between, until the affinity is taken away; a preference goes before both.
func TestAffinity(t *testing.T) {
	t.Parallel()
	both := func(name string) string {
		return write(t, filepath.Join(t.TempDir(), name), fat(read(t, build(t, name, "x86_64")), read(t, build(t, name, "arm64"))))
	}
	report, spawn := both("report"), both("spawn")
	env, intelEnv := build(t, "env", "arm64"), build(t, "env", "x86_64")
	affinity := build(t, "affinity", "x86_64")
	const cpuX86, cpuARM = "arch=16777223", "arch=16777228"
	for _, test := range []struct {
		name, arch string
		words      []string
	}{
		{"native", "arm64", []string{env, report}},
		{"below x86_64", "x86_64", []string{intelEnv, report}},
		{"through arm64", "x86_64", []string{intelEnv, env, report}},
		{"cleared", "arm64", []string{affinity, report}},
		{"preference for x86_64", "x86_64", []string{spawn, "0", cpuX86, report}},
		{"preference for arm64 below x86_64", "arm64", []string{intelEnv, spawn, "0", cpuARM, report}},
		{"preference with a subtype", "arm64", []string{spawn, "0", cpuARM + ",0", report}},
		{"preference for any", "arm64", []string{spawn, "0", "arch=-1", report}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, arm, nil, test.words...)
			if r.line("arch") != test.arch || r.code != 0 {
				t.Errorf("%d\n%s%s", r.code, r.out, r.err)
			}
			if want := map[string]string{"x86_64": "1", "arm64": "0"}[test.arch]; r.line("translated") != want {
				t.Errorf("sysctl.proc_translated is %s, want %s", r.line("translated"), want)
			}
		})
	}
	run(t, arm, nil, spawn, "0", cpuX86, build(t, "report", "arm64")).says(t, "spawn: 86 Bad CPU type in executable", 86)
	run(t, arm, nil, spawn, "0", cpuARM+",2", report).says(t, "spawn: 86 Bad CPU type in executable", 86)
	if r := run(t, x86, nil, build(t, "report", "x86_64")); r.line("translated") != "(nothing)" {
		t.Errorf("sysctl.proc_translated on Intel: %s", r.line("translated"))
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	intel, silicon := read(t, build(t, "report", "x86_64")), read(t, build(t, "report", "arm64"))
	apple := signing{notAdhoc: true, cms: true, platform: 15, identifier: "com.apple.report"}
	for _, test := range []struct {
		name    string
		file    []byte
		options []string
		code    int
	}{
		{"arm64 as the linker signs it", silicon, arm, 0},
		{"arm64 signed here", sign(t, silicon, signing{}), arm, 0},
		{"arm64 with pages of 16 KiB", sign(t, silicon, signing{pageShift: 14}), arm, 0},
		{"arm64 with pages of 8 KiB", sign(t, silicon, signing{pageShift: 13}), arm, 137},
		{"arm64 unsigned", unsigned(silicon), arm, 137},
		{"arm64 changed afterwards", changed(silicon), arm, 137},
		{"arm64 with entitlements changed", edited(t, sign(t, silicon, signing{entitlements: "<key>a</key><true/>"}), "<key>a</key>", "<key>b</key>"), arm, 137},
		{"x86_64 unsigned", unsigned(intel), x86, 0},
		{"x86_64 unsigned, Rosetta", unsigned(intel), arm, 0},
		{"x86_64 changed afterwards", changed(intel), x86, 0},
		{"x86_64 changed, with kill", changed(sign(t, intel, signing{flags: 0x200})), x86, 137},
		{"x86_64 changed, hardened", changed(sign(t, intel, signing{flags: 0x10000})), x86, 137},
		{"arm64e", as(t, silicon, arm64e, signing{}), arm, 137},
		{"arm64e of Apple", as(t, silicon, arm64e, apple), arm, 0},
		{"arm64e with a platform, ad hoc", as(t, silicon, arm64e, signing{cms: true, platform: 15, identifier: "com.apple.report"}), arm, 137},
		{"arm64e with a platform, no certificates", as(t, silicon, arm64e, signing{notAdhoc: true, platform: 15, identifier: "com.apple.report"}), arm, 137},
		{"arm64e of ABI 1", as(t, silicon, arm64eV1, signing{}), arm, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, test.options, nil, write(t, filepath.Join(t.TempDir(), "program"), test.file))
			if r.code != test.code || (r.code == 0) != (r.line("arch") != "(nothing)") {
				t.Errorf("exit %d, want %d\n%s", r.code, test.code, r.err)
			}
		})
	}
	// The kernel kills after the exec has succeeded, so the parent sees a child that died, not an error.
	program := write(t, filepath.Join(t.TempDir(), "program"), unsigned(silicon))
	run(t, arm, nil, build(t, "spawn", "arm64"), "0", "-", program).says(t, "completely unsigned code", 137)
	r := run(t, arm, nil, build(t, "sh", "arm64"), "-c", program)
	r.says(t, "sh: killed by 9", 137)
}

// Signatures of real files: those of Apple hold, one is of a file that somebody changed.
func TestSignaturesOfSamples(t *testing.T) {
	t.Parallel()
	run(t, arm, nil, sample(t, "devid-hardened-arm64e-badpages")).says(t, "the hash of a page is wrong", 137)
	run(t, arm, nil, sample(t, "fat-arm64-arm64e-chained")).says(t, "built against preview arm64e ABI", 137)
	run(t, arm, nil, sample(t, "thin-arm64e-userland24-hello")).says(t, "built against preview arm64e ABI", 137)
	run(t, arm, nil, sample(t, "npm-terminal-notifier-x86_64-unsigned")).says(t, "not modelled: no shim for ", 134) // Objective-C: so it was let run
}

// 1 MiB of words and variables is the limit.
func TestTooBig(t *testing.T) {
	t.Parallel()
	program, variables := build(t, "unknown", "x86_64"), []string{}
	for i := range 10 {
		variables = append(variables, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 100_000)))
	}
	run(t, x86, variables, program).want(t, "not used\n", 0)
	run(t, x86, append(variables, "W="+strings.Repeat("x", 60_000)), program).says(t, "errno 7 ", 126)
}
