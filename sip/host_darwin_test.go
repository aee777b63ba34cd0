package sip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThisMac: what every Mac has is seen as it is.
func TestThisMac(t *testing.T) {
	e := New()
	sys := e.Host().System()
	if strings.Trim(sys.Version, "0123456789.") != "" || sys.Version == "" || sys.Build == "" {
		t.Errorf("%+v", sys)
	}
	f, errno := e.look("/BIN/ls")
	if errno != 0 || f.real != "/bin/ls" || f.flags&sfRestricted == 0 || f.image == nil || f.image.Slices[0].PlatformByte == 0 {
		t.Fatalf("%+v, %v", f, errno)
	}
	if v := e.Decide(Request{Path: "/bin/ls", Cwd: "/"}); sys.SIP == (v.Kind == Inject) {
		t.Errorf("ls, protection %v: %+v", sys.SIP, v)
	}
	if v := e.Decide(Request{Path: "sudo", PathVar: "/usr/bin", Search: true, Cwd: "/"}); v.Kind != Outside || os.Getuid() != 0 && v.Reason != reasonSetuid {
		t.Errorf("sudo: %+v", v)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh -e\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if v := e.Decide(Request{Path: script, Argv0: script, Args: []string{}, Cwd: "/"}); v.Err != nil || len(v.Argv) < 3 || v.Argv[1] != "-e" || v.Argv[2] != script {
		t.Errorf("script: %+v", v)
	}
}
