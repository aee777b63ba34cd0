package names

import (
	"context"
	"encoding/binary"
	"io"
	"sync"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// maxQueries bounds the queries of one connection that are being answered; more wait.
const maxQueries = 64

// ServeDatagrams answers the queries that come as datagrams on a stream, until the launcher closes its direction, the stream breaks or ctx ends.
// Answers that are not found by then are given up.
func ServeDatagrams(ctx context.Context, t target.Target, stream links.Conn) {
	s := newServer(ctx, t)
	defer s.running.Wait()
	defer s.cancel()
	for {
		d, err := wire.ReadDatagram(stream)
		if err != nil {
			return
		}
		query := append([]byte(nil), d.Payload()...)
		d.Release()
		s.answer(query, 0, func(reply []byte) {
			d := wire.NewDatagram(reply)
			d.Write(stream)
			d.Release()
		})
	}
}

// ServeStream is ServeDatagrams for a TCP connection, where each message has its length before it (RFC 1035, section 4.2.2). It returns when all is
// answered.
func ServeStream(ctx context.Context, t target.Target, stream links.Conn) {
	s := newServer(ctx, t)
	defer s.cancel()
	defer s.running.Wait() // a client that has closed its direction still wants its answers
	for {
		var size [2]byte
		if _, err := io.ReadFull(stream, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(stream, query); err != nil {
			return
		}
		s.answer(query, maxMessage, func(reply []byte) {
			stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		})
	}
}

// server answers the queries of one connection side by side: a slow one must not hold up the others.
type server struct {
	ctx     context.Context
	cancel  context.CancelFunc
	target  target.Target
	slots   chan struct{}
	running sync.WaitGroup
	writing sync.Mutex
}

func newServer(ctx context.Context, t target.Target) *server {
	s := &server{target: t, slots: make(chan struct{}, maxQueries)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

func (s *server) answer(query []byte, room int, reply func([]byte)) {
	s.slots <- struct{}{}
	s.running.Go(func() {
		defer func() { <-s.slots }()
		if message := Answer(s.ctx, s.target, query, room); message != nil && s.ctx.Err() == nil {
			s.writing.Lock()
			defer s.writing.Unlock()
			reply(message)
		}
	})
}
