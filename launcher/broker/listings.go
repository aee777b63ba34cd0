package broker

import (
	"encoding/binary"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/layer/frame"
)

// Who lists a directory mostly looks at its entries next, one by one (ls -l, find, du, rsync). Their metadata come with the listing and answer
// stat and readlink from here, for a second after they were asked for; each of these would be a round trip otherwise. A directory that is
// still being looked at is listed again before that, or when the next entry is asked about.
const (
	listingLife   = time.Second
	listingWorn   = 10 * time.Second // so long after its life a listing that was used is made anew
	listingUses   = 16               // so many answers show that the entries are being looked at
	maxListed     = 200_000          // entries of all listings together; the oldest make room
	maxListedSize = 64 << 20
	maxWorn       = 1000
)

// listings are the directories that were listed within the last listingLife.
type listings struct {
	mu      sync.Mutex
	dirs    map[string]*listing
	worn    map[string]time.Time // directories whose listing was used and is too old now, and since when
	order   []*listing           // by age, the oldest first
	entries int
	changed time.Time        // when something was forgotten last: what was asked for before may be wrong
	clock   func() time.Time // nil is time.Now; tests have their own
}

func (l *listings) now() time.Time {
	if l.clock != nil {
		return l.clock()
	}
	return time.Now()
}

type listing struct {
	dir     string
	real    string    // where dir leads to
	asked   time.Time // nothing in it is older
	entries map[string]*attributes
	order   []*attributes // as they were listed, which is the order in which most programs go on
	uses    int           // entries given from it
	again   bool
}

type attributes struct {
	name   string
	stat   *wire.Stat
	target string // of a link
	in     *listing
	at     int         // in its order
	gone   atomic.Bool // it was changed by this session
}

func (d *listing) add(name string, st *wire.Stat, target string) {
	a := &attributes{name: name, stat: st, target: target, in: d, at: len(d.order)}
	d.entries[name] = a
	d.order = append(d.order, a)
}

// plainPath says whether a path is written as the listings' keys are: what stands between slashes is a name.
func plainPath(p string) bool { return path.Clean(p) == p }

// find answers about an entry of a listed directory, nil if that is not known. again asks the caller to list the directory once more: soon, or first of
// all where nothing is known.
func (l *listings) find(p string) (a *attributes, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	if len(l.dirs)+len(l.worn) == 0 || !plainPath(p) {
		return nil, false
	}
	dir, name := path.Split(p)
	if dir != "/" {
		dir = strings.TrimSuffix(dir, "/")
	}
	d := l.dirs[dir]
	if d == nil {
		since, worn := l.worn[dir]
		delete(l.worn, dir)
		return nil, worn && l.now().Sub(since) < listingWorn
	}
	if a = d.entries[name]; a != nil && a.gone.Load() {
		a = nil
	}
	if a != nil {
		d.uses++
	}
	if again = d.uses >= listingUses && !d.again && l.now().Sub(d.asked) > listingLife/2; again {
		d.again = true
	}
	return a, again
}

// used counts entries that were given from a listing.
func (l *listings) used(d *listing, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.uses += n
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
	l.expire()
	if !d.asked.After(l.changed) {
		return
	}
	for l.entries+len(d.entries) > maxListed {
		l.drop()
	}
	l.entries += len(d.entries)
	l.dirs[d.dir] = d
	if plainPath(d.real) {
		l.dirs[d.real] = d
	}
	l.order = append(l.order, d)
	time.AfterFunc(listingLife, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expire()
	})
}

// forget drops what is known of a path of the pod: as an entry, as a directory, and what its own directory's entry says. Of what lies below nothing is kept either.
func (l *listings) forget(p string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = l.now()
	dir := path.Dir(p)
	for _, one := range []string{p, dir} {
		if d := l.dirs[path.Dir(one)]; d != nil {
			if a := d.entries[path.Base(one)]; a != nil {
				a.gone.Store(true)
			}
		}
	}
	for _, d := range l.order {
		for _, dir := range []string{d.dir, d.real} {
			if dir == p || strings.HasPrefix(dir, p+"/") {
				delete(l.dirs, d.dir)
				delete(l.dirs, d.real)
			}
		}
	}
}

