//go:build linux || darwin

package script

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience bounds every wait; what is waited for normally comes within milliseconds.
const patience = 2 * time.Minute

// eventually asks until done says so, and reports whether it ever did.
func eventually(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return done()
		case <-ticker.C:
		}
	}
	return true
}

// commands of the scripts, beside testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// await PATTERN FILE [VAR]: until the file holds the pattern; its first group goes to the variable.
	"await": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) < 2 || len(args) > 3, "await PATTERN FILE [VAR]")
		pattern, err := regexp.Compile("(?m)" + args[0])
		ts.Check(err)
		var text []byte
		if !eventually(context.Background(), func() bool {
			text, _ = os.ReadFile(ts.MkAbs(args[1]))
			return pattern.Match(text)
		}) {
			ts.Fatalf("%s never had %q:\n%s", args[1], args[0], text)
		}
		if len(args) == 3 {
			ts.Setenv(args[2], string(pattern.FindSubmatch(text)[1]))
		}
	},
	// status N|SIGNAL COMMAND ARGS…: runs a command, which must end like that.
	"status": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) < 2, "status N|SIGNAL COMMAND ARGS...")
		if got := describe(ts.Exec(args[1], args[2:]...)); got != args[0] {
			ts.Fatalf("ended with %s, not %s", got, args[0])
		}
	},
	// fetch [-from IP] [-size N] URL: the answer goes to stdout, or must have that many bytes. With "!" there must be none.
	"fetch": func(ts *testscript.TestScript, neg bool, args []string) {
		flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
		from, size := flags.String("from", "127.0.0.1", ""), flags.Int("size", -1, "")
		usage(ts, flags.Parse(args) != nil || flags.NArg() != 1, "[!] fetch [-from IP] [-size N] URL")
		body, err := fetch(flags.Arg(0), *from)
		switch {
		case (err != nil) != neg:
			ts.Fatalf("%v, %d bytes: %.200q", err, len(body), body)
		case *size >= 0 && len(body) != *size:
			ts.Fatalf("%d bytes, not %d", len(body), *size)
		case *size < 0:
			_, _ = io.WriteString(ts.Stdout(), body)
		}
	},
	// await-fetch PATTERN URL: until the answer has the pattern.
	"await-fetch": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) != 2, "await-fetch PATTERN URL")
		pattern, err := regexp.Compile("(?m)" + args[0])
		ts.Check(err)
		var body string
		if !eventually(context.Background(), func() bool {
			body, err = fetch(args[1], "127.0.0.1")
			return err == nil && pattern.MatchString(body)
		}) {
			ts.Fatalf("%s never answered %q: %q %v", args[1], args[0], body, err)
		}
	},
	// expand FILE…: puts the values of variables in.
	"expand": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) == 0, "expand FILE...")
		for _, name := range args {
			ts.Check(expandFile(ts.MkAbs(name), ts.Getenv))
		}
	},
	// signal NAME PID…
	"signal": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) < 2, "signal NAME PID...")
		sig := unix.SignalNum(args[0])
		usage(ts, sig == 0, "signal NAME PID...")
		for _, arg := range args[1:] {
			ts.Check(unix.Kill(number(ts, arg), sig))
		}
	},
	// parent VAR PID: the variable gets the number of the process's parent.
	"parent": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) != 2, "parent VAR PID")
		ppid, err := parent(number(ts, args[1]))
		ts.Check(err)
		ts.Setenv(args[0], strconv.Itoa(ppid))
	},
	// gone PID…: until none of the processes exists.
	"gone": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) == 0, "gone PID...")
		for _, arg := range args {
			pid := number(ts, arg)
			if !eventually(context.Background(), func() bool { return unix.Kill(pid, 0) == unix.ESRCH }) {
				ts.Fatalf("process %d is still there", pid)
			}
		}
	},
	// listens-not ADDRESS: until connections to the address are refused.
	"listens-not": func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, neg || len(args) != 1, "listens-not ADDRESS")
		if !eventually(context.Background(), func() bool {
			conn, err := net.Dial("tcp", args[0])
			if err == nil {
				_ = conn.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		}) {
			ts.Fatalf("somebody listens at %s", args[0])
		}
	},
}

func usage(ts *testscript.TestScript, wrong bool, text string) {
	if wrong {
		ts.Fatalf("usage: %s", text)
	}
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// describe says how a process ended: "0", "125", "SIGTERM".
func describe(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case !errors.As(err, &exit):
		return err.Error()
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return unix.SignalName(ws.Signal())
	}
	return strconv.Itoa(exit.ExitCode())
}

// fetch makes one request, on a connection of its own that comes from the given address.
func fetch(url, from string) (string, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// condition knows [root] (and files can be given to others), [mounts] (this user may mount, out of others' sight), [contains] (an ordinary user may make containers), [static] (a program can be linked statically), [supervision] (programs' system calls
// can be answered), [files:N] (a
// process may have that many open), [there:PATH],
// [lacks:NAME] (what runs the programs cannot do that), [python:MODULE] (the python3 that scripts find has it) and [go:VERSION] (that toolchain is there, or can be downloaded), and
// [rust:TARGET] (rustc has a std for it).
func condition(name string) (bool, error) {
	switch kind, value, _ := strings.Cut(name, ":"); kind {
	case "root":
		return os.Geteuid() == 0 && machine.lacks["root"] == "", nil
	case "there":
		_, err := os.Stat(value)
		return err == nil, nil
	case "mounts":
		return exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil, nil
	case "contains":
		return contains(), nil
	case "rights":
		return givesRights(), nil
	case "lacks":
		return machine.lacks[value] != "", nil
	case "python":
		return exec.Command("env", "PATH="+systemPath+":"+os.Getenv("PATH"), "python3", "-c", "import "+value).Run() == nil, nil
	case "go":
		return hasToolchain(value), nil
	case "rust":
		folder, err := exec.Command("rustc", "--print", "target-libdir", "--target", value).Output()
		if err != nil {
			return false, nil
		}
		_, err = os.Stat(strings.TrimSpace(string(folder)))
		return err == nil, nil
	case "supervision":
		return machine.supervise(), nil
	case "static":
		return staticLinks(), nil
	case "files":
		n, err := strconv.ParseUint(value, 10, 64)
		var limit unix.Rlimit
		return err == nil && unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Max >= n, err
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// toolchains are the versions of Go that were asked for; the value is whether they are there.
var toolchains sync.Map

func hasToolchain(version string) bool {
	there, _ := toolchains.LoadOrStore(version, sync.OnceValue(func() bool {
		cmd := exec.Command("go", "version")
		cmd.Env = append(os.Environ(), "GOTOOLCHAIN=go"+version)
		return cmd.Run() == nil
	}))
	return there.(func() bool)()
}

func contains() bool {
	argv := []string{"bwrap", "--unshare-user", "--unshare-pid", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"}
	if os.Geteuid() == 0 {
		argv = append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}, argv...)
	}
	return exec.Command(argv[0], argv[1:]...).Run() == nil
}

// staticLinks reports whether programs can be linked statically.
var staticLinks = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "static")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	cc := exec.Command(machine.compiler, "-static", "-x", "c", "-o", filepath.Join(dir, "a"), "-")
	cc.Stdin = strings.NewReader("int main(void) { return 0; }\n")
	return cc.Run() == nil
})

func TestDescribe(t *testing.T) {
	for want, script := range map[string]string{"0": "exit 0", "3": "exit 3", "SIGTERM": "kill -TERM $$"} {
		if got := describe(exec.Command("sh", "-c", script).Run()); got != want {
			t.Errorf("%s: %q", script, got)
		}
	}
}
