package broker

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/launcher/overlay"
	"mirrord/layer/frame"
)

// over is what this session writes over the pod's files.
type over struct {
	files *overlay.Overlay // nil where no path is written so

	mu   sync.Mutex
	told map[string]bool // the paths that were said to be written
}

func (b *Broker) openOverlay() (err error) {
	if b.Overlay == "" {
		b.over.files, err = overlay.NewTemporary(b.TempDir, below{b})
	} else {
		b.over.files, err = overlay.New(b.Overlay, below{b})
	}
	return err
}

// isOver reports whether only the overlay knows what is at a path of the program. As long as nothing was written, all is as in the pod.
func (b *Broker) isOver(p string) bool {
	return b.over.files != nil && b.over.files.Used() && b.ownerOf(p) == overPod
}

// filesOf is who is to be asked about a path of the program.
func (b *Broker) filesOf(p string) overlay.Lower {
	if b.isOver(p) {
		return b.over.files
	}
	return b.Link
}

// below is the pod for the overlay: what its listings brought is not asked for again.
type below struct{ b *Broker }

func (l below) Do(ctx context.Context, r *wire.Request) (*wire.Reply, error) {
	if r.Op == wire.OpStat && r.NoFollow || r.Op == wire.OpReadlink {
		if a := l.b.known(r.Path); a != nil && (r.Op == wire.OpStat || a.stat.Mode&unix.S_IFMT == unix.S_IFLNK) {
			return &wire.Reply{Stat: a.stat, Path: a.target}, nil
		}
	}
	return l.b.Link.Do(ctx, r)
}

func (l below) Open(ctx context.Context, r *wire.Request) (*wire.Reply, io.ReadCloser, error) {
	asked := time.Now()
	if !r.Dir {
		return l.b.Link.Open(ctx, r)
	}
	all := *r
	all.Stats = true
	reply, body, err := l.b.Link.Open(ctx, &all)
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	real, _ := l.b.realPaths(r.Path, r, reply)
	entries, err := l.b.unpack(r, real, asked, body)
	return reply, io.NopCloser(bytes.NewReader(entries)), err
}

// openOver opens a file that is, or may come to be, written over the pod's.
func (b *Broker) openOver(from asker, m *frame.OpenRequest) (a answer, err error) {
	flags := m.Flags
	writes := flags&frame.OpenAccess != 0 || flags&(frame.OpenCreate|frame.OpenTruncate) != 0
	switch {
	case flags&frame.OpenTemporary != 0:
		return answer{}, unix.EOPNOTSUPP // after which programs make a file with a name
	case flags&frame.OpenPath != 0:
		flags &= frame.OpenNoFollow | frame.OpenDirectory
		writes = false
	}
	if writes || b.over.files.Used() {
		fd, err := b.over.files.OpenFile(b.ctx, b.mapping.pod(m.Path), flags, m.Mode&^from.umask())
		if writes {
			b.page.changed()
		}
		if err == nil && writes {
			b.tellOver("open", m.Path)
		}
		if err != nil || fd >= 0 {
			return descriptor(fd, false), err
		}
	}
	return b.openRead(m.Path, m.Flags, b.reading(m.Path, m.Flags))
}

// tellOver says, once for each path, that something was written over the pod's.
func (b *Broker) tellOver(op, path string) {
	b.over.mu.Lock()
	told := b.over.told[path]
	if b.over.told == nil {
		b.over.told = map[string]bool{}
	}
	if len(b.over.told) < maxSnapshots {
		b.over.told[path] = true
	}
	b.over.mu.Unlock()
	if !told {
		b.Emit(events.Event{Type: events.FileOver, Op: op, Path: path})
	}
}
