package broker

import (
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// Who lists a directory mostly looks at its entries next, one by one (ls -l, find, du, rsync). Their metadata come with the listing and answer
// stat and readlink from here, for a second after they were asked for; each of these would be a round trip otherwise. A directory that is
// still being looked at is listed again before that.
const (
	listingLife   = time.Second
	listingUses   = 16      // so many answers show that the entries are being looked at
	maxListed     = 200_000 // entries of all listings together; the oldest make room
	maxListedSize = 64 << 20
)

// listings are the directories that were listed within the last listingLife.
type listings struct {
	mu      sync.Mutex
	dirs    map[string]*listing
	order   []*listing // by age, the oldest first
	entries int
}

type listing struct {
	dir     string
	asked   time.Time // nothing in it is older
	entries map[string]*attributes
	uses    int // answers given from it
	again   bool
}

type attributes struct {
	stat   *wire.Stat
	target string // of a link
}

// plainPath says whether a path is written as the listings' keys are: what stands between slashes is a name.
func plainPath(p string) bool { return path.Clean(p) == p }

// find answers about an entry of a listed directory, nil if that is not known. again asks the caller to list the directory once more.
func (l *listings) find(p string) (a *attributes, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(time.Now())
	if len(l.dirs) == 0 || !plainPath(p) {
		return nil, false
	}
	dir, name := path.Split(p)
	if dir != "/" {
		dir = strings.TrimSuffix(dir, "/")
	}
	d := l.dirs[dir]
	if d == nil {
		return nil, false
	}
	if a = d.entries[name]; a != nil {
		d.uses++
	}
	if again = d.uses >= listingUses && !d.again && time.Since(d.asked) > listingLife/2; again {
		d.again = true
	}
	return a, again
}

// add keeps a listing in place of an older one of the same directory.
func (l *listings) add(d *listing) {
	if len(d.entries) == 0 || len(d.entries) > maxListed || !plainPath(d.dir) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirs == nil {
		l.dirs = map[string]*listing{}
	}
	l.expire(time.Now())
	for l.entries+len(d.entries) > maxListed {
		l.drop()
	}
	l.entries += len(d.entries)
	l.dirs[d.dir] = d
	l.order = append(l.order, d)
	time.AfterFunc(listingLife, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expire(time.Now())
	})
}

func (l *listings) expire(now time.Time) {
	for len(l.order) > 0 && now.Sub(l.order[0].asked) >= listingLife {
		l.drop()
	}
}

// drop forgets the oldest listing.
func (l *listings) drop() {
	d := l.order[0]
	l.order[0] = nil
	l.order = l.order[1:]
	l.entries -= len(d.entries)
	if l.dirs[d.dir] == d {
		delete(l.dirs, d.dir)
	}
}

// unpack reads a directory's body and returns its entries as the layer reads them, without metadata; those go to the listings.
func (b *Broker) unpack(dir string, asked time.Time, body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxListedSize+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxListedSize {
		return nil, unix.EFBIG
	}
	d := &listing{dir: dir, asked: asked, entries: map[string]*attributes{}}
	var packed []byte
	for len(raw) > 0 {
		var e wire.Entry
		if e, raw, err = wire.ReadEntry(raw); err != nil {
			return nil, unix.EIO
		}
		if e.Stat != nil {
			d.entries[string(e.Name)] = &attributes{e.Stat, string(e.Target)}
			e.Stat = nil
		}
		packed = wire.AppendEntry(packed, e)
	}
	b.listings.add(d)
	return packed, nil
}

// known answers stat (without following a link) and readlink from the listings; nil means that the pod has to be asked.
func (b *Broker) known(p string) *attributes {
	a, again := b.listings.find(p)
	if again {
		b.spawn(func() { b.listAgain(path.Dir(p)) })
	}
	return a
}

// listAgain replaces a listing by a newer one; nobody waits for it.
func (b *Broker) listAgain(dir string) {
	asked := time.Now()
	_, body, err := b.Link.Open(b.ctx, &wire.Request{Op: wire.OpOpen, Path: dir, Dir: true, Stats: true})
	if err != nil {
		return
	}
	defer body.Close()
	b.unpack(dir, asked, body)
}
