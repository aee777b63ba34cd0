// Package soak looks for what a session leaves behind or piles up when it is repeated. MIRRORD_TEST_CYCLES says how often; `make soak` asks for
// many.
package soak

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mirrord/layer"
)

// round is what a program does with its pod: a directory, a file, a name, a connection.
const round = `ls /srv && cat /srv/motd && read -r line <>/dev/tcp/shop/80 && echo "$line"`

const said = "motd\nhello from the pod\nhello from the shop\n"

func cycles(t *testing.T) int {
	text := os.Getenv("MIRRORD_TEST_CYCLES")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MIRRORD_TEST_CYCLES=%q is not a number of times", text)
	}
	return n
}

// site is a place for sessions: a launcher, a pod directory, and temporary and cache directories of their own.
type site struct {
	t    *testing.T
	work string
}

func newSite(t *testing.T) *site {
	if _, err := layer.Library(); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	s := &site{t, t.TempDir()}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(s.work, "mirrord"), "mirrord/launcher").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shop, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shop.Close() })
	go func() {
		for {
			conn, err := shop.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "hello from the shop\n")
			conn.Close()
		}
	}()
	for name, text := range map[string]string{
		"pod/rootfs/srv/motd": "hello from the pod\n",
		"pod/pod.yaml":        fmt.Sprintf("hosts: {shop: 10.96.0.7}\nroutes: {\"10.96.0.7:80\": \"%s\"}\n", shop.Addr()),
	} {
		path := filepath.Join(s.work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(s.path("tmp"), 0o755), os.Mkdir(s.path("cache"), 0o755), os.Mkdir(s.path("home"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.work, name) }

// session runs a bash script in the context of the pod.
func (s *site) session(script string) *exec.Cmd {
	cmd := exec.Command(s.path("mirrord"), "exec", "-t", "dir:pod", "--progress", "off", "--", "bash", "-c", script)
	cmd.Dir = s.work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.path("home"), "TMPDIR=" + s.path("tmp"), "XDG_CACHE_HOME=" + s.path("cache")}
	return cmd
}

// files counts the files and links below a directory.
func (s *site) files(name string) (n int) {
	filepath.WalkDir(s.path(name), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// processes are the processes of this site: their environment names it.
func (s *site) processes() (pids []string) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		if text, _ := os.ReadFile(path); bytes.Contains(text, []byte(s.work+"/")) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// TestCycles starts and ends sessions. Each does its work and leaves nothing; all share one copy of the layer.
func TestCycles(t *testing.T) {
	s := newSite(t)
	cached := 0
	for i := range cycles(t) {
		out, err := s.session(`echo "$MIRRORD_BROKER" && ` + round).CombinedOutput()
		broker, rest, _ := strings.Cut(string(out), "\n")
		if err != nil || rest != said {
			t.Fatalf("cycle %d: %v\n%s", i, err, out)
		}
		// A session has ended when its outer process has: nobody needs to wait here.
		socket, _, _ := strings.Cut(broker, ":")
		if table, err := os.ReadFile("/proc/net/unix"); err != nil || bytes.Contains(table, []byte("@"+socket)) {
			t.Fatalf("cycle %d: the socket %s is still there (%v)", i, socket, err)
		}
		if left := s.processes(); len(left) > 0 || s.files("tmp") > 0 {
			t.Fatalf("cycle %d left processes %v and %d temporary files", i, left, s.files("tmp"))
		}
		if i == 0 {
			cached = s.files("cache")
		} else if s.files("cache") != cached {
			t.Fatalf("cycle %d: %d files in the cache, after the first there were %d", i, s.files("cache"), cached)
		}
	}
	t.Logf("%d cycles, each left nothing; %d file in the cache", cycles(t), cached)
}

// TestLongSession repeats the program's work in one session: the broker and the outer process hold no more descriptors afterwards, and the
// broker's memory stays.
func TestLongSession(t *testing.T) {
	const slack = 16 << 10 // KiB of resident memory that a garbage collector may be behind
	s := newSite(t)
	cmd := s.session(`echo $PPID; while read; do ` + round + ` || exit 1; done`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	first, _ := out.ReadString('\n')
	broker, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatalf("the session did not start: %s", &stderr)
	}
	work := func(rounds int) {
		t.Helper()
		answer := make([]byte, len(said))
		for i := range rounds {
			io.WriteString(stdin, "\n")
			if _, err := io.ReadFull(out, answer); err != nil || string(answer) != said {
				t.Fatalf("round %d: %v, %q\n%s", i, err, answer, &stderr)
			}
		}
	}
	rounds := 10 * cycles(t)
	work(rounds/10 + 10)
	fds, resident := descriptors(cmd.Process.Pid)+descriptors(broker), residentKiB(t, broker)
	work(rounds)
	// The last connection's relay and the last child's report may still be on their way out.
	for deadline := time.Now().Add(10 * time.Second); descriptors(cmd.Process.Pid)+descriptors(broker) > fds && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if now := descriptors(cmd.Process.Pid) + descriptors(broker); now > fds {
		t.Errorf("%d descriptors after %d rounds, before there were %d", now, rounds, fds)
	}
	now := residentKiB(t, broker)
	if now > resident+slack {
		t.Errorf("%d KiB resident after %d rounds, before there were %d", now, rounds, resident)
	}
	if !t.Failed() {
		t.Logf("%d rounds in one session: %d descriptors as before; the broker's memory %d KiB, before %d KiB", rounds, fds, now, resident)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the session: %v\n%s", err, &stderr)
	}
}

func descriptors(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

func residentKiB(t *testing.T, pid int) (n int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(after, &n)
	return n
}
