package live

import (
	"sync"
	"time"

	"mirrord/agent/wire"
)

// maxWritten bounds the files that are remembered as written.
const maxWritten = 200_000

// written are the files that were opened for writing, whatever their paths, and since when none of them is; zero while one is.
type written struct {
	mu    sync.RWMutex
	files map[identity]time.Time
	all   bool // there were too many: any may be one
}

func (w *written) opened(file identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[identity]time.Time{}
	}
	if w.all = w.all || len(w.files) >= maxWritten; !w.all {
		w.files[file] = time.Time{}
	}
}

func (w *written) closed(file identity, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.files[file]; ok {
		w.files[file] = at
	}
}

func (f *file) writes() bool { return f.remote.req.Flags&wire.OpenAccess != wire.OpenRead }

// Wrote reports whether the file with these numbers in the pod was ever opened for writing here: what it holds may change at any time.
func (fs *FS) Wrote(dev, ino uint64) bool {
	fs.wrote.mu.RLock()
	defer fs.wrote.mu.RUnlock()
	_, ok := fs.wrote.files[identity{dev, ino}]
	return ok || fs.wrote.all
}

// Settled reports whether what the pod has said of the file at that time is still right, as far as this session writes: nobody had it open for writing since.
func (fs *FS) Settled(dev, ino uint64, asked time.Time) bool {
	fs.wrote.mu.RLock()
	defer fs.wrote.mu.RUnlock()
	closed, ok := fs.wrote.files[identity{dev, ino}]
	return !fs.wrote.all && (!ok || !closed.IsZero() && closed.Before(asked))
}
