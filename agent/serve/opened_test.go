package serve_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// opened opens a file of a pod directory, to be asked by hand.
func opened(t *testing.T, link *links.Link, path string, flags uint32) (*wire.Reply, *links.Stream) {
	t.Helper()
	reply, stream, err := link.OpenFile(t.Context(), &wire.Request{Op: wire.OpFile, Path: path, Flags: flags, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	return reply, stream
}

func tell(t *testing.T, stream *links.Stream, r wire.FileRequest) {
	t.Helper()
	if _, err := stream.Write(wire.AppendFileRequest(nil, &r)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, stream *links.Stream) *wire.FileReply {
	t.Helper()
	reply, err := wire.ReadFileReply(stream)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// What was opened for reading is neither written nor changed, whoever asks; what is made has the mode that was asked for, whatever this process's umask.
func TestKeepsToFlags(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"file": "12345"})
	defer unix.Umask(unix.Umask(0o077))
	_, read := opened(t, link, "/file", wire.OpenRead)
	for _, r := range []wire.FileRequest{
		{Op: wire.FileWrite, Data: []byte("x")}, {Op: wire.FileSet, Data: wire.AppendFileChange(nil, &wire.FileChange{Set: wire.SetMode})},
		{Op: wire.FileSet, Data: wire.AppendFileChange(nil, &wire.FileChange{Set: wire.SetSize})}, {Op: wire.FileAllocate, Length: 1 << 20},
	} {
		tell(t, read, r)
		if reply := hear(t, read); reply.Errno != "EROFS" && reply.Errno != "EBADF" {
			t.Errorf("%+v: %+v", r, reply)
		}
	}
	tell(t, read, wire.FileRequest{Op: wire.FileRead, ID: 7, Offset: 3, Length: 10})
	if reply := hear(t, read); reply.ID != 7 || string(reply.Data) != "45" || reply.Stat.Size != 5 {
		t.Errorf("%+v", reply)
	}
	_, write := opened(t, link, "/new", wire.OpenWrite|wire.OpenCreate)
	tell(t, write, wire.FileRequest{Op: wire.FileRead, Length: 1})
	if reply := hear(t, write); reply.Errno != "EBADF" {
		t.Errorf("%+v", reply)
	}
	if st, err := os.Stat(root(d, "new")); err != nil || st.Mode() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
}

// Nonsense ends the stream, and the link goes on.
func TestKeepHostile(t *testing.T) {
	link, _ := newLink(t, "name: x", map[string]string{"file": "12345"})
	_, stream := opened(t, link, "/file", wire.OpenRead)
	stream.Write([]byte(strings.Repeat("\xff", 100)))
	if reply, err := wire.ReadFileReply(stream); err == nil {
		t.Errorf("%+v", reply)
	}
	_, stream = opened(t, link, "/file", wire.OpenRead)
	stream.Write(wire.AppendFileRequest(nil, &wire.FileRequest{Op: wire.FileWrite, Data: []byte("hello")})[:20]) // and no more
	stream.Close()
	do(t, link, &wire.Request{Op: wire.OpStat, Path: "/file"})
}

// Requests to a FIFO wait beside all others, so many and no more, and those that are canceled do not.
func TestKeepWaits(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"file": ""})
	if err := unix.Mkfifo(root(d, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	reply, stream := opened(t, link, "/fifo", wire.OpenRead)
	if reply.File != wire.FileDirect|wire.FileStream {
		t.Errorf("%v", reply.File)
	}
	const many = 40
	for id := range uint32(many) {
		tell(t, stream, wire.FileRequest{Op: wire.FileRead, ID: id, Length: 10})
	}
	tell(t, stream, wire.FileRequest{Op: wire.FileStat, ID: many})
	refused := 0
	for reply := hear(t, stream); reply.ID != many; reply = hear(t, stream) {
		if reply.Errno != "EAGAIN" {
			t.Errorf("%+v", reply)
		}
		refused++
	}
	if waiting := many - refused; refused == 0 || waiting < 16 || waiting > 18 { // in the queue, and one or two before it
		t.Errorf("%d wait", waiting)
	}
	// The first one goes on waiting, and has what comes; the others are answered after it.
	for id := range uint32(many - 1) {
		tell(t, stream, wire.FileRequest{Op: wire.FileCancel, ID: id + 1})
	}
	w, err := os.OpenFile(root(d, "fifo"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	tell(t, stream, wire.FileRequest{Op: wire.FileStat, ID: many})
	hear(t, stream) // the cancels were read before
	io.WriteString(w, "hello")
	if reply := hear(t, stream); reply.ID != 0 || string(reply.Data) != "hello" {
		t.Errorf("%+v", reply)
	}
	for range many - refused - 1 {
		if reply := hear(t, stream); reply.Errno != "EINTR" {
			t.Errorf("%+v", reply)
		}
	}
}

// A FIFO that nobody reads is waited for, but not by who does not wait himself.
func TestKeepWriter(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"file": ""})
	if err := unix.Mkfifo(root(d, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := link.OpenFile(t.Context(), &wire.Request{Op: wire.OpFile, Path: "/fifo", Flags: wire.OpenWrite | wire.OpenNonblock}); wire.ErrnoName(err) != "ENXIO" {
		t.Error(err)
	}
	time.AfterFunc(10*time.Millisecond, func() {
		f, err := os.Open(root(d, "fifo"))
		if err == nil {
			io.Copy(io.Discard, f)
			f.Close()
		}
	})
	_, stream := opened(t, link, "/fifo", wire.OpenWrite)
	tell(t, stream, wire.FileRequest{Op: wire.FileWrite, ID: 3, Data: []byte("hello")})
	if reply := hear(t, stream); reply.ID != 3 || reply.Errno != "" || reply.Offset != 5 {
		t.Errorf("%+v", reply)
	}
}
