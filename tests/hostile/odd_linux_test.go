package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/codesign/machotest"
)

// commands read the file $1, the third as a program of the Mac that mac.yaml describes.
var commands = []string{`sip verify "$1"`, `sip explain "$1"`, `sip explain --host mac.yaml -- /bin/program`, `sip patch "$1" -o out/copy`}

// Files that are no files, or do not stay what they are, get an answer or an error from the program that people run.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // for the user that limitedRun takes
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "mirrord")
	build := exec.Command("go", "build", "-o", program, "mirrord/launcher")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := machotest.Image{}.With(machotest.LinkerSigned).Bytes()
	fat := machotest.Fat(whole, machotest.Image{Arch: machotest.X86_64}.Bytes())
	sparse := func(name string, head []byte) {
		must(os.WriteFile(at(name), head, 0o755))
		must(os.Truncate(at(name), 4<<30))
	}
	must(os.WriteFile(at("nothing"), nil, 0o755))
	must(os.WriteFile(at("half"), whole[:len(whole)/2], 0o755))
	must(os.WriteFile(at("header"), whole[:40], 0o755))
	must(os.WriteFile(at("magic"), whole[:4], 0o755))
	must(os.WriteFile(at("half a fat one"), fat[:len(fat)/2], 0o755))
	must(os.WriteFile(at("unreadable"), whole, 0))
	must(os.Mkdir(at("folder"), 0o755))
	must(unix.Mkfifo(at("fifo"), 0o755))
	socket, err := net.Listen("unix", at("socket"))
	must(err)
	defer socket.Close()
	must(os.Chmod(at("socket"), 0o755))
	sparse("4 GiB of nothing", nil)
	sparse("4 GiB and a header", whole)
	sparse("4 GiB and a fat header", fat)
	last := machotest.Fat(whole)[:1<<14]
	binary.BigEndian.PutUint32(last[8+8:], 4<<30-1<<16)
	sparse("4 GiB and a slice at their end", last)
	f, err := os.OpenFile(at("4 GiB and a slice at their end"), os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteAt(whole, 4<<30-1<<16)
	must(err)
	must(f.Close())
	must(os.Symlink("loop", at("loop")))
	must(os.Symlink("missing", at("dangling")))
	must(os.WriteFile(at("sh"), whole, 0o755))
	must(os.WriteFile(at("growing"), whole, 0o755))
	must(os.WriteFile(at("shrinking"), whole, 0o755))

	const toShell, inject, notBegun, denied = "0 execvp gives it to /bin/sh", "0 inject", "2 not a Mach-O file", "1 permission denied"
	for _, tt := range []struct{ file, verify, explain, mac, patch string }{ // the status and a part of what is said; "" for any answer
		{at("nothing"), notBegun, toShell, toShell, notBegun},
		{at("magic"), notBegun, toShell, toShell, notBegun},
		{at("header"), "2 728 bytes of load commands in a file of 40", toShell, "1 728 bytes of load commands in a file of 40", "2 728 bytes of load commands"},
		{at("half"), "1 the signature of 532 bytes at byte 50160 is not within the 25346 bytes", toShell, "0 outside: unsigned", "1 segment __LINKEDIT is not within the file"},
		{at("half a fat one"), "2 none of 2 slices can be read; the first: malformed at byte 8", toShell, "1 none of 2 slices can be read", "2 none of 2 slices"},
		{at("unreadable"), "125 permission denied", denied, denied, "125 permission denied"},
		{at("folder"), "2 is a directory", denied, denied, "2 is a directory"},
		{at("fifo"), "2 is no regular file", denied, denied, "2 is no regular file"},
		{at("socket"), "2 is no regular file", denied, denied, "2 is no regular file"},
		{"/dev/zero", "2 is no regular file", denied, denied, "2 is no regular file"},
		{at("loop"), "125 too many levels", "1 too many levels", "1 too many levels", "125 too many levels"},
		{at("dangling"), "125 no such file", "1 no such file", "1 no such file", "125 no such file"},
		{at("4 GiB of nothing"), notBegun, toShell, toShell, notBegun},
		{at("4 GiB and a header"), "1 4294916604 bytes after the signature", toShell, inject, "1 it has more than 4 GiB"},
		{at("4 GiB and a fat header"), "0 every hash is right in 2 slices", toShell, inject, "0 signed ad hoc, 50 KiB"},
		{at("4 GiB and a slice at their end"), "0 every hash is right", toShell, inject, "0 signed ad hoc, 50 KiB"},
		{at("growing"), "", toShell, "", ""},
		{at("shrinking"), "", toShell, "", ""},
	} {
		described := fmt.Sprintf("mac: {os: \"15.5\", arch: arm64}\nfiles: {/bin/program: {file: %q}, /bin/sh: {file: %q}}\n", tt.file, at("sh"))
		must(os.WriteFile(at("mac.yaml"), []byte(described), 0o644))
		for i, want := range []string{tt.verify, tt.explain, tt.mac, tt.patch} {
			must(os.RemoveAll(at("out")))
			must(os.Mkdir(at("out"), 0o777))
			must(os.Chmod(at("out"), 0o777))
			stop := change(t, tt.file, whole)
			got := limitedRun(t, dir, program+" "+commands[i], tt.file)
			stop()
			left, err := filepath.Glob(at("out/*"))
			must(err)
			if copied := strings.HasPrefix(got, "0 ") && strings.HasPrefix(commands[i], "sip patch"); copied != slices.Equal(left, []string{at("out/copy")}) || !copied && left != nil {
				t.Errorf("%s, %s: %.500s, and %q is left", commands[i], filepath.Base(tt.file), got, left)
			}
			status, words, _ := strings.Cut(want, " ")
			if want != "" && (!strings.HasPrefix(got, status+" ") || !strings.Contains(got, words)) {
				t.Errorf("%s, %s: %.500s, not %s", commands[i], filepath.Base(tt.file), got, want)
			}
		}
	}
}

// change keeps changing the file that is to change, until the end is asked for.
func change(t *testing.T, file string, whole []byte) (stop func()) {
	grow, shrink := strings.HasSuffix(file, "growing"), strings.HasSuffix(file, "shrinking")
	if !grow && !shrink {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for size := int64(len(whole)); ; {
			select {
			case <-done:
				return
			default:
			}
			if grow {
				size = min(size+4096, 64<<20)
			} else if size /= 2; size == 0 {
				size = int64(len(whole))
			}
			if err := os.Truncate(file, size); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// limitedRun runs a command under the limits of malformed_linux_test.go, and the 64 MiB that a Go program has when it begins. It gives the status and what was said. A program that ends by a signal, or in Go's own way, is an error.
func limitedRun(t *testing.T, dir, command, file string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("ulimit -d %d; ulimit -t %d; exec %s", (64<<20+memory)>>10, cpu, command), "sh", file)
	cmd.Dir = dir
	if os.Geteuid() == 0 { // who may read everything
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	if !cmd.ProcessState.Exited() || strings.Contains(text, "goroutine ") || text == "" {
		t.Errorf("%s %s: %v: %.1000s", command, file, err, text)
	}
	return fmt.Sprintf("%d %s", cmd.ProcessState.ExitCode(), text)
}
