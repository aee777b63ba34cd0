package layer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/layer/frame"
)

// A broker that answers from the golden file: the C side is held to the same bytes as the Go side, by the real library in a real process.
type goldenBroker struct {
	t       *testing.T
	replies map[frame.Kind][]byte // whole frames
	steps   []byte                // what comes before the answer about an exec, whole frames

	mu       sync.Mutex
	requests map[frame.Kind][]byte // payload of the first request of each kind
}

func readGolden(t *testing.T) map[string][]byte {
	text, err := os.ReadFile("frame/testdata/frames.hex")
	if err != nil {
		t.Fatal(err)
	}
	frames := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if frames[name], err = hex.DecodeString(digits); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

// remoteRules is a rules file for which every path, name, connection and Unix socket is the pod's.
func remoteRules(t *testing.T) *os.File {
	fd, err := unix.MemfdCreate("rules", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 4096+8+256+4+2)
	copy(page, "MIRRORD\x01")
	binary.LittleEndian.PutUint32(page[8:], uint32(len(page)))
	binary.LittleEndian.PutUint32(page[12:], 1|2|4|128|1024)
	binary.LittleEndian.PutUint32(page[100:], 4096) // an automaton of one state, which accepts every Unix socket
	binary.LittleEndian.PutUint32(page[4096:], 1)
	binary.LittleEndian.PutUint32(page[4096+4:], 1)
	binary.LittleEndian.PutUint32(page[4096+8+256:], 1)
	page[32+2*7], page[32+2*7+1] = 1, 1
	file := os.NewFile(uintptr(fd), "rules")
	if _, err := file.Write(page); err != nil {
		t.Fatal(err)
	}
	return file
}

func (b *goldenBroker) serve(listener *net.UnixListener, rules *os.File) error {
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if err := b.answer(conn, rules); err != nil {
			return err
		}
	}
}

func (b *goldenBroker) answer(conn *net.UnixConn, rules *os.File) error {
	defer conn.Close()
	h, err := b.read(conn)
	if err != nil || h.Kind.OneWay() {
		return err
	}
	if h.Kind == frame.Exec {
		if _, err := conn.Write(b.steps); err != nil {
			return err
		}
		if _, err := b.read(conn); err != nil {
			return err
		}
	}
	var rights []byte
	if h.Kind == frame.Hello || h.Kind == frame.Open {
		rights = unix.UnixRights(int(rules.Fd()))
	}
	_, _, err = conn.WriteMsgUnix(b.replies[h.Kind], rights, nil)
	return err
}

