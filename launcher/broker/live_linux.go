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

// get returns the file system, or the reason why there is none, which is told once.
func (l *liveFiles) get(b *Broker) (*live.FS, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs == nil && l.err == nil {
		fs, err := live.New(b.Link)
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
// carry the pod's errno; ENOTSUP where there are no such descriptors (Broker.Paths, a system that does not allow them).
func (b *Broker) openLive(path string, flags, mode uint32) (answer, error) {
	if b.Paths {
		return answer{}, unix.ENOTSUP
	}
	fs, err := b.live.get(b)
	if err != nil {
		return answer{}, unix.ENOTSUP
	}
	const known = wire.OpenAccess | wire.OpenCreate | wire.OpenExclusive | wire.OpenTruncate | wire.OpenAppend | wire.OpenNonblock | wire.OpenDirectory | wire.OpenNoFollow
	fd, err := fs.Open(b.ctx, b.mapping.pod(path), flags&known, mode)
	if err != nil {
		return answer{}, err
	}
	b.opened.Store(true)
	return descriptor(fd, false), nil
}
