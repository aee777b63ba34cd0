package broker

import (
	"crypto/subtle"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/peer"
	"mirrord/layer/frame"
)

// buffers hold a frame each. Most are far below 4 KiB; larger ones get a buffer of their own.
var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// serve answers the requests of one connection. Whatever is no request of this session ends it without an answer.
func (b *Broker) serve(c *net.UnixConn) {
	defer b.drop(c)
	pooled := buffers.Get().(*[4 << 10]byte)
	defer buffers.Put(pooled)
	s := source{c: c, token: &b.token, buf: pooled[:]}
	from := asker{peer: func() (peer.Peer, bool) { return peer.Of(c) }, source: &s}
	for {
		var fields []byte
		var err error
		if from.header, fields, err = s.next(); err != nil {
			return
		}
		a, err := b.dispatch(from, from.header.Kind, fields)
		if err != nil {
			return
		}
		if !from.header.Kind.OneWay() {
			if err := from.reply(a); err != nil {
				return
			}
		}
	}
}

// source is where the requests of one connection come from.
type source struct {
	c     *net.UnixConn
	token *[frame.TokenSize]byte
	buf   []byte
	n     int // bytes that have been read
	taken int // and how many of them the last request had
}

// next reads a request of this session; fields are valid until the next one is read.
func (s *source) next() (h frame.Header, fields []byte, err error) {
	s.n = copy(s.buf, s.buf[s.taken:s.n])
	s.taken = 0
	s.c.SetDeadline(time.Now().Add(frameTimeout))
	if s.buf, s.n, h, err = readFrame(s.c, s.buf, s.n); err != nil {
		return h, nil, err
	}
	s.taken = frame.HeaderSize + int(h.Len)
	token, fields, ok := frame.Token(s.buf[frame.HeaderSize:s.taken])
	if !ok || subtle.ConstantTimeCompare(token, s.token[:]) != 1 {
		return h, nil, frame.ErrMalformed
	}
	return h, fields, nil
}

// asker is who made a request.
type asker struct {
	peer   func() (peer.Peer, bool) // false where the kernel does not tell
	source *source                  // nil for a datagram
	header frame.Header             // of the request; only with source
}

// pid is 0 where the kernel does not tell.
func (a asker) pid() int {
	who, _ := a.peer()
	return who.PID
}

// reply sends an answer to a request that came on a connection.
func (a asker) reply(what answer) error {
	a.source.c.SetWriteDeadline(time.Now().Add(frameTimeout))
	return what.send(a.source.c, nil, a.header)
}

// readFrame reads until buf starts with a whole frame, of which n bytes are there already. A layer writes a frame in one piece, so one read
// mostly does; buf is replaced when the frame is larger.
func readFrame(c *net.UnixConn, buf []byte, n int) ([]byte, int, frame.Header, error) {
	var h frame.Header
	for want := frame.HeaderSize; ; {
		if n >= want {
			var err error
			if h, err = frame.ParseHeader(buf); err != nil {
				return buf, n, h, err
			}
			want = frame.HeaderSize + int(h.Len)
			if n >= want {
				return buf, n, h, nil
			}
			if len(buf) < want {
				buf = append(make([]byte, 0, want), buf[:n]...)[:want]
			}
		}
		m, err := c.Read(buf[n:])
		if err != nil {
			return buf, n, h, err
		}
		n += m
	}
}

// answer is a reply before it is a frame.
type answer struct {
	status int32
	fields frame.Message // nil for a reply without fields
	fd     int           // a descriptor to send along; -1 for none
	keep   bool          // the descriptor stays the broker's
	bytes  int64         // that the descriptor's content took on its way here, for events
}

func status(n int32) answer               { return answer{status: n, fd: -1} }
func failure(e unix.Errno) answer         { return status(frameErrno(e)) }
func result(fields frame.Message) answer  { return answer{fields: fields, fd: -1} }
func descriptor(fd int, keep bool) answer { return answer{fd: fd, keep: keep} }

var local = status(frame.StatusLocal)

