// Package hostile gives every reader of programs files that were made to break readers, and files that are no files. Each is read in a process of its
// own that has little memory and time, because running out of either cannot be recovered from. Linux alone limits a process in this way.
package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/codesign"
	"mirrord/codesign/macho"
	"mirrord/sip"
	"mirrord/sip/patch"
)

// Limits of what one file may take.
const (
	memory = 256 << 20 // bytes, beyond what the process has when it begins
	cpu    = 2         // seconds
)

// readers are all that read a program of another's making.
var readers = map[string]func(f *os.File, size int64) error{
	"Verify": func(f *os.File, size int64) error {
		_, err := codesign.Verify(f, size)
		return err
	},
	"Inspect": func(f *os.File, size int64) error {
		m, err := macho.Read(f, size)
		if err == nil {
			_, err = codesign.Inspect(m)
		}
		return err
	},
	"Sign": func(f *os.File, size int64) error {
		return codesign.Sign(io.Discard, f, size, codesign.Options{Identifier: "x"})
	},
	"ReadImage": func(f *os.File, size int64) error {
		_, err := sip.ReadImage(f, size)
		return err
	},
	"Make": func(f *os.File, size int64) error {
		_, err := patch.Make(io.Discard, f, size, patch.Options{Path: "/usr/bin/x"})
		return err
	},
}

// childTask tells a process of ours what to do: to read a file, or to take too much.
const childTask = "MIRRORD_HOSTILE"

func TestMain(m *testing.M) {
	task := os.Getenv(childTask)
	if task == "" {
		os.Exit(m.Run())
	}
	err := limit()
	if err == nil {
		err = do(task)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func do(task string) error {
	switch task {
	case "take memory":
		taken := make([]byte, 2*memory)
		for i := 0; i < len(taken); i += 4096 {
			taken[i] = 1
		}
		return nil
	case "take time":
		for {
		}
	}
	return readAll(task, os.Stdout)
}

// readAll has all readers read a file, and writes what they say: an error's text, or nothing for an answer.
func readAll(name string, out io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	said := map[string]string{}
	for name, read := range readers {
		said[name] = ""
		if err := read(f, info.Size()); err != nil {
			said[name] = err.Error()
		}
	}
	return json.NewEncoder(out).Encode(said)
}

// limit bounds this process from here on.
func limit() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "VmData:")
	var has uint64 // KiB
	if _, err := fmt.Sscan(rest, &has); err != nil {
		return fmt.Errorf("VmData of /proc/self/status: %w", err)
	}
	most := has<<10 + memory
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: cpu, Max: cpu})
}

// child does a task in a process of its own.
func child(t *testing.T, task string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, "GORACE=atexit_sleep_ms=0")
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %.300s", err, words.String())
	}
	return out, err
}

// Files that broke readers of others get an answer or an error.
func TestMalformed(t *testing.T) {
	dir := os.Getenv("MIRRORD_SAMPLES")
	if dir == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real programs")
	}
	files, err := filepath.Glob(filepath.Join(dir, "malformed", "*"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	answers := map[string]int{}
	for _, file := range files {
		said := map[string]string{}
		out, err := child(t, file)
		if err == nil {
			err = json.Unmarshal(out, &said)
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		for reader, text := range said {
			if text == "" {
				answers[reader]++
			}
		}
	}
	t.Logf("%d files", len(files))
	for _, reader := range slices.Sorted(maps.Keys(readers)) {
		t.Logf("%s: %d answers, %d errors", reader, answers[reader], len(files)-answers[reader])
	}
}

// The limits hold.
func TestLimits(t *testing.T) {
	for _, task := range []string{"take memory", "take time"} {
		if _, err := child(t, task); err == nil {
			t.Errorf("%s: nothing ended it", task)
		}
	}
}
