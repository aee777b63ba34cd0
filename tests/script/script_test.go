//go:build linux || darwin

// Package script runs the whole product, end to end: the launcher as users have it, its layer in real programs, and a pod directory. Each
// script in testdata has its pod and its programs inside.
//
// A script finds, beside what testscript gives:
//
//	$BIN       mirrord and the programs of layer/testprog; first in PATH
//	$STATIC    the programs of layer/testprog, linked statically; empty without [static]
//	$LAYER     the layer library
//	$SERVICE   address of a web server (service_test.go), for routes
//	$APP       address of another: the pod's own program
//	$ECHO      address of a UDP server that answers with "echo " and what it was sent
//	$WRITERS   programs that change files, for modes write and overlay
//	$DEAD      an address at which every connection is refused, and every datagram
//	$PORT1..4  ports that nobody uses
//
// pod/pod.yaml has its variables expanded. When a script ends, nothing that it started may be left: no process, no file in TMPDIR or XDG_RUNTIME_DIR.
package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mirrord/layer"
)

// bin holds what build made.
var bin string

// machine is what the programs of the scripts are built for; they run on this one, whatever that takes.
var machine = struct {
	layer     string                   // folder of the library in layer/lib
	compiler  string                   // of C programs
	flags     func() ([]string, error) // for building the launcher, beside its own
	enter     func() error             // called when all is built
	supervise func() bool              // whether system calls can be answered
	lacks     map[string]string        // what it cannot do, with the reasons
	scripts   []string                 // nil: all of testdata
}{ownLayer, "cc", func() ([]string, error) { return nil, nil }, func() error { return nil }, canSupervise, nil, nil}

func TestMain(m *testing.M) {
	// Signals that this process was started to ignore (by nohup, in the background of a script) would be ignored by all it starts.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "mirrord-script"); err == nil {
			defer os.RemoveAll(bin)
			// Programs that drop their user must still be able to run it.
			err = errors.Join(os.Chmod(bin, 0o755), os.Mkdir(filepath.Join(bin, "static"), 0o755), build(), machine.enter())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "tests/script:", err)
			return 1
		}
		return m.Run()
	}())
}

