package broker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/layer/frame"
)

// listed is a directory's body: a file of this size per name, and a link.
func listed(size int, names ...string) []byte {
	b := wire.AppendEntry(nil, wire.Entry{Ino: 1, Kind: 4, Name: []byte(".")})
	for _, name := range names {
		b = wire.AppendEntry(b, wire.Entry{Ino: 2, Kind: 8, Name: []byte(name), Stat: regular(size)})
	}
	link := regular(4)
	link.Mode = unix.S_IFLNK | 0o777
	return wire.AppendEntry(b, wire.Entry{Ino: 3, Kind: 10, Name: []byte("link"), Stat: link, Target: []byte("file")})
}

// counter is an agent that counts what it is asked.
type counter struct {
	mu           sync.Mutex
	stats, lists int
	size         int
}

func (c *counter) agent() *fakeAgent {
	return &fakeAgent{
		open: func(r *wire.Request, s *links.Stream) {
			c.mu.Lock()
			c.lists++
			c.size++
			size := c.size
			c.mu.Unlock()
			sendFile(s, &wire.Stat{Mode: unix.S_IFDIR | 0o755}, listed(size, "file"), cleanEnd)
		},
		do: func(r *wire.Request) *wire.Reply {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.stats++
			return &wire.Reply{Stat: regular(1000), Path: "asked"}
		},
	}
}

func (c *counter) asked() (stats, lists int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats, c.lists
}

// sizeOf asks for a path's metadata.
func (s *session) sizeOf(t *testing.T, noFollow uint8, path string) uint64 {
	t.Helper()
	var reply frame.StatReply
	if status, _ := s.ask(t, frame.Stat, &frame.StatRequest{NoFollow: noFollow, Path: path}, &reply); status != 0 {
		t.Fatalf("%s: status %d", path, status)
	}
	return reply.Size
}

func TestListingAnswers(t *testing.T) {
	c := new(counter)
	s := start(t, c.agent(), nil)
	if got := s.sizeOf(t, 0, "/dir/file"); got != 1000 {
		t.Fatal("known before the directory was listed")
	}
	for _, path := range []string{"/dir/../dir", "/dir/"} {
		if got := s.sizeOf(t, 0, "/dir/file"); got != 1000 {
			t.Error("kept under a name that may lead elsewhere")
		}
		_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: path, Flags: frame.OpenDirectory}, nil)
		f.Close()
	}
	before, _ := c.asked()
	// Answered from the listing: the entry itself, and through a link only what is none.
	for _, q := range []struct {
		noFollow uint8
		path     string
		want     uint64
	}{{0, "/dir/file", 2}, {1, "/dir/file", 2}, {1, "/dir/link", 4}} {
		if got := s.sizeOf(t, q.noFollow, q.path); got != q.want {
			t.Errorf("%+v: %d", q, got)
		}
	}
	var path frame.PathReply
	if s.ask(t, frame.Readlink, &frame.PathRequest{Path: "/dir/link"}, &path); path.Path != "file" {
		t.Errorf("link to %q", path.Path)
	}
	if after, _ := c.asked(); after != before {
		t.Errorf("%d questions for what was known", after-before)
	}
	// Everything else is asked.
	for i, q := range []string{"/dir/link", "/dir/none", "/dir/file/", "/dir/../dir/file", "/dir//file", "/dir", "/other/file"} {
		if got := s.sizeOf(t, 0, q); got != 1000 {
			t.Errorf("%s: %d", q, got)
		}
		if after, _ := c.asked(); after != before+i+1 {
			t.Errorf("%s was not asked", q)
		}
	}
}

func TestListingAges(t *testing.T) {
	now := time.Now()
	l := listings{clock: func() time.Time { return now }}
	list := func(age time.Duration, size int) {
		l.add(&listing{dir: "/d", asked: now.Add(-age), entries: map[string]*attributes{"x": {stat: regular(size)}}})
	}
	list(listingLife, 1)
	if a, _ := l.find("/d/x"); a != nil {
		t.Error("an answer that is too old")
	}
	list(listingLife*3/4, 1)
	for i := range listingUses + 2 {
		a, again := l.find("/d/x")
		if want := i == listingUses-1; a == nil || again != want {
			t.Errorf("use %d: %v, again %v", i, a, again)
		}
	}
	list(0, 2)
	if a, _ := l.find("/d/x"); a == nil || a.stat.Size != 2 {
		t.Error("the newer listing does not count")
	}
	for range listingUses {
		l.find("/d/x")
	}
	if l.entries != 2 || len(l.dirs) != 1 {
		t.Errorf("%d entries, %d directories", l.entries, len(l.dirs))
	}
	now = now.Add(listingLife)
	if a, again := l.find("/d/y"); a != nil || !again {
		t.Error("a listing that was used is not made anew")
	}
	if _, again := l.find("/d/y"); again {
		t.Error("it is made anew twice")
	}
	if l.entries != 0 || len(l.dirs) != 0 || len(l.order) != 0 {
		t.Errorf("left: %+v", &l)
	}
}

func TestListingsAreBounded(t *testing.T) {
	now := time.Now()
	l := listings{clock: func() time.Time { return now }}
	for i := range 10 {
		d := &listing{dir: fmt.Sprintf("/%d", i), asked: now, entries: make(map[string]*attributes)}
		for j := range maxListed / 4 {
			d.entries[fmt.Sprint(j)] = nil
		}
		l.add(d)
	}
	if l.entries > maxListed || len(l.dirs) > 4 || l.dirs["/9"] == nil {
		t.Errorf("%d entries, %d directories", l.entries, len(l.dirs))
	}
}

