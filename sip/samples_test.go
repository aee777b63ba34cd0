package sip

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSamples describes Macs whose programs are real ones.
func TestSamples(t *testing.T) {
	dir := os.Getenv("MIRRORD_SAMPLES")
	if dir == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real programs")
	}
	samples := []struct{ name, entry, apple, intel string }{ // verdicts on Apple silicon with Rosetta, and on Intel
		{"apple-ls-15.1-fat-x86_64-arm64e", "restricted: true", "copy(x86_64) System Integrity Protection", "copy(x86_64) System Integrity Protection"},
		{"apple-cat-11.4-fat", "restricted: true", "copy(x86_64) System", "copy(x86_64) System"},
		{"apple-ls-11.4-fat", "", "inject() signed as a part of the system", "inject() signed as a part of the system"}, // a copy someone made
		{"devid-hardened-arm64e-badpages", "", "outside() an arm64e program that is not of the system", "fails"},
		{"fat-arm64-arm64e-chained", "", "outside() an arm64e program that is not of the system", "fails"},
		{"hardened-allow-dyld-env-arm64", "", "inject() hardened, and entitled", "fails"},
		{"hardened-x86_64-objc", "", "copy(x86_64) hardened, without the entitlement", "copy(x86_64) hardened"},
		{"malformed-cputype-apple-cal-fat", "", "fails", "fails"},
		{"npm-node-pty-spawn-helper-arm64", "", "inject() nothing protects it", "fails"},
		{"npm-terminal-notifier-x86_64-unsigned", "", "inject() nothing protects it", "inject() nothing protects it"},
		{"samply_mac_preload_fat3.dylib", "", "fails", "fails"},
	}
	files := "files:\n"
	for _, s := range samples {
		files += fmt.Sprintf("  /opt/%s: {file: %q, %s}\n", s.name, filepath.Join(dir, s.name), s.entry)
	}
	apple := For(describe(t, small+files))
	intel := For(describe(t, strings.Replace(small, "arm64, rosetta: true", "x86_64", 1)+files))
	for _, s := range samples {
		for e, want := range map[*Engine]string{apple: s.apple, intel: s.intel} {
			v := e.Decide(Request{Path: "/opt/" + s.name, Cwd: "/"})
			got := fmt.Sprintf("%v(%s) %s", v.Kind, v.Slice, v.Reason)
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s on %s: %s, %v; want %s", s.name, e.Host().System().Arch, got, v.Err, want)
			}
		}
	}
	broken, err := os.ReadDir(filepath.Join(dir, "malformed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		d := describe(t, small+fmt.Sprintf("files: {/x: {file: %q}}\n", filepath.Join(dir, "malformed", b.Name())))
		v := For(d).Decide(Request{Path: "/x", Cwd: "/"})
		if v.Kind == Fails && !errors.Is(v.Err, syscall.ENOEXEC) && !errors.Is(v.Err, errBadArch) {
			t.Errorf("%s: %+v", b.Name(), v)
		}
	}
}
