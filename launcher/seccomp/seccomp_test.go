//go:build linux && (amd64 || arm64)

package seccomp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asChild makes this program one that installs the filter which it reads, and executes its arguments.
const asChild = "MIRRORD_TEST_SECCOMP_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		fmt.Fprintln(os.Stderr, child())
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// child comes back only when it fails.
func child() error {
	runtime.LockOSThread()
	orders, reports := os.NewFile(3, "orders"), os.NewFile(4, "reports")
	var size [4]byte
	if _, err := io.ReadFull(orders, size[:]); err != nil {
		return err
	}
	code := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if _, err := io.ReadFull(orders, code); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(code) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, 1, FilterFlags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	binary.LittleEndian.PutUint32(size[:], uint32(fd))
	if _, err := reports.Write(size[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(orders, size[:1]); err != nil {
		return err
	}
	return unix.Exec(os.Args[1], os.Args[1:], []string{"PATH=/usr/bin:/bin"})
}

type handle func(*Call)

func (h handle) Handle(c *Call) { h(c) }

// start runs a program under the rules, with h.
func start(t testing.TB, rules []Rule, h handle, program string, args ...string) (*exec.Cmd, *bytes.Buffer, chan error) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skipf("left out: %v", err)
	}
	code, err := Filter(rules)
	if err != nil {
		t.Fatal(err)
	}
	orders, toChild, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromChild, reports, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	cmd := exec.CommandContext(t.Context(), self, append([]string{program}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = []string{asChild + "=1"}, out, out, []*os.File{orders, reports}
	if os.Getenv(asSupervisor) != "" {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // it outlives this process
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	orders.Close()
	reports.Close()
	defer fromChild.Close()
	defer toChild.Close()
	if _, err := toChild.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(code))), code...)); err != nil {
		t.Fatal(err)
	}
	var number [4]byte
	if _, err := io.ReadFull(fromChild, number[:]); err != nil {
		cmd.Wait()
		t.Skipf("left out: no filter can be installed here: %s", out)
	}
	process, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, int(binary.LittleEndian.Uint32(number[:])), 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- Adopt(fd).Serve(h) }()
	if _, err := toChild.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	return cmd, out, ended
}

// supervise is start, to the end.
func supervise(t testing.TB, rules []Rule, h handle, program string, args ...string) string {
	t.Helper()
	cmd, out, ended := start(t, rules, h, program, args...)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the supervisor: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the supervisor does not notice that nothing is left to supervise")
	}
	return out.String()
}

// opens are the rules and the handler for programs that open /remote/N, which holds N bytes.
var opensRules = func() []Rule {
	list := []Rule{{Number: unix.SYS_OPENAT}}
	return append(list, legacyOpen...)
}()

func opens(c *Call) {
	at := c.Args[1]
	if c.Number != unix.SYS_OPENAT {
		at = c.Args[0]
	}
	path, err := c.String(at, unix.PathMax)
	name, remote := strings.CutPrefix(path, "/remote/")
	if err != nil || !remote {
		c.Continue()
		return
	}
	go func() {
		size, err := strconv.Atoi(name)
		if err != nil {
			c.Fail(unix.ENOENT)
			return
		}
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		if err == nil {
			err = unix.Ftruncate(fd, int64(size))
		}
		if err != nil {
			c.Fail(unix.EIO)
			return
		}
		defer unix.Close(fd)
		c.ReturnDescriptor(fd, unix.O_CLOEXEC)
	}()
}

