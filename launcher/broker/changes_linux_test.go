package broker

import (
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	tables "mirrord/launcher/rules"
	"mirrord/layer/frame"
)

// changeable is a pod that makes every change, and remembers what it was asked for.
type changeable struct {
	mu    sync.Mutex
	asked []*wire.Request
	errno string
}

func (c *changeable) agent() *fakeAgent {
	return &fakeAgent{do: func(r *wire.Request) *wire.Reply {
		if r.Op != wire.OpChange {
			st := regular(1)
			if r.Path == "/srv" {
				st.Mode = unix.S_IFDIR | 0o755
			}
			return &wire.Reply{Stat: st, Path: r.Path}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked = append(c.asked, r)
		return &wire.Reply{Errno: c.errno}
	}}
}

func withRules(t *testing.T, in tables.Input, mapping map[string]string) func(*Options) {
	return func(o *Options) {
		var err error
		if o.Rules, err = tables.Compile(in); err != nil {
			t.Fatal(err)
		}
		o.Config.Feature.FS = config.FS{Mode: config.FSMode(in.Mode), Mapping: mapping}
	}
}

// The flags of a change are handed on as they are.
func TestChangeNumbers(t *testing.T) {
	for mine, theirs := range map[uint32]wire.ChangeFlags{
		frame.ChangeNoFollow: wire.NoFollow, frame.ChangeFollow: wire.Follow, frame.ChangeNoReplace: wire.NoReplace, frame.ChangeExchange: wire.Exchange,
		frame.ChangeAtimeNow: wire.AtimeNow, frame.ChangeAtimeOmit: wire.AtimeOmit, frame.ChangeMtimeNow: wire.MtimeNow, frame.ChangeMtimeOmit: wire.MtimeOmit,
		frame.ChangeHeld: wire.Exactly,
	} {
		if mine != uint32(theirs) {
			t.Errorf("%d in a frame, %d on the wire", mine, theirs)
		}
	}
	for mine, theirs := range map[frame.Op]wire.ChangeKind{
		frame.Unlink: wire.ChangeUnlink, frame.Rmdir: wire.ChangeRmdir, frame.Rename: wire.ChangeRename, frame.Mkdir: wire.ChangeMkdir, frame.Chmod: wire.ChangeChmod,
		frame.Chown: wire.ChangeChown, frame.Truncate: wire.ChangeTruncate, frame.Utimes: wire.ChangeUtimes, frame.Link: wire.ChangeLink,
		frame.Symlink: wire.ChangeSymlink, frame.Mknod: wire.ChangeMknod,
	} {
		if uint16(mine) != uint16(theirs) {
			t.Errorf("%d in a frame, %d on the wire", mine, theirs)
		}
	}
}

func TestWriteThrough(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	pod := &changeable{}
	s := start(t, pod.agent(), withRules(t, tables.Input{Mode: "write", ReadWrite: []string{"^/conf"}, ReadOnly: []string{"^/kept"}}, map[string]string{"^/conf": "/etc/app"}))
	const exdev, eopnotsupp, erofs = int32(unix.EXDEV), int32(unix.EOPNOTSUPP), int32(unix.EROFS)
	for _, c := range []struct {
		want int32
		m    frame.ChangeRequest
	}{
		{0, frame.ChangeRequest{Op: frame.Mkdir, Mode: 0o777, Path: "/srv/d"}},
		{0, frame.ChangeRequest{Op: frame.Chmod, Mode: 0o777, Path: "/srv/d", Flags: frame.ChangeNoFollow}},
		{0, frame.ChangeRequest{Op: frame.Rename, Path: "/srv/a", Other: "/conf/b", Flags: frame.ChangeExchange}},
		{0, frame.ChangeRequest{Op: frame.Symlink, Path: "/conf/link", Other: "/conf/as it stands"}},
		{0, frame.ChangeRequest{Op: frame.Utimes, Path: "/srv/a", Atime: ^uint64(0), Flags: frame.ChangeMtimeNow}},
		{exdev, frame.ChangeRequest{Op: frame.Rename, Path: "/srv/a", Other: ""}},
		{exdev, frame.ChangeRequest{Op: frame.Link, Path: "", Other: "/srv/a"}},
		{exdev, frame.ChangeRequest{Op: frame.Rename, Path: "/srv/a", Other: "/kept/a"}},
		{erofs, frame.ChangeRequest{Op: frame.Rename, Path: "/kept/a", Other: "/kept/b"}},
		{erofs, frame.ChangeRequest{Op: frame.Chmod, Path: "1-2-3", Flags: frame.ChangeHeld}},
		{eopnotsupp, frame.ChangeRequest{Op: frame.SetAttr, Path: "/srv/a"}},
	} {
		s.expect(c.want, frame.Change, &c.m)
	}
	s.expect(eopnotsupp, frame.Open, &frame.OpenRequest{Flags: frame.OpenTemporary | frame.OpenReadWrite, Path: "/srv"})
	// Where there are no live files this is said once, and refused.
	s.Paths = true
	for range 2 {
		s.expect(erofs, frame.Open, &frame.OpenRequest{Flags: frame.OpenWrite | frame.OpenCreate, Path: "/srv/a"})
	}
	if w := s.emitted(events.Warning); len(w) != 1 || w[0].Hint == "" {
		t.Errorf("warnings %+v", w)
	}
	want := []*wire.Request{
		{Op: wire.OpChange, Path: "/srv/d", Change: &wire.Change{Kind: wire.ChangeMkdir, Mode: 0o750}},
		{Op: wire.OpChange, Path: "/srv/d", Change: &wire.Change{Kind: wire.ChangeChmod, Mode: 0o777, Flags: wire.NoFollow}},
		{Op: wire.OpChange, Path: "/srv/a", Change: &wire.Change{Kind: wire.ChangeRename, Other: "/etc/app/b", Flags: wire.Exchange}},
		{Op: wire.OpChange, Path: "/etc/app/link", Change: &wire.Change{Kind: wire.ChangeSymlink, Other: "/conf/as it stands"}},
		{Op: wire.OpChange, Path: "/srv/a", Change: &wire.Change{Kind: wire.ChangeUtimes, Atime: -1, Flags: wire.MtimeNow}},
	}
	if d := cmp.Diff(want, pod.asked, cmp.Comparer(func(a, b wire.Request) bool { return a.Op == b.Op && a.Path == b.Path && *a.Change == *b.Change })); d != "" {
		t.Errorf("(-want +asked):\n%s", d)
	}
	pod.errno = "EACCES"
	s.expect(int32(unix.EACCES), frame.Change, &frame.ChangeRequest{Op: frame.Unlink, Path: "/srv/d"})
	e := s.emitted(events.FileChange)
	if len(e) != 6 || e[0].Op != "mkdir" || e[0].Errno != "" || e[5].Op != "unlink" || e[5].Path != "/srv/d" || e[5].Errno != "EACCES" {
		t.Errorf("events %+v", e)
	}
}

// The overlay's folder is one of the session, or the one that was named.
func TestOverlayFolder(t *testing.T) {
	pod := &changeable{}
	named := t.TempDir() + "/named"
	for _, folder := range []string{"", named} {
		s := start(t, pod.agent(), func(o *Options) {
			withRules(t, tables.Input{Mode: "overlay"}, nil)(o)
			o.Overlay = folder
		})
		s.expect(0, frame.Change, &frame.ChangeRequest{Op: frame.Unlink, Path: "/srv/a"})
		s.expect(int32(unix.ENOENT), frame.Stat, &frame.StatRequest{Path: "/srv/a"})
		if status, _ := s.ask(t, frame.Stat, &frame.StatRequest{Path: "/srv/b"}, new(frame.StatReply)); status != 0 {
			t.Errorf("status %d", status)
		}
		s.Close()
	}
	if _, err := os.Stat(named + "/hidden/srv/a"); err != nil {
		t.Error(err)
	}
	if len(pod.asked) > 0 {
		t.Errorf("the pod was changed: %+v", pod.asked[0])
	}
}
