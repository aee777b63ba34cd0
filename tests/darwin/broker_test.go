package darwin

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mirrord/layer/frame"
	"mirrord/sip"
)

// between stands between a session's programs and its broker until the test ends. What the broker replies about an exec goes to answer, all else through. It
// returns the variable by which programs find it.
func between(t *testing.T, s *session, answer func(c *net.UnixConn, reply []byte)) string {
	t.Helper()
	cut := strings.LastIndex(s.Env(), ":")
	broker, token := s.Env()[:cut], s.Env()[cut:]
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if err := relay(c, broker, answer); err != nil {
					t.Logf("between: %v", err) // a program that ended early
				}
			})
		}
	})
	return "MIRRORD_BROKER=" + path + token
}

// whole reads a frame.
func whole(r io.Reader) (frame.Header, []byte, error) {
	h, err := frame.ReadHeader(r)
	if err != nil {
		return h, nil, err
	}
	data := append(frame.AppendHeader(nil, h), make([]byte, h.Len)...)
	_, err = io.ReadFull(r, data[frame.HeaderSize:])
	return h, data, err
}

// relay hands one request on, and its reply back with the descriptor that comes along.
func relay(c *net.UnixConn, broker string, answer func(c *net.UnixConn, reply []byte)) error {
	h, request, err := whole(c)
	if err != nil {
		return err
	}
	b, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: broker})
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := b.Write(request); err != nil {
		return err
	}
	if h.Kind == frame.Exec {
		_, reply, err := whole(b)
		if err == nil {
			answer(c, reply)
		}
		return err
	}
	data, control := make([]byte, frame.HeaderSize+frame.MaxPayload), make([]byte, 64)
	for {
		n, oob, _, _, err := b.ReadMsgUnix(data, control)
		if n == 0 || err != nil {
			return nil
		}
		_, _, err = c.WriteMsgUnix(data[:n], control[:oob], nil)
		if err := closeAll(control[:oob]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// A broker that goes, says nothing more or says nonsense keeps nobody from executing: what was asked for is executed as it is, with the layer.
func TestLayerBadAnswers(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		parent, show := layerProgram(t, "children", arch), layerProgram(t, "show", arch)
		other := write(t, filepath.Join(t.TempDir(), "other"), read(t, show))
		s := newSession(t, func(sip.Request) sip.Verdict {
			return sip.Verdict{Kind: sip.Copy, Path: other, Argv: []string{"other", "x"}, Edits: []sip.Edit{{Name: "A", Value: "2"}}}
		})
		var mu sync.Mutex
		var full []byte // what the broker says of every exec; guarded by mu
		exec := func(name, first string, answer func(c *net.UnixConn, reply []byte)) {
			t.Helper()
			variable := between(t, s, func(c *net.UnixConn, reply []byte) {
				mu.Lock()
				full = reply
				mu.Unlock()
				answer(c, reply)
			})
			for _, how := range []string{"execve", "posix_spawn"} {
				r := run(t, options, append(s.env, variable), parent, how, show)
				if !strings.HasPrefix(r.out, "hello from the pod\nword "+first+"\nword x\n") || r.code != 0 {
					t.Errorf("%s, %s: exit %d\n%s%s", name, how, r.code, r.out, r.err)
				}
			}
		}
		say := func(c *net.UnixConn, payload []byte) {
			c.Write(append(frame.AppendHeader(nil, frame.Header{Len: uint32(len(payload)), Kind: frame.Exec}), payload...))
		}
		status := func(status int32) []byte { return little.AppendUint32(nil, uint32(status)) }
		silent := func(c *net.UnixConn) { io.Copy(io.Discard, c) } // until who asked gives up

		exec("the answer", "other", func(c *net.UnixConn, reply []byte) { c.Write(reply) })
		step := map[string]int{"x86_64": 1, "arm64": 16}[arch] // qemu takes its time
		mu.Lock()
		whole := full
		mu.Unlock()
		for n := 0; n < len(whole)-frame.HeaderSize; n += step {
			exec(fmt.Sprintf("%d bytes of it", n), "show", func(c *net.UnixConn, reply []byte) { say(c, reply[frame.HeaderSize:][:n]) })
		}
		exec("nothing", "show", func(*net.UnixConn, []byte) {})
		exec("a part of the header", "show", func(c *net.UnixConn, reply []byte) { c.Write(reply[:7]) })
		exec("less than was said", "show", func(c *net.UnixConn, reply []byte) { c.Write(reply[:len(reply)-1]) })
		exec("a length beyond all bounds", "show", func(c *net.UnixConn, reply []byte) { c.Write(append(bytes.Repeat([]byte{0xff}, 4), reply[4:]...)) })
		exec("an error", "show", func(c *net.UnixConn, _ []byte) { say(c, status(5)) })
		exec("words and edits that are not there", "show", func(c *net.UnixConn, _ []byte) { say(c, append(status(0), bytes.Repeat([]byte{0xff}, 64)...)) })
		random := rand.New(rand.NewPCG(1, 2))
		for i := 0; i < 64; i += step {
			noise := make([]byte, 8+random.IntN(64))
			for i := range noise {
				noise[i] = byte(random.Uint32())
			}
			exec(fmt.Sprintf("noise %x", noise), "show", func(c *net.UnixConn, _ []byte) { c.Write(noise) })
		}
		exec("silence", "show", func(c *net.UnixConn, _ []byte) { silent(c) })
		exec("one more moment, then silence", "show", func(c *net.UnixConn, _ []byte) { say(c, status(frame.StatusWait)); silent(c) })
		exec("a question for the words, twice", "show", func(c *net.UnixConn, _ []byte) {
			say(c, status(frame.StatusArgv))
			say(c, status(frame.StatusArgv))
			silent(c)
		})
		s.Close()
		r := run(t, options, s.env, parent, "execve", show)
		if !strings.HasPrefix(r.out, "not in the pod\nword show\nword x\n") || r.code != 0 {
			t.Errorf("without a broker: exit %d\n%s%s", r.code, r.out, r.err)
		}
	})
}

// closeAll closes the descriptors that came with a message.
func closeAll(control []byte) error {
	messages, err := syscall.ParseSocketControlMessage(control)
	for _, m := range messages {
		fds, _ := syscall.ParseUnixRights(&m)
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}
	return err
}
