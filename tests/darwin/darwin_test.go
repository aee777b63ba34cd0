// Package darwin holds a loader that runs macOS programs on Linux, as far as the tests of the layer and of sip need it (README.md), with its own tests.
package darwin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tools are what building and running takes. One that is missing leaves the tests out.
var tools = []string{"gcc", "aarch64-linux-gnu-gcc", "qemu-aarch64", "clang-19", "ld64.lld-19"}

var (
	x86   = []string{"--machine=intel"}
	arm   = []string{"--machine=apple"}
	archs = map[string][]string{"x86_64": x86, "arm64": arm} // options under which a program of that architecture runs
)

var workshop string // for what is built; gone at the end

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "darwin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workshop = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// loader builds darwin-x86_64 and darwin-arm64 once, and returns the first.
var loader = sync.OnceValues(func() (string, error) {
	if err := looked("loader/*"); err != nil {
		return "", err
	}
	cmd := exec.Command("loader/build", workshop)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("loader/build: %w\n%s", err, out)
	}
	return filepath.Join(workshop, "darwin-x86_64"), nil
})

// looked reads what others will compile, so that the go command knows that the result of the tests depends on it.
func looked(pattern string) error {
	files, err := filepath.Glob(pattern)
	for _, file := range files {
		if fi, err := os.Stat(file); err != nil || fi.IsDir() {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return err
		}
	}
	return err
}

func need(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("left out: the loader is for Linux on x86_64")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: %s is not installed", tool)
		}
	}
	if _, err := os.Stat("/usr/aarch64-linux-gnu/include/stdio.h"); err != nil {
		t.Skip("left out: no libc to build for arm64 with (libc6-dev-arm64-cross)")
	}
}

// build makes a program or library of programs/NAME.c. The flags before "--" are the linker's, those after it the compiler's.
func build(t *testing.T, name, arch string, flags ...string) string {
	t.Helper()
	need(t)
	var compile, link []string
	for i, flag := range flags {
		if flag == "--" {
			compile = flags[i+1:]
			break
		}
		link = append(link, flag)
	}
	key := strings.NewReplacer("/", "_", " ", "_").Replace(strings.Join(append([]string{name, arch}, flags...), ","))
	out := filepath.Join(workshop, key)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	if err := looked("programs/*"); err != nil {
		t.Fatal(err)
	}
	object := out + ".o"
	command(t, "clang-19", append(compile, "-target", arch+"-apple-macos11", "-Os", "-nostdinc", "-fno-stack-protector", "-fno-builtin", "-Wall", "-Werror",
		"-c", "programs/"+name+".c", "-o", object)...)
	if len(link) == 0 {
		link = []string{"-fixup_chains"}
	}
	command(t, "ld64.lld-19", append(link, "-arch", arch, "-platform_version", "macos", "11.0.0", "15.0.0", object, "programs/libSystem.tbd",
		"-adhoc_codesign", "-o", out)...)
	return out
}

// library is build for a dylib.
func library(t *testing.T, name, arch string, flags ...string) string {
	t.Helper()
	return build(t, name, arch, append([]string{"-dylib", "-fixup_chains", "-install_name", "@rpath/" + name + ".dylib"}, flags...)...)
}

func hook(t *testing.T, name, arch string) string {
	t.Helper()
	return library(t, "hook", arch, "--", `-DNAME="`+name+`"`)
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// result is what became of a program; code is 128 and the signal's number when one ended it.
type result struct {
	out, err string
	code     int
}

// run starts a program in the loader, with an environment that holds nothing but env.
func run(t *testing.T, options, env []string, words ...string) result {
	t.Helper()
	need(t)
	path, err := loader()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a hang ends the program and its children, not the run of the tests
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(options, words...)...)
	cmd.Env = append([]string{}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out, diagnosis bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnosis
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code := cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return result{out.String(), diagnosis.String(), code}
}

// want fails the test unless the program wrote exactly that and ended with that code.
func (r result) want(t *testing.T, out string, code int) {
	t.Helper()
	if r.out != out || r.code != code {
		t.Errorf("exit %d, want %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s", r.code, code, r.out, out, r.err)
	}
}

// says fails the test unless stderr has the text and the program ended with that code.
func (r result) says(t *testing.T, text string, code int) {
	t.Helper()
	if !strings.Contains(r.err, text) || r.code != code {
		t.Errorf("exit %d, want %d\nstderr:\n%s\nwant in it:\n%s\nstdout:\n%s", r.code, code, r.err, text, r.out)
	}
}

// line is the rest of the output's line that begins with the word, or what is said when there is none.
func (r result) line(word string) string {
	for line := range strings.Lines(r.out) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), word+" "); ok {
			return rest
		}
	}
	return "(nothing)"
}

// write makes an executable file.
func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// table writes a table of files.
func table(t *testing.T, lines ...string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "table"), []byte(strings.Join(lines, "\n")+"\n"))
}

// sample is a copy of a real file that can be executed; without the folder of samples the test is left out.
func sample(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("MIRRORD_SAMPLES")
	if folder == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real macOS files")
	}
	return write(t, filepath.Join(t.TempDir(), name), read(t, filepath.Join(folder, name)))
}

func forEachArch(t *testing.T, test func(t *testing.T, arch string, options []string)) {
	for arch, options := range archs {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			test(t, arch, options)
		})
	}
}