// TestListedAgain: what is still being looked at stays fresh without anybody waiting.
func TestListedAgain(t *testing.T) {
	c := new(counter)
	s := start(t, c.agent(), nil)
	opened := uint64(0)
	open := func() {
		opened++
		_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/dir", Flags: frame.OpenDirectory}, nil)
		f.Close()
	}
	open()
	eventually(t, "a newer listing", func() bool {
		size := s.sizeOf(t, 0, "/dir/file")
		if size == 1000 { // this machine was too slow, and the listing too old
			open()
		}
		return size != 1000 && size > opened
	})
}

func TestMapping(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	note := func(r *wire.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Path)
	}
	s := start(t, &fakeAgent{
		open: func(r *wire.Request, stream *links.Stream) {
			note(r)
			sendFile(stream, &wire.Stat{Mode: unix.S_IFDIR | 0o755}, listed(5, "file"), cleanEnd)
		},
		do: func(r *wire.Request) *wire.Reply {
			note(r)
			if r.Op == wire.OpRealpath {
				return &wire.Reply{Path: r.Path}
			}
			return &wire.Reply{Errno: "EACCES"}
		},
	}, func(o *Options) {
		o.Config.Feature.FS.Mapping = map[string]string{`^/home/(?<who>\w+)/conf`: "/etc/app/${who}", `^/home`: "/wrong", "/Logs$": "/var/log"}
	})
	const eacces = int32(unix.EACCES)
	s.expect(eacces, frame.Stat, &frame.StatRequest{Path: "/home/joe/conf/x"})
	s.expect(eacces, frame.Access, &frame.AccessRequest{Path: "/home/joe/CONF/../conf/x/"})
	s.expect(eacces, frame.Readlink, &frame.PathRequest{Path: "/home/joe/conf"})
	s.expect(eacces, frame.Change, &frame.ChangeRequest{Op: frame.Unlink, Path: "/srv/logs"})
	s.expect(eacces, frame.Open, &frame.OpenRequest{Flags: frame.OpenWrite, Path: "/home/joe/conf/w"})
	s.expect(eacces, frame.Stat, &frame.StatRequest{Path: "/elsewhere"})
	var path frame.PathReply
	if s.ask(t, frame.Realpath, &frame.PathRequest{Path: "/home/joe/conf/x"}, &path); path.Path != "/home/joe/conf/x" {
		t.Errorf("real path %q", path.Path)
	}
	_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/home/joe/conf"}, nil)
	raw, err := readDirectory(t, f)
	f.Close()
	if want := "\x0e\x00/home/joe/conf"; err != nil || string(raw[:len(want)]) != want {
		t.Errorf("the directory says it is %q", raw[:20])
	}
	if got := s.sizeOf(t, 0, "/home/joe/conf/file"); got != 5 {
		t.Errorf("size %d", got)
	}
	want := []string{"/etc/app/joe/x", "/etc/app/joe/x/", "/etc/app/joe", "/srv/var/log", "/etc/app/joe/w", "/elsewhere", "/etc/app/joe/x", "/etc/app/joe"}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %v\nwant %v", asked, want)
	}
	if _, err := newMapping(&config.FS{Mapping: map[string]string{"(": ""}}); err == nil {
		t.Error("a broken pattern is taken")
	}
}

// TestNeighbours: a layer that asks for them gets the entries behind the one that it asks about, except those that are no longer the pod's.
func TestNeighbours(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for i := range 2000 {
		names = append(names, fmt.Sprintf("more-%d", i))
	}
	s := start(t, &fakeAgent{
		open: func(r *wire.Request, stream *links.Stream) {
			sendFile(stream, &wire.Stat{Mode: unix.S_IFDIR | 0o755}, listed(5, names...), cleanEnd)
		},
		do: func(r *wire.Request) *wire.Reply { return &wire.Reply{Stat: regular(1000)} },
	}, func(o *Options) {
		o.Config.Feature.FS.Mapping = map[string]string{"^/var": "/usr", "/(usr|var)/d$": "/other"} // folders that this machine has, too
	})
	for _, dir := range []string{"/usr", "/var"} {
		s.expect(frame.StatusLocal, frame.Open, &frame.OpenRequest{Flags: frame.OpenWrite, Path: dir + "/b"})
		list := func() {
			_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: dir, Flags: frame.OpenDirectory}, nil)
			f.Close()
		}
		list()
		var reply frame.StatReply
		s.ask(t, frame.Stat, &frame.StatRequest{NoFollow: frame.StatNoFollow, Path: dir + "/a"}, &reply)
		if reply.Neighbours != "" || reply.Life != 0 {
			t.Error("neighbours for a layer that did not ask for them")
		}
		eventually(t, "an answer while the listing is young", func() bool {
			s.ask(t, frame.Stat, &frame.StatRequest{NoFollow: frame.StatNoFollow | frame.StatNeighbours, Path: dir + "/a"}, &reply)
			if reply.Life == 0 {
				list()
			}
			return reply.Life > 0
		})
		n := len(reply.Neighbours)
		if reply.Size != 5 || reply.Life > 1000 || n > frame.MaxNeighbours || n < frame.MaxNeighbours-200 {
			t.Errorf("size %d, life %d, %d bytes", reply.Size, reply.Life, n)
		}
		if got, want := reply.Neighbours[:3]+reply.Neighbours[2+1+104:][:2+6], "\x01\x00c\x06\x00more-0"; got != want {
			t.Errorf("the first two are %q, want %q", got, want)
		}
	}
	if word(s.page.mem, offLiveLocal) != 2 {
		t.Errorf("%d paths became local", word(s.page.mem, offLiveLocal))
	}
}
