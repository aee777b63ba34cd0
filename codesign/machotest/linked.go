package machotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// libSystem has the names of functions that the C programs use; linkers need no more of the system's library.
const libSystem = `--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: '/usr/lib/libSystem.B.dylib'
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ _puts, _getenv, dyld_stub_binder ]
...
`

// source has what makes fixups: pointers to data, to its own functions and to those of libSystem.
const source = `int puts(const char *);
char *getenv(const char *);
static const char *words[] = {"a", "b", "c"};
int (*print)(const char *) = puts;
int which = 1;
int entry(void) { return print(words[which]) + (getenv("X") != 0); }
int (*self)(void) = entry;
#ifndef LIBRARY
int main(void) { return self(); }
#endif
`

// Linked are C programs and libraries that clang and lld make. The test is left out where they are not installed.
func Linked(t *testing.T) (files []File) {
	t.Helper()
	for _, tool := range []string{"clang-19", "ld64.lld-19"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: %s is not installed", tool)
		}
	}
	dir := t.TempDir()
	write(t, dir, "libSystem.tbd", libSystem)
	write(t, dir, "source.c", source)
	for _, arch := range []string{"x86_64", "arm64"} {
		compile := []string{"-target", arch + "-apple-macos11", "-Os", "-nostdinc", "-fno-stack-protector", "-c", "source.c", "-o"}
		run(t, dir, nil, "clang-19", append(compile, "program.o")...)
		run(t, dir, nil, "clang-19", append(compile, "library.o", "-DLIBRARY")...)
		for _, kind := range []struct{ name, options string }{
			{"program, linker-signed", "program.o -fixup_chains -adhoc_codesign"},
			{"program, unsigned", "program.o -fixup_chains -no_adhoc_codesign"},
			{"program, dyld info", "program.o -no_fixup_chains -adhoc_codesign"},
			{"program, dyld info, unsigned", "program.o -no_fixup_chains -no_adhoc_codesign"},
			{"program, restricted", "program.o -fixup_chains -adhoc_codesign -sectcreate __RESTRICT __restrict /dev/null"},
			{"program, rpaths", "program.o -fixup_chains -adhoc_codesign -rpath @loader_path/../lib -rpath /usr/local/lib"},
			{"program, no room", "program.o -fixup_chains -no_adhoc_codesign -headerpad 0"},
			{"dylib", "library.o -dylib -install_name @rpath/fixture.dylib -fixup_chains -adhoc_codesign"},
			{"bundle", "library.o -bundle -fixup_chains -adhoc_codesign"},
		} {
			link := append([]string{"-arch", arch, "-platform_version", "macos", "11.0.0", "15.0.0", "-o", "linked", "libSystem.tbd"}, strings.Fields(kind.options)...)
			run(t, dir, nil, "ld64.lld-19", link...)
			files = append(files, File{arch + " " + kind.name, read(t, dir, "linked")})
		}
		files = append(files, File{arch + " object", read(t, dir, "program.o")})
	}
	return files
}

// GoPrograms are what Go's own linker makes: signed for arm64, unsigned for x86_64, with debugging information and without.
func GoPrograms(t *testing.T) (files []File) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: it builds programs for macOS")
	}
	dir := t.TempDir()
	write(t, dir, "go.mod", "module hello\n")
	write(t, dir, "main.go", "package main\n\nfunc main() { println(1) }\n")
	for _, arch := range []string{"amd64", "arm64"} {
		for _, flags := range []string{"", "-s -w"} {
			run(t, dir, []string{"GOOS=darwin", "GOARCH=" + arch, "CGO_ENABLED=0", "GOFLAGS=-mod=mod"}, "go", "build", "-ldflags", flags, "-o", "built", ".")
			files = append(files, File{strings.TrimSpace("go " + arch + " " + flags), read(t, dir, "built")})
		}
	}
	return files
}

func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
