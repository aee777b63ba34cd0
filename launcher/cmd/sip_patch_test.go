package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign"
	"mirrord/codesign/machotest"
	"mirrord/launcher/run"
)

func TestSIPPatch(t *testing.T) {
	const plist = `<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0">`
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	entitled := machotest.Signature{Flags: machotest.FlagRuntime, Team: "TEAM123456", Platform: 16, CMS: make([]byte, 3000), Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{})},
		Entitlements: plist + "<dict><key>com.apple.a\x7f</key><true/><key>com.apple.b</key><true/></dict></plist>"}
	arm := machotest.Image{Rpaths: []string{"@executable_path/../lib"}, Restrict: true}.With(entitled)
	intel, arm64e := machotest.Image{Arch: machotest.X86_64}.Bytes(), machotest.Image{Arch: machotest.ARM64e}.Bytes()
	for name, content := range map[string][]byte{
		"tool": machotest.Fat(intel, arm.Bytes()), "apple": machotest.Fat(intel, arm64e), "arm64e": arm64e, "lib": machotest.Image{Kind: machotest.Dylib}.Bytes(), "text": []byte("#!/bin/sh\n"),
		"cut": arm.Bytes()[:100], "old": []byte("old"), "full": machotest.Image{NoRoom: true, Rpaths: []string{"@loader_path"}, Signature: &machotest.LinkerSigned}.Bytes(),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{syscall.Mkfifo("fifo", 0o600), os.Symlink("tool", "link"), os.Link("tool", "second"), os.Mkdir("folder", 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.ReadFile("tool")

	got, ending := output(t, "sip", "patch", "link", "-o", "old")
	file, err := os.ReadFile("old")
	if err != nil || ending.Status != 0 {
		t.Fatalf("status %d: %v", ending.Status, err)
	}
	r, err := codesign.Verify(bytes.NewReader(file), int64(len(file)))
	if err != nil || !r.Valid() || r.Fat || r.Slices[0].Arch != "arm64" {
		t.Fatalf("%+v, %v", r, err)
	}
	want := `old: the arm64 slice of DIR/tool, signed ad hoc, 50 KiB

  identifier     ` + r.Slices[0].Identifier + `
  cdhash         ` + r.Slices[0].CDHash + `
  dropped        being one of Apple's own (platform 16)
                 team TEAM123456
                 flags runtime
                 section __RESTRICT,__restrict
                 certificates, 3 KiB
                 launch constraints: self
                 entitlement "com.apple.a\x7f"
                 entitlement com.apple.b
  made absolute  @executable_path/../lib → ` + filepath.Dir(dir) + `/lib
`
	if diff := cmp.Diff(want, strings.ReplaceAll(got, dir, "DIR")); diff != "" || !strings.HasPrefix(r.Slices[0].Identifier, "mirrord.tool-") {
		t.Errorf("-want +got:\n%s", diff)
	}
	if info, err := os.Stat("old"); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, ending := output(t, "sip", "patch", "apple", "-o", "new"); ending.Status != 0 || !strings.Contains(got, "\n  dropped     nothing\n") || !strings.HasPrefix(got, "new: the x86_64 slice of ") {
		t.Errorf("status %d\n%s", ending.Status, got)
	}
	got, ending = output(t, "sip", "patch", "--slice", "x86_64", "--json", "tool", "-o", "new")
	var p patched
	if err := json.Unmarshal([]byte(got), &p); err != nil || ending.Status != 0 || p.Arch != "x86_64" || p.Original != dir+"/tool" || p.Out != "new" || p.Paths == nil || p.Team != "" {
		t.Errorf("status %d: %+v, %v", ending.Status, p, err)
	}

	for _, tt := range []struct {
		line   string
		status int
	}{
		{"arm64e -o x", 1}, {"apple --slice arm64 -o x", 1}, {"lib -o x", 1}, {"full -o x", 1}, {"text -o x", 2}, {"cut -o x", 2}, {"fifo -o x", 2}, {". -o x", 2},
		{"nothing -o x", run.OwnFailure}, {"tool", run.OwnFailure}, {"-o x", run.OwnFailure}, {"tool tool -o x", run.OwnFailure}, {"tool --slice arm64e -o x", run.OwnFailure},
		// The original stays, and so does what is no file.
		{"tool -o tool", run.OwnFailure}, {"tool -o ./link", run.OwnFailure}, {"link -o tool", run.OwnFailure}, {"tool -o second", run.OwnFailure}, {"tool -o fifo", run.OwnFailure},
		{"tool -o folder", run.OwnFailure}, {"tool -o no/where", run.OwnFailure},
	} {
		got, ending := output(t, append([]string{"sip", "patch"}, strings.Fields(tt.line)...)...)
		if ending.Status != tt.status || got != "" {
			t.Errorf("%s: status %d\n%s", tt.line, ending.Status, got)
		}
	}
	if after, err := os.ReadFile("tool"); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the original is another: %v", err)
	}
	if left, err := filepath.Glob(".*"); err != nil || left != nil {
		t.Errorf("left: %q, %v", left, err)
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("what was refused was written")
	}
}