// build makes the launcher, as the Makefile does and with the race detector when the tests have it, and the test programs.
func build() error {
	if _, err := layer.Library(); err != nil {
		return fmt.Errorf("%w: run `make build` first", err)
	}
	args := []string{"build", "-o", filepath.Join(bin, "mirrord")}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	flags, err := machine.flags()
	if err != nil {
		return err
	}
	if err := run("go", append(append(args, flags...), "mirrord/launcher")...); err != nil {
		return err
	}
	sources, err := filepath.Glob("../../layer/testprog/*.c")
	if err != nil {
		return err
	}
	var (
		all    sync.WaitGroup
		turn   = make(chan struct{}, runtime.NumCPU())
		failed = make([]error, len(sources))
	)
	for i, source := range sources {
		all.Go(func() {
			turn <- struct{}{}
			failed[i] = compile(source)
			<-turn
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// compile builds the programs that look at the layer from inside; the others there are for the layer's own tests.
func compile(source string) error {
	text, err := os.ReadFile(source)
	if err != nil || !bytes.Contains(text, []byte(`#include "testprog.h"`)) {
		return err
	}
	name := filepath.Base(source[:len(source)-len(".c")])
	compiler := []string{"-std=gnu17", "-O1", "-Wall", "-Wextra", "-pthread"}
	err = run(machine.compiler, append(compiler, "-o", filepath.Join(bin, name), source)...)
	if err == nil && staticLinks() {
		// Some functions of libc's say that they want its libraries at run time: they are there.
		err = run(machine.compiler, append(compiler, "-static", "-Wl,--no-warnings", "-o", filepath.Join(bin, "static", name), source)...)
	}
	return err
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

// atMost is how long all scripts together may take. What hangs is then ended and shown, which the limit of `go test` does not do.
var atMost = 15 * time.Minute

func TestScript(t *testing.T) {
	p := testscript.Params{
		Deadline:            time.Now().Add(atMost),
		Files:               machine.scripts,
		Setup:               setUp,
		Cmds:                commands,
		Condition:           condition,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
	}
	if p.Files == nil {
		p.Dir = "testdata"
	}
	testscript.Run(t, p)
}

// systemPath comes before the user's own PATH: version managers' shims do not work with another HOME.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// serverPath has programs of servers that Debian keeps out of PATH.
var serverPath = sync.OnceValue(func() string {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	return strings.Join(folders, ":")
})

func setUp(env *testscript.Env) error {
	tb := env.T().(testing.TB)
	library, err := filepath.Abs(filepath.Join("../../layer/lib", machine.layer, libraryName))
	if err != nil {
		return err
	}
	dead, err := refusing(tb)
	if err != nil {
		return err
	}
	writers, err := filepath.Abs("writers")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"PATH":           bin + ":" + systemPath + ":" + os.Getenv("PATH") + ":" + serverPath(),
		"HOME":           filepath.Join(env.WorkDir, "home"),
		"XDG_CACHE_HOME": filepath.Join(env.WorkDir, "cache"),
		"TMPDIR":         filepath.Join(env.WorkDir, "tmp"),
		// Sessions are registered here.
		"XDG_RUNTIME_DIR": filepath.Join(env.WorkDir, "run"),
		"LC_ALL":          "C.UTF-8",
		"GORACE":          raceOptions(env.WorkDir),
		"BIN":             bin,
		"GOCACHE":         goEnv()["GOCACHE"],
		"GOMODCACHE":      goEnv()["GOMODCACHE"],
		"STATIC":          filepath.Join(bin, "static"),
		"LAYER":           library,
		"SERVICE":         serve(tb, "the service"),
		"APP":             serve(tb, "the pod's own program"),
		"ECHO":            echo(tb),
		"DEAD":            dead,
		"WRITERS":         writers,
	} {
		env.Setenv(name, value)
	}
	// rustup's proxies look for their toolchains in HOME.
	if home, err := os.UserHomeDir(); err == nil && os.Getenv("RUSTUP_HOME") == "" {
		env.Setenv("RUSTUP_HOME", filepath.Join(home, ".rustup"))
	}
	for i := range 4 {
		env.Setenv(fmt.Sprintf("PORT%d", i+1), fmt.Sprint(freePort(tb)))
	}
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "TMPDIR"} {
		if err := os.Mkdir(env.Getenv(name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(env.Getenv("XDG_RUNTIME_DIR"), 0o700); err != nil {
		return err
	}
	if err := expandFile(filepath.Join(env.WorkDir, "pod", "pod.yaml"), env.Getenv); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	env.Defer(func() {
		if tb.Failed() {
			endAll(env.WorkDir)
			return
		}
		if left := leftovers(tb.Context(), env.WorkDir, env.Getenv("TMPDIR"), env.Getenv("XDG_RUNTIME_DIR")); left != "" {
			endAll(env.WorkDir)
			tb.Errorf("left behind:\n%s", left)
		}
		if races := races(env.WorkDir); races != "" {
			tb.Errorf("data races:\n%s", races)
		}
	})
	return nil
}

// goEnv are folders of the go command's: with a HOME of its own it would compile the standard library first, and download toolchains again.
var goEnv = sync.OnceValue(func() (folders map[string]string) {
	out, _ := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE").Output()
	_ = json.Unmarshal(out, &folders)
	return folders
})

func expandFile(name string, getenv func(string) string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(os.Expand(string(text), getenv)), 0o644)
}

// raceOptions has the race detector, where the launcher has it, write to files: what the broker prints may go nowhere.
func raceOptions(work string) string {
	return "atexit_sleep_ms=10 log_path=" + filepath.Join(work, "race")
}

func races(work string) string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(work, "race.*"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		all.Write(text)
	}
	return all.String()
}
