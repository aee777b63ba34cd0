package netns

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// other makes a namespace, which lives as long as it is open.
func other(t *testing.T) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make a network namespace")
	}
	type result struct {
		n   *Namespace
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, err}
			return
		}
		n, err := Open("/proc/thread-self/ns/net")
		made <- result{n, err}
	}()
	r := <-made
	if errors.Is(r.err, unix.EPERM) {
		t.Skip("this root may not make a network namespace")
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.n.Close() })
	return r.n
}

func here() (string, error) { return os.Readlink("/proc/thread-self/ns/net") }

// What is listened on inside is not there outside, whichever thread asks, and every thread is back afterwards.
func TestDo(t *testing.T) {
	n := other(t)
	own, err := here()
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range 50 {
		running.Go(func() {
			var l net.Listener
			err := n.Do(func() (err error) {
				if there, err := here(); err != nil || there == own {
					t.Errorf("in %s, %v", there, err)
				}
				l, err = net.Listen("tcp", "0.0.0.0:0")
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			if same, _ := here(); same != own {
				t.Errorf("the caller is in %s", same)
			}
		})
	}
	running.Wait()
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		t.Fatal(err)
	}
	away := 0
	for _, path := range threads {
		if in, err := os.Readlink(path); err == nil && in != own {
			away++
		}
	}
	if away > 1 { // the one that made the namespace: the first of a process does not end
		t.Errorf("%d threads stayed away", away)
	}
}

func TestErrors(t *testing.T) {
	n := other(t)
	if err := n.Do(func() error { return os.ErrExist }); err != os.ErrExist {
		t.Error(err)
	}
	if err := n.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("a goroutine that ended is no error")
	}
	file, err := Open(filepath.Join(t.TempDir(), "none"))
	if file != nil || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if file, err = Open("/proc/self/ns/uts"); err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Do(func() error { t.Error("it ran"); return nil }); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
}

func TestOwn(t *testing.T) {
	var n *Namespace
	ran := false
	if err := n.Do(func() error { ran = true; return nil }); err != nil || !ran || !n.Own() || n.Close() != nil {
		t.Error(err, ran)
	}
}
