package broker

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/live"
)

// liveFiles is the file system of descriptors that are no snapshots; it is made when the first one is wanted.
type liveFiles struct {
	mu  sync.Mutex
	fs  *live.FS
	err error // why there is none
}

// hasLive reports whether there may be live files.
func (b *Broker) hasLive() bool {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	return !b.Paths && b.live.err == nil
}

// get returns the file system, or the reason why there is none, which is told once.
func (l *liveFiles) get(b *Broker) (*live.FS, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs == nil && l.err == nil {
		fs, err := live.New(b.Link, b.TempDir)
		if err != nil {
			l.err = err
			b.warn(err.Error(), live.Hint)
		} else if !b.track(fs) {
			l.err = context.Canceled
		} else {
			l.fs = fs
		}
	}
	return l.fs, l.err
}

// openLive opens a file in the pod, as flags (frame.Open…) and mode say, and answers with a descriptor that reads and writes it there. path is the program's. Errors
// carry the pod's errno; errNotLive where there are no such descriptors: Broker.Paths, a system that does not allow them, which has been said, an agent that knows nothing of them.
func (b *Broker) openLive(path string, flags, mode uint32) (answer, error) {
	if b.Paths {
		return answer{}, errNotLive
	}
	fs, err := b.live.get(b)
	if err != nil {
		return answer{}, errNotLive
	}
	const known = wire.OpenAccess | wire.OpenCreate | wire.OpenExclusive | wire.OpenTruncate | wire.OpenAppend | wire.OpenNonblock | wire.OpenDirectory | wire.OpenNoFollow | wire.OpenAlter
	fd, err := fs.Open(b.ctx, b.mapping.pod(path), flags&known, mode)
	switch {
	case err == unix.ENOSYS: // an older agent
		return answer{}, errNotLive
	case err != nil:
		return answer{}, err
	}
	b.opened.Store(true)
	return descriptor(fd, false), nil
}

// statLive tells what the pod says of an open file, by the end of its descriptor's name.
func (b *Broker) statLive(number string) answer {
	b.live.mu.Lock()
	fs := b.live.fs
	b.live.mu.Unlock()
	if fs == nil {
		return failure(unix.EBADF)
	}
	st, err := fs.Stat(b.ctx, number)
	if err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return result(statReply(st))
}

// settled reports whether what the pod said of an entry of a listing is still right, as far as this session writes.
func (b *Broker) settled(a *attributes) bool {
	b.live.mu.Lock()
	fs := b.live.fs
	b.live.mu.Unlock()
	return fs == nil || fs.Settled(a.stat.Dev, a.stat.Ino, a.in.asked)
}

// wrote reports whether this session has opened the file for writing.
func (b *Broker) wrote(st *wire.Stat) bool {
	b.live.mu.Lock()
	fs := b.live.fs
	b.live.mu.Unlock()
	return fs != nil && st.Mode&unix.S_IFMT == unix.S_IFREG && fs.Wrote(st.Dev, st.Ino) // a folder may have got the number of a file
}
