// Package door lets one launcher in: the holder of the agent's token. It pairs the two connections of a link, and ends the agent when nobody needs it any more.
package door

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"mirrord/agent/serve"
	"mirrord/agent/startup"
)

const (
	// maxFailures is how many wrong knocks end the agent: somebody is guessing.
	maxFailures = 5
	// maxKnocking is how many connections may be without an answer at once; more wait in the listener's queue.
	maxKnocking = 8
	// maxHalves is how many links may have one of their connections only; the oldest gives way.
	maxHalves = 2 * maxKnocking
)

// Why Run returns without a goodbye.
var (
	ErrLease    = errors.New("no launcher came, or came back, in time")
	ErrFailures = errors.New("too many wrong tokens")
)

// Door is what stands between a listener and the agent's service.
type Door struct {
	Hash  [sha256.Size]byte // of the token; who can read the pod's specification sees only this
	Lease time.Duration     // how long the agent lives without a link
	// Serve answers one link, whose connections it owns, until that ends or ctx does. serve.ErrGoodbye means that no other will come.
	Serve func(ctx context.Context, requests, bulk net.Conn) error
}

// visitor is a connection whose knock was read; conn is nil for a wrong one.
type visitor struct {
	knock *startup.Knock
	conn  net.Conn
}

// link is a complete one.
type link struct{ requests, bulk net.Conn }

// Run serves one link at a time until a goodbye or ctx's end (nil), the end of the lease or a guesser. A new link of the launcher's ends the one before it,
// which it must have lost. Run owns the listener, and returns when nothing is left.
func (d *Door) Run(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	visitors := make(chan visitor)
	var running sync.WaitGroup
	defer running.Wait()
	defer listener.Close()
	defer cancel()
	running.Go(func() { d.receive(ctx, listener, visitors) })

	var halves []visitor
	defer func() {
		for _, v := range halves {
			v.conn.Close()
		}
	}()
	var next *link // waits for the end of the current one
	var stop context.CancelFunc
	ended := make(chan error, 1)
	begin := func(l *link) {
		var serving context.Context
		serving, stop = context.WithCancel(ctx)
		running.Go(func() { ended <- d.Serve(serving, l.requests, l.bulk) })
	}
	lease := time.NewTimer(d.Lease)
	defer lease.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-lease.C:
			return ErrLease
		case err := <-ended:
			stop()
			stop = nil
			if next == nil && errors.Is(err, serve.ErrGoodbye) {
				return nil
			}
			if next != nil {
				begin(next)
				next = nil
			} else {
				lease.Reset(d.Lease)
			}
		case v := <-visitors:
			if v.conn == nil {
				if failures++; failures >= maxFailures {
					return ErrFailures
				}
				continue
			}
			var l *link
			if l, halves = join(halves, v); l == nil {
				continue
			}
			lease.Stop()
			if stop == nil {
				begin(l)
				continue
			}
			stop()
			if next != nil {
				next.requests.Close()
				next.bulk.Close()
			}
			next = l
		}
	}
}

// join returns the link that v completes, or keeps v as its first half.
func join(halves []visitor, v visitor) (*link, []visitor) {
	i := slices.IndexFunc(halves, func(h visitor) bool { return h.knock.Link == v.knock.Link })
	if i < 0 && len(halves) == maxHalves {
		i = 0
	}
	if i >= 0 {
		other := halves[i]
		halves = slices.Delete(halves, i, i+1)
		if other.knock.Link == v.knock.Link && other.knock.Bulk != v.knock.Bulk {
			if v.knock.Bulk {
				return &link{other.conn, v.conn}, halves
			}
			return &link{v.conn, other.conn}, halves
		}
		other.conn.Close()
	}
	return nil, append(halves, v)
}

// receive reads the knocks of new connections until ctx ends.
func (d *Door) receive(ctx context.Context, listener net.Listener, visitors chan<- visitor) {
	var knocking sync.WaitGroup
	defer knocking.Wait()
	slots := make(chan struct{}, maxKnocking)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			select { // out of descriptors, or the connection was gone already
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return
		}
		knocking.Go(func() {
			defer func() { <-slots }()
			v, ok := d.ask(ctx, conn)
			if !ok {
				conn.Close()
				return
			}
			select {
			case visitors <- v:
			case <-ctx.Done():
				conn.Close()
			}
		})
	}
}

// ask reads a connection's knock; false: it does not matter.
func (d *Door) ask(ctx context.Context, conn net.Conn) (v visitor, ok bool) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	late := time.AfterFunc(startup.KnockTime, func() { conn.Close() })
	defer late.Stop()
	k, err := startup.ReadKnock(conn)
	if err == io.EOF {
		return visitor{}, false // who looks whether a port is open says nothing
	}
	if err == nil {
		sum := sha256.Sum256(k.Token[:])
		if subtle.ConstantTimeCompare(sum[:], d.Hash[:]) != 1 {
			err = startup.ErrNotAdmitted
		}
	}
	if err != nil {
		conn.Close()
		return visitor{}, true
	}
	if !late.Stop() || startup.Admit(conn) != nil {
		return visitor{}, false
	}
	return visitor{k, conn}, true
}