// read reads a request.
func (b *goldenBroker) read(conn *net.UnixConn) (frame.Header, error) {
	h, err := frame.ReadHeader(conn)
	if err != nil {
		return h, err
	}
	payload := make([]byte, h.Len)
	if _, err := io.ReadFull(conn, payload); err != nil {
		return h, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.requests[h.Kind] == nil {
		b.requests[h.Kind] = payload
	}
	return h, nil
}

// compile needs the C compiler that also builds the layer itself.
func compile(t *testing.T, out string, args ...string) {
	// go test keeps results until a file that the test itself has read changes.
	sources, _ := filepath.Glob("src/*")
	for _, name := range sources {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("cc", append([]string{"-std=gnu17", "-O1", "-o", out}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
}

func TestGoldenFrames(t *testing.T) {
	frames := readGolden(t)
	if info, err := os.Stat("/usr/bin/su"); err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Skip("/usr/bin/su has no rights of its own here")
	}
	dir := t.TempDir()
	library, program := filepath.Join(dir, fileName), filepath.Join(dir, "golden")
	compile(t, library, "-shared", "-fPIC", "-fvisibility=hidden", "-fno-builtin", "-ftls-model=initial-exec", "src/layer.c")
	compile(t, program, "testprog/golden.c")

	broker := &goldenBroker{t: t, requests: map[frame.Kind][]byte{}, replies: map[frame.Kind][]byte{
		frame.Hello: frames["hello.reply"], frame.Open: frames["open.reply"], frame.Stat: frames["stat.reply"],
		frame.Access: frames["access.reply.eacces"], frame.Readlink: frames["readlink.reply"], frame.Realpath: frames["realpath.reply"],
		frame.Change: frames["change.reply.erofs"], frame.Lookup: frames["lookup.reply"], frame.Reverse: frames["reverse.reply"],
		frame.Connect: frames["connect.reply.econnrefused"], frame.Statfs: frames["statfs.reply"], frame.Exec: frames["exec.reply"],
		frame.Unix: frames["unix.reply"],
	}, steps: slices.Concat(frames["exec.wait.reply"], frames["exec.wait.reply"], frames["exec.argv.reply"])}
	name := fmt.Sprintf("mirrord-golden-%d", os.Getpid())
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	// What the answer about a Unix socket names.
	relay, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@mirrord-0123-9", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	rules := remoteRules(t)
	defer rules.Close()
	served := make(chan error, 1)
	go func() { served <- broker.serve(listener, rules) }()

	token := frames["open.request"][frame.HeaderSize : frame.HeaderSize+frame.TokenSize]
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+library, fmt.Sprintf("MIRRORD_BROKER=%s:%x", name, token))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	listener.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}

	want := `open 1
stat 801 123456789a 100640 2 1000 1001 503 8589934592 4096 16777216 1700000000.000000001 1700000000.000000002 1700000000.000000003
access -1 13
readlink ../usr/share/zoneinfo/UTC
realpath /srv/releases/42/app
statfs 0 ef53 4096 4096 1073741824 1048576 524288 1000 999 102030405060708 255 1024
rename -1 30
getaddrinfo 0 10.96.0.9 fd00::9 db.svc
getnameinfo 0 db.internal
connect -1 111
connect 0 0
KEPT=1
SET=by the broker
REPLACED=
`
	put := regexp.MustCompile(`(?m)^(LD_PRELOAD|MIRRORD_BROKER)=.*\n`)
	if diff := cmp.Diff(want, put.ReplaceAllString(string(out), "")); diff != "" {
		t.Errorf("what the program saw (-want +got):\n%s", diff)
	}
	for kind, line := range map[frame.Kind]string{
		frame.Open: "open.request", frame.Stat: "stat.request", frame.Access: "access.request", frame.Readlink: "readlink.request",
		frame.Realpath: "realpath.request", frame.Change: "change.request", frame.Lookup: "lookup.request",
		frame.Reverse: "reverse.request", frame.Connect: "connect.request", frame.Datagram: "datagram.request",
		frame.Statfs: "statfs.request", frame.Exec: "exec.ask.request", frame.Argv: "argv.request",
		frame.Unix: "unix.request",
	} {
		if diff := cmp.Diff(hex.EncodeToString(frames[line][frame.HeaderSize:]), hex.EncodeToString(broker.requests[kind])); diff != "" {
			t.Errorf("%s (-golden +sent):\n%s", line, diff)
		}
	}
	var hello frame.HelloRequest
	if err := frame.Decode(broker.requests[frame.Hello][frame.TokenSize:], &hello); err != nil {
		t.Fatal(err)
	}
	if hello.Exe != program || hello.Argv0 != program || hello.PPID != uint32(os.Getpid()) {
		t.Errorf("hello: %+v", hello)
	}
}

func TestOriginals(t *testing.T) {
	program := filepath.Join(t.TempDir(), "originals")
	compile(t, program, "testprog/originals.c")
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestExecWithoutAnswer: when nobody answers as agreed, the program is started as it is, with what its environment lacks put back.
func TestExecWithoutAnswer(t *testing.T) {
	frames := readGolden(t)
	dir := t.TempDir()
	library, program := filepath.Join(dir, fileName), filepath.Join(dir, "env")
	compile(t, library, "-shared", "-fPIC", "-fvisibility=hidden", "-fno-builtin", "-ftls-model=initial-exec", "src/layer.c")
	text, err := os.ReadFile("/usr/bin/env")
	if err != nil {
		t.Fatal(err)
	}
	// A group that the caller has anyway gives it nothing, but only the broker knows that.
	if err := errors.Join(os.WriteFile(program, text, 0o755), os.Chmod(program, 0o755|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	unknown := append([]byte(nil), frames["exec.reply"]...)
	copy(unknown[frame.HeaderSize+4+2:], "\xff\xff") // the path is longer than the frame
	missing := bytes.Replace(frames["exec.reply"], []byte("/usr/bin/env"), []byte("/usr/bin/not"), 1)
	for name, answer := range map[string]func(c *net.UnixConn){
		"hung up":            func(c *net.UnixConn) {},
		"stopped":            func(c *net.UnixConn) { io.Copy(io.Discard, c) }, // until the asker gives up
		"half an answer":     func(c *net.UnixConn) { c.Write(frames["exec.reply"][:frame.HeaderSize+3]) },
		"half, then stopped": func(c *net.UnixConn) { c.Write(frames["exec.reply"][:9]); io.Copy(io.Discard, c) },
		"an answer too long": func(c *net.UnixConn) { c.Write(frame.AppendHeader(nil, frame.Header{Len: frame.MaxPayload})) },
		"lengths that lie":   func(c *net.UnixConn) { c.Write(unknown) },
		"an error":           func(c *net.UnixConn) { c.Write(frames["open.reply.enoent"]) },
		"always more words": func(c *net.UnixConn) {
			for _, err := c.Write(frames["exec.argv.reply"]); err == nil; _, err = c.Write(frames["exec.argv.reply"]) {
			}
		},
		"a copy that is gone": func(c *net.UnixConn) { c.Write(missing) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := fmt.Sprintf("mirrord-none-%d-%s", os.Getpid(), strings.ReplaceAll(name, " ", "-"))
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			asked := make(chan bool, 1)
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					c, err := listener.AcceptUnix()
					if err != nil {
						return
					}
					if h, err := frame.ReadHeader(c); err == nil && h.Kind == frame.Exec {
						io.CopyN(io.Discard, c, int64(h.Len))
						answer(c)
						asked <- true
					}
					c.Close()
				}
			})
			cmd := exec.Command("/usr/bin/env", "-i", "KEPT=1", program)
			cmd.Env = append(os.Environ(), "LD_PRELOAD="+library, fmt.Sprintf("MIRRORD_BROKER=%s:%032x", socket, 1))
			out, err := cmd.CombinedOutput()
			listener.Close()
			serving.Wait()
			if want := fmt.Sprintf("LD_PRELOAD=%s\nKEPT=1\nMIRRORD_BROKER=%s:%032x\n", library, socket, 1); err != nil || string(out) != want || len(asked) == 0 {
				t.Errorf("%v, asked %d times\n%s", err, len(asked), out)
			}
		})
	}
}
