// Package incoming gives the connections that reach a port of the target to the launcher.
package incoming

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"

	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// answerTime limits how long the launcher may think about a connection before the target's own program gets it.
const answerTime = 10 * time.Second

// Subscribe answers OpSubscribe on the stream, of the session for requests, and offers the port's connections on the bulk session until the launcher
// closes the stream or ctx ends. It returns when no relay is left, so that connections outlive their subscription but not the link. An error is one
// that was not answered yet; it carries an errno.
func Subscribe(ctx context.Context, t target.Target, bulk *wire.Session, stream *wire.Stream, req *wire.Request) error {
	if !req.Steal {
		return syscall.ENOSYS // nobody mirrors yet
	}
	var relays sync.WaitGroup // and connections that the launcher thinks about: it may have accepted before it unsubscribed
	defer relays.Wait()
	var mu sync.Mutex // closed guards relays.Add against Wait
	closed := false
	taken, err := t.Steal(req.Port, func(in target.Incoming) bool {
		mu.Lock()
		if closed {
			mu.Unlock()
			return false
		}
		relays.Add(1)
		mu.Unlock()
		out := offer(ctx, bulk, req.Port, in)
		if out == nil {
			relays.Done()
			return false
		}
		go func() {
			defer relays.Done()
			defer context.AfterFunc(ctx, func() { wire.Refuse(in.Conn) })()
			wire.Pipe(out, in.Conn)
		}()
		return true
	})
	if err != nil {
		return err
	}
	if wire.WriteHeader(stream, &wire.Reply{}) == nil {
		defer context.AfterFunc(ctx, func() { stream.SetReadDeadline(time.Unix(1, 0)) })()
		io.Copy(io.Discard, stream)
	}
	taken.Close()
	mu.Lock()
	closed = true
	mu.Unlock()
	return nil
}

// offer asks the launcher to take a connection, and returns the stream that carries it, or nil.
func offer(ctx context.Context, bulk *wire.Session, port uint16, in target.Incoming) *wire.Stream {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stream, err := bulk.Open(ctx)
	if err != nil {
		return nil
	}
	wake := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	var reply wire.Reply
	err = wire.WriteHeader(stream, &wire.Request{Op: wire.OpIncoming, Port: port, Local: in.Local, Remote: in.Remote})
	if err == nil {
		err = wire.ReadHeader(stream, &reply)
	}
	if !wake() || err != nil || reply.Errno != "" {
		// A launcher that answers too late must not take a connection that is somebody else's by then.
		wire.Refuse(stream)
		return nil
	}
	return stream
}