func buildGo(t testing.TB, folder string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), folder)
	cmd := exec.Command("go", "build", "-o", program, "main.go")
	cmd.Dir, cmd.Env = filepath.Join("testdata", folder), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func buildC(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "threads")
	if out, err := exec.Command("cc", "-O1", "-pthread", "-o", program, "testdata/threads/threads.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// busy sends all threads of this process the signal by which the Go runtime preempts, until the test ends: what happens now and then happens all the time.
func busy(t testing.TB) {
	var stop atomic.Bool
	var sent sync.WaitGroup
	sent.Go(func() {
		for !stop.Load() {
			threads, _ := os.ReadDir("/proc/self/task")
			for range 20 {
				for _, thread := range threads {
					tid, _ := strconv.Atoi(thread.Name())
					_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
				}
			}
		}
	})
	t.Cleanup(func() {
		stop.Store(true)
		sent.Wait()
	})
}

// TestDescriptorsAreRight: no open gets a descriptor that is another's, whatever signals reach the two processes meanwhile. MIRRORD_TEST_OPENS says how many.
func TestDescriptorsAreRight(t *testing.T) {
	n := 6000
	if s := os.Getenv("MIRRORD_TEST_OPENS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	busy(t)
	if got := supervise(t, opensRules, opens, buildGo(t, "opener"), strconv.Itoa(n), "8"); got != "wrong 0 failed 0\n" {
		t.Fatalf("of %d opens: %s", n, got)
	}
	t.Logf("soak: no wrong descriptor in %d opens under supervision", n)
}

// TestPrograms: what programs do that goes to the limits.
func TestPrograms(t *testing.T) {
	program := buildC(t)
	for _, tt := range []struct{ args, want string }{
		{"threads 1000", "threads: wrong 0\n"},
		{"exhausted", "exhausted: EMFILE 1\n"},
		{"pages", "page ends: 1 -1 EFAULT\n"},
		{"children 2000", "children: bad 0\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if got := supervise(t, opensRules, opens, program, strings.Fields(tt.args)...); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestKilled: a caller that is killed while it waits leaves nothing that waits for it.
func TestKilled(t *testing.T) {
	called := make(chan *Call, 1)
	h := func(c *Call) {
		if path, _ := c.String(c.Args[1], 100); path == "/remote/1" {
			called <- c
			return
		}
		opens(c)
	}
	cmd, _, ended := start(t, opensRules, h, "/bin/cat", "/remote/1")
	c := <-called
	if !c.Valid() {
		t.Error("the call is not valid")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if c.Valid() {
		t.Error("the call is valid after its caller's end")
	}
	if err := c.Write(c.Args[1], []byte{0}); err == nil {
		t.Error("the memory of who is gone was written")
	}
	c.ReturnDescriptor(0, 0)
	c.Return(0)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// asSupervisor makes this test one whose supervisor never answers.
const asSupervisor = "MIRRORD_TEST_SECCOMP_SUPERVISOR"

// TestSupervisorGone: what a supervisor that was killed has not answered fails, and so does what is called later.
func TestSupervisorGone(t *testing.T) {
	if os.Getenv(asSupervisor) != "" {
		cmd, out, _ := start(t, opensRules, func(c *Call) {
			if path, _ := c.String(c.Args[1], 100); path == "/remote/1" {
				fmt.Println("called")
				return
			}
			c.Continue()
		}, "/bin/cat", "/remote/1", "/etc/passwd")
		t.Fatal(cmd.Wait(), out)
	}
	supervisor := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSupervisorGone$", "-test.v")
	supervisor.Env = append(os.Environ(), asSupervisor+"=1")
	out, err := supervisor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var left bytes.Buffer
	supervisor.Stderr = &left
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "called" {
		if strings.Contains(lines.Text(), "left out") {
			t.Skip(lines.Text())
		}
	}
	supervisor.Process.Kill()
	supervisor.Wait() // until nobody holds the pipe any more: the program has ended, too
	if got := left.String(); strings.Count(got, "Function not implemented") != 2 {
		t.Errorf("the program said %q", got)
	}
}

// TestFilterConditions: the kernel itself answers, reports and lets through as the rules say.
func TestFilterConditions(t *testing.T) {
	reported := make(chan [6]uint64, 100)
	rules := []Rule{
		{Number: unix.SYS_SOCKET, When: []Condition{Is(0, unix.AF_INET6)}, Errno: unix.EAFNOSUPPORT},
		{Number: unix.SYS_SENDTO, When: []Condition{IsNot(4, 0)}},
		{Number: unix.SYS_GETSOCKOPT, When: []Condition{Is(1, unix.SOL_SOCKET), Is(2, unix.SO_ERROR)}},
	}
	h := func(c *Call) {
		reported <- c.Args
		c.Return(42)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("left out: python3 is not there")
	}
	python, _ := exec.LookPath("python3")
	got := supervise(t, rules, h, python, "-S", "-c", `
import socket, os
try: socket.socket(socket.AF_INET6)
except OSError as e: print(os.strerror(e.errno))
a, b = socket.socketpair()
print(a.send(b'x'), b.recv(1))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(u.sendto(b'y', ('127.0.0.1', 9)), u.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
`)
	if want := "Address family not supported by protocol\n1 b'x'\n42 2\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if len(reported) != 1 {
		t.Errorf("%d calls were reported", len(reported))
	}
}

// FuzzFilter: every filter that is made is one that the kernel takes and that ends.
func FuzzFilter(f *testing.F) {
	f.Add([]byte{1, 0, 0, 2, 1, 5, 3, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var rules []Rule
		for i := 0; i+2 < len(b); i += 3 {
			r := Rule{Number: uint32(i)}
			for k := range int(b[i]) % 4 {
				r.When = append(r.When, Condition{Arg: (int(b[i+1]) + k) % 6, Value: uint64(b[i+2]) << (8 * (k % 8)), Not: b[i]&1 != 0})
			}
			rules = append(rules, r)
		}
		code, err := Filter(rules)
		if err != nil {
			return
		}
		for i := 0; i < len(code); i += 8 {
			op, yes, no := binary.LittleEndian.Uint16(code[i:]), int(code[i+2]), int(code[i+3])
			if op&7 == unix.BPF_JMP && (i/8+1+max(yes, no) >= len(code)/8) {
				t.Fatalf("instruction %d of %d leads out: %v", i/8, len(code)/8, code[i:i+8])
			}
		}
		if op := binary.LittleEndian.Uint16(code[len(code)-8:]); op&7 != unix.BPF_RET {
			t.Fatal("the program does not end in an answer")
		}
	})
}

// TestStringOnce: what was decided about is what was read first, whatever another thread makes of it.
func TestStringOnce(t *testing.T) {
	path := []byte("/first\x00")
	c := &Call{TID: os.Getpid()}
	address := uint64(uintptr(unsafe.Pointer(&path[0])))
	for range 2 {
		if got, err := c.String(address, 100); got != "/first" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		copy(path, "/other")
	}
	if got, err := (&Call{TID: os.Getpid()}).String(address, 100); got != "/other" || err != nil {
		t.Errorf("another call reads %q, %v", got, err)
	}
}
