package cmd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mirrord/codesign"
	"mirrord/launcher/run"
)

// machO is the smallest arm64 program that can be signed: __TEXT with the header, and __LINKEDIT.
func machO() []byte {
	const linkedit = 0x4000
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{0xfeedfacf, 0x0100000c, 0, 2, 2, 2 * 72, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, s := range []struct {
		name                              string
		address, vmsize, offset, filesize uint64
	}{{"__TEXT", 1 << 32, linkedit, 0, linkedit}, {"__LINKEDIT", 1<<32 + linkedit, linkedit, linkedit, 32}} {
		b = le.AppendUint32(le.AppendUint32(b, 0x19), 72)
		b = append(append(b, s.name...), make([]byte, 16-len(s.name))...)
		for _, v := range []uint64{s.address, s.vmsize, s.offset, s.filesize, 0x500000005, 0} {
			b = le.AppendUint64(b, v)
		}
	}
	return append(b, make([]byte, linkedit+32-len(b))...)
}

func TestSIPVerify(t *testing.T) {
	t.Chdir(t.TempDir())
	var signed bytes.Buffer
	if err := codesign.Sign(&signed, bytes.NewReader(machO()), int64(len(machO())), codesign.Options{Identifier: "mirrord.tool\x1b[31m"}); err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(signed.Bytes())
	broken[0x1800] ^= 1
	for name, content := range map[string][]byte{"unsigned": machO(), "signed": signed.Bytes(), "broken": broken, "text": []byte("#!/bin/sh\n"), "cut": machO()[:100], "empty": nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file   string
		status int
		want   string
	}{
		{"unsigned", 0, "unsigned: not signed\n\narm64 executable, 16 KiB at byte 0\n  not signed"},
		{"signed", 0, `signed: every hash is right

arm64 executable, 16 KiB at byte 0
  identifier    "mirrord.tool\x1b[31m"
  flags         0x2 adhoc
  cdhash        `},
		{"signed", 0, "  hashes        SHA-256: 5 pages of 4 KiB right, requirements right\n"},
		{"broken", 1, "broken: 1 fault\n\narm64 executable, 16 KiB at byte 0\n  WRONG         byte 4096: 1 of 5 pages of the CodeDirectory (SHA-256) have another hash: 1\n"},
		{"text", 2, ""}, {"cut", 2, ""}, {"empty", 2, ""}, {"fifo", 2, ""}, {".", 2, ""},
		{"nothing", run.OwnFailure, ""},
	} {
		got, ending := output(t, "sip", "verify", tt.file)
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" || ending.Status != tt.status {
			t.Errorf("%s: status %d\n%s", tt.file, ending.Status, got)
		}
	}
	for _, line := range []string{"sip verify", "sip verify a b", "sip sing x"} {
		if _, ending := output(t, strings.Fields(line)...); ending.Status != run.OwnFailure {
			t.Errorf("%s: status %d", line, ending.Status)
		}
	}

	got, ending := output(t, "sip", "verify", "--json", "broken")
	var r codesign.Report
	if err := json.Unmarshal([]byte(got), &r); err != nil || ending.Status != 1 {
		t.Fatalf("status %d: %v\n%s", ending.Status, err, got)
	}
	if s := r.Slices[0]; s.Identifier != "mirrord.tool\x1b[31m" || len(s.Directories[0].BadPages) != 1 || s.Faults[0].Offset != 4096 || s.Entitlements != nil {
		t.Errorf("%+v", s)
	}
}

// With real programs at hand, the command's verdict on one of Apple's, and on one that was tampered with.
func TestSIPVerifySamples(t *testing.T) {
	dir := os.Getenv("MIRRORD_SAMPLES")
	if dir == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real programs")
	}
	for file, want := range map[string]int{"apple-ls-15.1-fat-x86_64-arm64e": 0, "devid-hardened-arm64e-badpages": 1, "npm-terminal-notifier-x86_64-unsigned": 0, "SOURCES.txt": 2} {
		got, ending := output(t, "sip", "verify", filepath.Join(dir, file))
		if ending.Status != want {
			t.Errorf("%s: status %d", file, ending.Status)
		}
		t.Log(got)
	}
}
