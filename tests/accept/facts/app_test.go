package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mirrord/app/loginenv"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == loginenv.PrintFlag {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestLoginShell(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SHELL", "/bin/sh")
	if said, err := loginShell(); err != nil || !strings.HasPrefix(said, "/bin/sh told ") {
		t.Errorf("%q, %v", said, err)
	}
	mute := filepath.Join(t.TempDir(), "mute")
	if err := os.WriteFile(mute, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHELL", mute)
	if said, err := loginShell(); err == nil {
		t.Errorf("of a shell that says nothing: %q", said)
	}
}

func TestTerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil || runtime.GOOS != "linux" {
		t.Skip("left out: it takes script(1) of Linux to be a terminal")
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, c := range map[string]struct{ terminal, want string }{
		"a terminal": {`SCRIPT=$2 exec script -qec '"$SCRIPT"' /dev/null`, "it ran on /dev/"},
		"none":       {`"$2" < /dev/null`, "it ran without a terminal"},
		"broken":     {`echo no display; exit 1`, "exit status 1 no display"},
	} {
		if err := os.WriteFile(filepath.Join(bin, "x-terminal-emulator"), []byte("#!/bin/sh\n"+c.terminal+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		said, err := opened()
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, c.want) {
			t.Errorf("%s: %s", name, said)
		}
	}
}
