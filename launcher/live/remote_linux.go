package live

import (
	"bufio"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// remote is a file that is open in the pod. When the link is lost it is opened again by its path, if that still leads to the same file.
type remote struct {
	link  *links.Link
	req   wire.Request
	kind  wire.FileKind
	first *wire.Stat                  // as it was opened
	heard func(*wire.Stat, time.Time) // told what the pod says of the file after a request that was sent at that time; set before the first one

	opening  chan struct{} // holds one while nobody opens
	mu       sync.Mutex
	channels [lanes]*channel // nil: to be opened
	closed   bool
}

// lanes is how many streams a file may have: one carries at most its window in a round trip, which is less than a line holds. Only who reads much has a second one.
const lanes = 2

// openRemote opens a file in the pod. Errors carry an errno.
func openRemote(ctx context.Context, link *links.Link, path string, flags, mode uint32) (*remote, error) {
	r := &remote{link: link, req: wire.Request{Op: wire.OpFile, Path: path, Flags: flags, Mode: mode}, opening: make(chan struct{}, 1)}
	r.opening <- struct{}{}
	reply, c, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	// It is only opened again by who has it.
	r.req.Flags &^= wire.OpenCreate | wire.OpenExclusive | wire.OpenTruncate
	r.kind, r.first, r.channels[0] = reply.File, reply.Stat, c
	return r, nil
}

func (r *remote) open(ctx context.Context) (*wire.Reply, *channel, error) {
	reply, stream, err := r.link.OpenFile(ctx, &r.req)
	if err != nil {
		return nil, nil, err
	}
	if reply.Stat == nil {
		stream.Close()
		return nil, nil, unix.EIO
	}
	return reply, newChannel(stream), nil
}

// again returns the channel of a lane, which is made anew when the old one is lost.
func (r *remote) again(ctx context.Context, lane int) (*channel, error) {
	select {
	case <-r.opening:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { r.opening <- struct{}{} }()
	r.mu.Lock()
	c := r.channels[lane]
	r.mu.Unlock()
	if c != nil && c.alive() {
		return c, nil
	}
	reply, c, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || reply.Stat.Dev != r.first.Dev || reply.Stat.Ino != r.first.Ino {
		c.close()
		return nil, unix.EIO // another file has taken its name
	}
	r.channels[lane] = c
	return c, nil
}

// call has the pod carry a request out. A request that is lost with the link is made again, unless it would then be carried out twice: EIO. When ctx ends it is
// EINTR. Errors are errnos.
func (r *remote) call(ctx context.Context, req wire.FileRequest) (*wire.FileReply, error) {
	return r.callOn(ctx, 0, req)
}

func (r *remote) callOn(ctx context.Context, lane int, req wire.FileRequest) (*wire.FileReply, error) {
	for {
		c, err := r.again(ctx, lane)
		if err != nil {
			return nil, errnoOf(err)
		}
		began := time.Now()
		reply, sent, err := c.call(ctx, req, r.kind&wire.FileStream != 0)
		switch {
		case err == nil:
			if reply.Stat != nil {
				r.heard(reply.Stat, began)
			}
			if reply.Errno != "" {
				return nil, errnoOf(&wire.Error{Errno: reply.Errno})
			}
			return reply, nil
		case ctx.Err() != nil:
			return nil, unix.EINTR
		case sent && !r.repeatable(req.Op):
			return nil, unix.EIO
		}
	}
}

func (r *remote) repeatable(op wire.FileOp) bool {
	return op != wire.FileWrite || r.kind&wire.FileStream == 0 && r.req.Flags&wire.OpenAppend == 0
}

func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.channels {
		if c != nil {
			c.close()
		}
	}
}

// errnoOf is what a program is told: the pod's errno, EINTR for a request that it does not wait for, or EIO.
func errnoOf(err error) unix.Errno {
	var e unix.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return unix.EINTR
	}
	return unix.EIO
}

// channel is the stream of an open file, until it is lost.
type channel struct {
	stream *links.Stream
	out    chan []byte
	done   chan struct{} // closed when nothing more comes

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan *wire.FileReply // nil when nothing more comes
}

// maxQueued is how many requests may wait to be sent; further ones wait themselves.
const maxQueued = 8

func newChannel(stream *links.Stream) *channel {
	c := &channel{stream: stream, out: make(chan []byte, maxQueued), done: make(chan struct{}), waiting: map[uint32]chan *wire.FileReply{}}
	go c.receive()
	go c.send()
	return c
}

func (c *channel) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *channel) receive() {
	defer c.close()
	in := bufio.NewReader(c.stream)
	for {
		reply, err := wire.ReadFileReply(in)
		if err != nil {
			break
		}
		c.mu.Lock()
		waiter := c.waiting[reply.ID]
		delete(c.waiting, reply.ID)
		c.mu.Unlock()
		if waiter != nil {
			waiter <- reply
		}
	}
	c.mu.Lock()
	c.waiting = nil
	c.mu.Unlock()
	close(c.done)
}

func (c *channel) send() {
	for {
		select {
		case b := <-c.out:
			if _, err := c.stream.Write(b); err != nil {
				c.close() // and so receive ends
				return
			}
		case <-c.done:
			return
		}
	}
}

// cancelTime is how long the pod may take to say what has become of a request that is not wanted any more.
const cancelTime = 2 * time.Second

// errLost is what a request comes to when its channel is lost.
var errLost = errors.New("the channel is lost")

// call sends a request and waits for the reply. When ctx ends, one that may wait in the pod is canceled there, and what it has brought meanwhile is not lost.
// sent is false when the pod cannot have seen the request.
func (c *channel) call(ctx context.Context, req wire.FileRequest, waits bool) (reply *wire.FileReply, sent bool, err error) {
	waiter := make(chan *wire.FileReply, 1)
	c.mu.Lock()
	if c.waiting == nil {
		c.mu.Unlock()
		return nil, false, errLost
	}
	c.next++
	req.ID = c.next
	c.waiting[req.ID] = waiter
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, req.ID)
		c.mu.Unlock()
	}()
	select {
	case c.out <- wire.AppendFileRequest(nil, &req):
	case <-c.done:
		return nil, false, errLost
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	select {
	case reply = <-waiter:
		return reply, true, nil
	case <-c.done:
		return nil, true, errLost
	case <-ctx.Done():
	}
	if !waits {
		return nil, true, ctx.Err()
	}
	limit := time.NewTimer(cancelTime)
	defer limit.Stop()
	select {
	case c.out <- wire.AppendFileRequest(nil, &wire.FileRequest{Op: wire.FileCancel, ID: req.ID}):
	case <-c.done:
	case <-limit.C:
	}
	select {
	case reply = <-waiter:
		return reply, true, nil
	case <-c.done:
	case <-limit.C:
	}
	return nil, true, ctx.Err()
}

func (c *channel) close() { c.stream.Close() }