// send writes the reply and closes its descriptor, sent or not. to is nil on a connection.
func (a answer) send(c *net.UnixConn, to *net.UnixAddr, h frame.Header) error {
	h.Flags = 0
	var rights []byte
	if a.fd >= 0 {
		if !a.keep {
			defer unix.Close(a.fd)
		}
		h.Flags = frame.FlagDescriptor
		rights = unix.UnixRights(a.fd)
	}
	var space [256]byte
	out, err := frame.AppendReply(space[:0], h, a.status, a.fields)
	if err != nil { // the pod's answer is longer than a frame
		out, err = frame.AppendReply(space[:0], h, frameErrno(unix.ENAMETOOLONG), nil)
	}
	if err != nil {
		return err
	}
	if rights == nil && to == nil {
		_, err = c.Write(out)
	} else {
		_, _, err = c.WriteMsgUnix(out, rights, to)
	}
	return err
}

// dispatch decodes a request and hands it to its handler.
func (b *Broker) dispatch(from asker, kind frame.Kind, fields []byte) (answer, error) {
	m := request(kind)
	if m == nil {
		return answer{}, fmt.Errorf("%w: kind %d", frame.ErrMalformed, kind)
	}
	if err := frame.Decode(fields, m); err != nil {
		return answer{}, err
	}
	return b.respond(from, kind, m), nil
}

// request is what a request of a kind is decoded into; nil when there is none.
func request(kind frame.Kind) frame.Message {
	switch kind {
	case frame.Hello:
		return new(frame.HelloRequest)
	case frame.Open:
		return new(frame.OpenRequest)
	case frame.OpenHow:
		return new(frame.OpenHowRequest)
	case frame.Fstatfs:
		return new(frame.DeviceRequest)
	case frame.Stat:
		return new(frame.StatRequest)
	case frame.Access:
		return new(frame.AccessRequest)
	case frame.Readlink, frame.Realpath, frame.Statfs, frame.UnixPeer:
		return new(frame.PathRequest)
	case frame.Change:
		return new(frame.ChangeRequest)
	case frame.Lookup:
		return new(frame.LookupRequest)
	case frame.Reverse:
		return new(frame.ReverseRequest)
	case frame.Connect:
		return new(frame.ConnectRequest)
	case frame.Unix:
		return new(frame.UnixRequest)
	case frame.Connected:
		return new(frame.ConnectedRequest)
	case frame.Endpoint:
		return new(frame.EndpointRequest)
	case frame.SockError:
		return new(frame.SockErrorRequest)
	case frame.Bind:
		return new(frame.BindRequest)
	case frame.Listen:
		return new(frame.ListenRequest)
	case frame.Exec:
		return new(frame.ExecRequest)
	case frame.Datagram:
		return new(frame.DatagramRequest)
	case frame.Supervise:
		return new(frame.SuperviseRequest)
	}
	return nil
}

// respond hands a request, of the type that its kind has, to its handler: from the layer, or for a supervised program.
func (b *Broker) respond(from asker, kind frame.Kind, m frame.Message) answer {
	switch m := m.(type) {
	case *frame.HelloRequest:
		return b.hello(from, m)
	case *frame.OpenRequest:
		return b.openFile(from, m)
	case *frame.OpenHowRequest:
		return b.openHow(from, m)
	case *frame.DeviceRequest:
		return b.fstatfs(m)
	case *frame.StatRequest:
		return b.stat(m)
	case *frame.AccessRequest:
		return b.access(m)
	case *frame.PathRequest:
		switch kind {
		case frame.Readlink:
			return b.readlink(m)
		case frame.Realpath:
			return b.realpath(m)
		case frame.UnixPeer:
			return b.unixPeer(m)
		}
		return b.statfs(m)
	case *frame.ChangeRequest:
		return b.change(from, m)
	case *frame.LookupRequest:
		return b.lookup(m)
	case *frame.ReverseRequest:
		return b.reverse(m)
	case *frame.ConnectRequest:
		return b.connectFrom(from, m)
	case *frame.UnixRequest:
		return b.connectUnix(from, m)
	case *frame.ConnectedRequest:
		return b.connected(m)
	case *frame.EndpointRequest:
		return b.endpoint(m)
	case *frame.SockErrorRequest:
		return b.sockError(m)
	case *frame.BindRequest:
		return b.bind(from, m)
	case *frame.ListenRequest:
		return b.listen(from, m)
	case *frame.ExecRequest:
		return b.exec(from, m)
	case *frame.DatagramRequest:
		return b.datagramLocal(m)
	case *frame.SuperviseRequest:
		return b.supervise(from, m)
	}
	return failure(unix.ENOSYS)
}
