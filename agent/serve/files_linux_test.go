package serve_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// whole is a pod directory whose files are this machine's.
type whole struct {
	*target.Dir
	root *os.File
}

func (w whole) Root() *os.File { return w.root }

// Files of /proc say that they are empty, and those of /sys that they have a page.
func TestOpenProc(t *testing.T) {
	slash, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer slash.Close()
	link := linkTo(t, func(requests, bulk net.Conn) error {
		return serve.Serve(t.Context(), requests, bulk, whole{openDir(t, "name: x", nil), slash})
	})
	st, got, err := read(t, link, wire.Request{Path: "/proc/self/status"})
	if err != nil || st.Size != 0 || !strings.HasPrefix(string(got), "Name:") {
		t.Errorf("%q, %v", got, err)
	}
	want, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		t.Skip(err)
	}
	st, got, err = read(t, link, wire.Request{Path: "/sys/kernel/mm/transparent_hugepage/enabled"})
	if err != nil || st.Size != 4096 || string(got) != string(want) {
		t.Errorf("%q of %d bytes, %v", got, st.Size, err)
	}
}

// unseen is a pod directory whose files may not be seen.
type unseen struct{ *target.Dir }

func (unseen) Root() *os.File           { return nil }
func (unseen) Lacks() map[string]string { return map[string]string{"files": "not allowed"} }

// Files that may not be seen are forbidden, not absent: a program would take the default for one that it does not find.
func TestUnseenFiles(t *testing.T) {
	link := linkTo(t, func(requests, bulk net.Conn) error {
		return serve.Serve(t.Context(), requests, bulk, unseen{openDir(t, "name: x\nenv: {A: b}", nil)})
	})
	if _, _, err := read(t, link, wire.Request{Path: "/etc/resolv.conf"}); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "not allowed") {
		t.Error(err)
	}
	for _, op := range []wire.Op{wire.OpStat, wire.OpAccess, wire.OpReadlink, wire.OpRealpath, wire.OpStatfs} {
		if _, err := link.Do(t.Context(), &wire.Request{Op: op, Path: "/srv"}); !errors.Is(err, syscall.EACCES) {
			t.Error(op, err)
		}
	}
	if reply := do(t, link, &wire.Request{Op: wire.OpEnv}); reply.Env["A"] != "b" {
		t.Errorf("%+v", reply)
	}
}

// descriptors counts this process's, without pipes: io.Copy between sockets keeps some to use again.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// Neither successes nor failures nor a link that dies in the middle leave a descriptor.
func TestNoDescriptorLeft(t *testing.T) {
	before := 0
	for round := range 3 {
		t.Run("", func(t *testing.T) {
			d := openDir(t, routed(server(t, greet("x"))), map[string]string{"a/b/c/file": strings.Repeat("x", 8<<20)})
			os.Symlink("/a/b", root(d, "link"))
			requests, bulk, done, err := serve.Dir(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			link := dial(t, requests, bulk)
			for _, path := range []string{"/a/b/c/file", "/link/c/file", "/link/c/../c/file/", "/a/b/nothing", "/a/b/c/file/x", "/link/../../.."} {
				for _, op := range []wire.Op{wire.OpStat, wire.OpAccess, wire.OpReadlink, wire.OpRealpath, wire.OpOpen} {
					link.Do(t.Context(), &wire.Request{Op: op, Path: path}) // OpOpen: given up with most of the body to come
				}
			}
			for range 3 {
				if _, _, err := link.Connect(t.Context(), inThePod); err != nil {
					t.Fatal(err)
				}
				if _, _, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen, Path: "/a/b/c/file"}); err != nil {
					t.Fatal(err)
				}
			}
			requests.Close() // the link breaks with everything open
			<-link.Done()
			<-done
		})
		if round == 0 {
			before = descriptors(t) // the runtime's own are open by now
		} else if after := descriptors(t); after > before {
			t.Errorf("round %d: %d descriptors, there were %d", round, after, before)
		}
	}
}

// Readers that give up leave nothing at the agent while the link goes on, not even of files larger than the window.
func TestOpenGivenUp(t *testing.T) {
	link, _ := newLink(t, "name: x", map[string]string{"large": strings.Repeat("x", 16<<20)})
	before := descriptors(t)
	for range 5 {
		_, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen, Path: "/large"})
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
	}
	for descriptors(t) > before { // fails by go test's own time limit
		time.Sleep(time.Millisecond)
	}
}