func (l *listings) expire() {
	for len(l.order) > 0 && l.now().Sub(l.order[0].asked) >= listingLife {
		l.drop()
	}
}

// drop forgets the oldest listing.
func (l *listings) drop() {
	d := l.order[0]
	l.order[0] = nil
	l.order = l.order[1:]
	l.entries -= len(d.entries)
	for _, dir := range []string{d.dir, d.real} {
		if l.dirs[dir] != d {
			continue
		}
		delete(l.dirs, dir)
		if d.uses < listingUses {
			continue
		}
		if len(l.worn) >= maxWorn || l.worn == nil {
			l.worn = map[string]time.Time{}
		}
		l.worn[dir] = l.now()
	}
}

// unpack reads a directory's body and returns its entries as the layer reads them, without metadata; those go to the listings.
func (b *Broker) unpack(r *wire.Request, real string, asked time.Time, body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxListedSize+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxListedSize {
		return nil, unix.EFBIG
	}
	dir := real
	if r.From == "" {
		dir = "/" + strings.Trim(r.Path, "/") // a slash at the end only says what has turned out to be true
	}
	if len(b.mapping) > 0 {
		real = dir // which is the program's is not known
	}
	d := &listing{dir: dir, real: real, asked: asked, entries: map[string]*attributes{}}
	var packed []byte
	for len(raw) > 0 {
		var e wire.Entry
		if e, raw, err = wire.ReadEntry(raw); err != nil {
			return nil, unix.EIO
		}
		if e.Stat != nil {
			d.add(string(e.Name), e.Stat, string(e.Target))
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
	switch {
	case again && a != nil:
		b.spawn(func() { b.listAgain(path.Dir(p)) })
	case again:
		b.listAgain(path.Dir(p))
		a, _ = b.listings.find(p)
	}
	if a != nil && !b.settled(a) {
		return nil
	}
	return a
}

// knownOf is known for a path of the program.
func (b *Broker) knownOf(program, pod string) *attributes {
	if b.isOver(program) {
		return nil
	}
	return b.known(pod)
}

// neighbours packs the entries behind a for the layer, so that it need not ask for each, and for how many milliseconds they may be believed. dir is
// the program's name for the directory.
func (b *Broker) neighbours(a *attributes, dir string) (string, uint32) {
	life := listingLife - time.Since(a.in.asked)
	if life < time.Millisecond {
		return "", 0
	}
	var packed []byte
	n := 0
	for _, next := range a.in.order[a.at+1:] {
		if len(packed)+2+len(next.name)+13*8 > frame.MaxNeighbours {
			break
		}
		theirs := path.Join(dir, next.name)
		if b.local.has(theirs) || b.isOver(theirs) || !b.settled(next) || next.gone.Load() || len(b.mapping) > 0 && b.mapping.pod(theirs) != path.Join(a.in.dir, next.name) {
			continue
		}
		packed = binary.LittleEndian.AppendUint16(packed, uint16(len(next.name)))
		packed = append(packed, next.name...)
		for _, v := range numbers(next.stat) {
			packed = binary.LittleEndian.AppendUint64(packed, v)
		}
		n++
	}
	b.listings.used(a.in, n)
	return string(packed), uint32(life.Milliseconds())
}

// numbers are a file's metadata in the order in which frames and tags have them.
func numbers(st *wire.Stat) [13]uint64 {
	dev := st.Dev
	if !st.Here {
		dev |= podDevice
	}
	return [...]uint64{
		dev, st.Ino, uint64(st.Mode), st.Nlink, uint64(st.UID), uint64(st.GID), st.Rdev, uint64(st.Size), uint64(st.Blksize),
		uint64(st.Blocks), uint64(st.Atime), uint64(st.Mtime), uint64(st.Ctime),
	}
}

// listAgain replaces a listing by a newer one.
func (b *Broker) listAgain(dir string) {
	asked := time.Now()
	r := &wire.Request{Op: wire.OpOpen, Path: dir, Dir: true, Stats: true}
	reply, body, err := b.Link.Open(b.ctx, r)
	if err != nil {
		return
	}
	defer body.Close()
	real, _ := b.realPaths(dir, r, reply)
	b.unpack(r, real, asked, body)
}
