package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newOverlay lays one over the files of a pod directory, whose rootfs it returns.
func newOverlay(t testing.TB, dir string) (o *Overlay, rootfs string) {
	t.Helper()
	pod := t.TempDir()
	rootfs = filepath.Join(pod, "rootfs")
	must(t, os.Mkdir(rootfs, 0o755))
	must(t, os.WriteFile(filepath.Join(pod, "pod.yaml"), []byte("name: x\n"), 0o644))
	d, err := target.OpenDir(pod)
	must(t, err)
	requests, bulk, done, err := serve.Dir(t.Context(), d)
	must(t, err)
	link, err := links.New(t.Context(), requests, bulk, "session")
	must(t, err)
	t.Cleanup(func() {
		link.Close()
		<-done
	})
	o, err = New(dir, link)
	must(t, err)
	t.Cleanup(func() { o.Close() })
	return o, rootfs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// line is what a manifest says of a file. Folders of the overlay have other sizes and numbers of links.
func line(p string, st *wire.Stat, target, content string) string {
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	return fmt.Sprintf("%q %o %d %q %q", p, st.Mode, size, target, content)
}

// manifestOf is all that the overlay shows, by its own answers.
func manifestOf(t testing.TB, o *Overlay, p string) (list []string) {
	t.Helper()
	ctx := context.Background()
	r, err := o.Do(ctx, &wire.Request{Op: wire.OpStat, Path: p, NoFollow: true})
	must(t, err)
	target, content := "", ""
	switch r.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content = contentOf(t, o, p)
	case unix.S_IFLNK:
		link, err := o.Do(ctx, &wire.Request{Op: wire.OpReadlink, Path: p})
		must(t, err)
		target = link.Path
	}
	list = append(list, line(p, r.Stat, target, content))
	if r.Stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return list
	}
	raw := bodyOf(t, o, &wire.Request{Op: wire.OpOpen, Path: p, Dir: true, NoFollow: true})
	var names []string
	for len(raw) > 0 {
		var e wire.Entry
		e, raw, err = wire.ReadEntry(raw)
		must(t, err)
		if name := string(e.Name); name != "." && name != ".." {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		list = append(list, manifestOf(t, o, p+"/"+name)...)
	}
	return list
}

func bodyOf(t testing.TB, o *Overlay, req *wire.Request) []byte {
	t.Helper()
	_, body, err := o.Open(context.Background(), req)
	must(t, err)
	defer body.Close()
	b, err := io.ReadAll(body)
	must(t, err)
	return b
}

func contentOf(t testing.TB, o *Overlay, p string) string {
	t.Helper()
	fd, err := o.OpenFile(context.Background(), p, wire.OpenNoFollow, 0)
	must(t, err)
	if fd < 0 {
		return string(bodyOf(t, o, &wire.Request{Op: wire.OpOpen, Path: p}))
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	b, err := io.ReadAll(f)
	must(t, err)
	return string(b)
}

// plainManifest is the same of a folder.
func plainManifest(t testing.TB, dir, p string) (list []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir+p, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, target, err := lstat(name)
		if err != nil {
			return err
		}
		content := []byte{}
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			if content, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		list = append(list, line(strings.TrimPrefix(name, dir), st, target, string(content)))
		return nil
	}))
	return list
}

// plainly makes a change as a program does.
func plainly(dir, p string, c *wire.Change) error {
	p, other := dir+p, dir+c.Other
	switch c.Kind {
	case wire.ChangeUnlink:
		return unix.Unlink(p)
	case wire.ChangeRmdir:
		return unix.Rmdir(p)
	case wire.ChangeRename:
		return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, other, map[wire.ChangeFlags]uint{wire.NoReplace: unix.RENAME_NOREPLACE, wire.Exchange: unix.RENAME_EXCHANGE}[c.Flags])
	case wire.ChangeMkdir:
		return unix.Mkdir(p, c.Mode)
	case wire.ChangeChmod:
		return unix.Chmod(p, c.Mode)
	case wire.ChangeTruncate:
		return unix.Truncate(p, c.Size)
	case wire.ChangeUtimes:
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(c.Mtime)}, 0)
	case wire.ChangeLink:
		return unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, other, map[wire.ChangeFlags]int{wire.Follow: unix.AT_SYMLINK_FOLLOW}[c.Flags])
	case wire.ChangeSymlink:
		return unix.Symlink(c.Other, p)
	}
	return unix.Mknod(p, c.Mode, 0)
}

// Random changes, writes and reads in an overlay and in a copy of the same folder: the same errnos, and after each the same files. What lies below stays as it was.
func TestAsPlainFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: folders without rights for their owner differ, unless root looks")
	}
	defer unix.Umask(unix.Umask(0))
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	name := func() string {
		return pick("a", "b", "c", "d", "n\nl", "\xff\xfe", strings.Repeat("x", 255), strings.Repeat("y", 256))
	}
	path := func() string {
		p := "/t"
		for range 1 + random.IntN(3) {
			p += "/" + pick(name(), pick("a", "b", "c"), pick("a", "b"))
		}
		return p + pick("", "", "", "", "", "", "", "/", "/.", "/..", "//")
	}
	kinds := []wire.ChangeKind{wire.ChangeUnlink, wire.ChangeUnlink, wire.ChangeRmdir, wire.ChangeRename, wire.ChangeRename, wire.ChangeMkdir, wire.ChangeChmod,
		wire.ChangeTruncate, wire.ChangeUtimes, wire.ChangeLink, wire.ChangeSymlink, wire.ChangeMknod}
	done, failed, apart := map[wire.ChangeKind]int{}, map[error]int{}, 0
	ctx := context.Background()
	for round := range 8 {
		dir := filepath.Join(t.TempDir(), "overlay")
		o, rootfs := newOverlay(t, dir)
		must(t, os.Mkdir(rootfs+"/t", 0o755))
		for range 40 { // what the pod has
			p := rootfs + strings.TrimRight(path(), "/.")
			switch random.IntN(4) {
			case 0, 1:
				os.MkdirAll(p, 0o755)
			case 2:
				os.WriteFile(p, []byte(pick("one", "two", "three")), 0o644)
			default:
				os.Symlink(pick(".", "a", "b/c", "./d"), p)
			}
		}
		plain := t.TempDir()
		if out, err := exec.Command("cp", "-a", rootfs+"/.", plain).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		must(t, os.Chmod(plain, 0o755))
		before := plainManifest(t, rootfs, "/t")
		for step := range 120 {
			if step == 60 { // as another session that goes on with the same folder
				must(t, o.Close())
				var err error
				o, err = New(dir, o.lower)
				must(t, err)
			}
			c := &wire.Change{Mode: 0o600 | uint32(random.IntN(0o200)), Size: int64(random.IntN(9)) - 1, Mtime: int64(random.IntN(1 << 30)), Flags: 0}
			p, what := path(), ""
			var got, want error
			if random.IntN(3) == 0 {
				flags := []uint32{wire.OpenRead, wire.OpenWrite, wire.OpenReadWrite}[random.IntN(3)]
				for _, f := range []uint32{wire.OpenCreate, wire.OpenCreate, wire.OpenExclusive, wire.OpenTruncate, wire.OpenAppend, wire.OpenNoFollow, wire.OpenDirectory} {
					if random.IntN(3) == 0 {
						flags |= f
					}
				}
				what = fmt.Sprintf("open %#o %q", flags, p)
				if flags&(wire.OpenCreate|wire.OpenDirectory) == wire.OpenCreate|wire.OpenDirectory || flags&wire.OpenExclusive != 0 && flags&wire.OpenCreate == 0 {
					continue // kernels differ, and it means nothing
				}
				var fd, theirs int
				fd, got = o.OpenFile(ctx, p, flags, c.Mode)
				theirs, want = unix.Open(plain+p, int(flags), c.Mode)
				if got == nil && want == nil && flags&wire.OpenAccess != wire.OpenRead {
					text := []byte(pick("x", "longer"))
					unix.Write(fd, text)
					unix.Write(theirs, text)
				}
				if fd >= 0 && got == nil {
					unix.Close(fd)
				}
				if want == nil {
					unix.Close(theirs)
				}
			} else {
				c.Kind = kinds[random.IntN(len(kinds))]
				switch c.Kind {
				case wire.ChangeRename:
					c.Other, c.Flags = path(), []wire.ChangeFlags{0, 0, wire.NoReplace, wire.Exchange}[random.IntN(4)]
				case wire.ChangeLink:
					c.Other, c.Flags = path(), []wire.ChangeFlags{0, wire.Follow}[random.IntN(2)]
				case wire.ChangeSymlink:
					c.Other = pick(".", "a", "b/c", "./d", "/t/a", name(), "")
					if strings.HasPrefix(c.Other, "/") { // leads elsewhere without a root of one's own
						c.Other = "a"
					}
				case wire.ChangeMknod:
					c.Mode |= unix.S_IFREG
				case wire.ChangeUtimes:
					c.Flags = wire.AtimeOmit
				}
				what = fmt.Sprintf("%+v %q", c, p)
				if _, got = o.Do(ctx, &wire.Request{Op: wire.OpChange, Path: p, Change: c}); got == unix.EXDEV && c.Kind == wire.ChangeRename {
					apart++
					continue
				}
				want = plainly(plain, p, c)
			}
			if !errors.Is(got, want) && !(got == nil && want == nil) {
				t.Fatalf("round %d, step %d: %s: %v, a folder says %v", round, step, what, got, want)
			}
			if want == nil {
				done[c.Kind]++
			} else {
				failed[want]++
			}
			if d := cmp.Diff(plainManifest(t, plain, "/t"), manifestOf(t, o, "/t")); d != "" {
				t.Fatalf("round %d, step %d: after %s, %v (-folder +overlay):\n%s", round, step, what, want, d)
			}
		}
		if d := cmp.Diff(before, plainManifest(t, rootfs, "/t")); d != "" {
			t.Fatalf("what lies below has changed:\n%s", d)
		}
		left, err := os.ReadDir(o.work(""))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	t.Logf("%v done, failures %v, %d folders not moved", done, failed, apart)
	if len(done) != 11 || len(failed) < 8 {
		t.Error("the random changes are too dull to tell anything")
	}
}

// Many at once, in the same folders of the target: nothing is lost, and nobody sees half of a file.
func TestAtOnce(t *testing.T) {
	o, rootfs := newOverlay(t, t.TempDir())
	big := strings.Repeat("from the pod ", 20_000)
	must(t, os.MkdirAll(rootfs+"/a/b/c", 0o755))
	must(t, os.WriteFile(rootfs+"/a/b/c/shared", []byte(big), 0o644))
	ctx := t.Context()
	do := func(p string, c wire.Change) error {
		_, err := o.Do(ctx, &wire.Request{Op: wire.OpChange, Path: p, Change: &c})
		return err
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 8 {
				p := fmt.Sprintf("/a/b/c/%d-%d", i, j)
				fd, err := o.OpenFile(ctx, p, wire.OpenCreate|wire.OpenExclusive|wire.OpenWrite, 0o644)
				if err != nil {
					t.Error(err)
					return
				}
				unix.Write(fd, []byte(p))
				unix.Close(fd)
				if err := do(p, wire.Change{Kind: wire.ChangeRename, Other: p + ".done"}); err != nil {
					t.Error(err)
				}
				if j == 4 {
					fd, err := o.OpenFile(ctx, "/a/b/c/shared", wire.OpenAppend|wire.OpenWrite, 0)
					if err != nil {
						t.Error(err)
						return
					}
					unix.Write(fd, []byte("+"))
					unix.Close(fd)
				}
				if got := contentOf(t, o, "/a/b/c/shared"); !strings.HasPrefix(got, big) || strings.Trim(got[len(big):], "+") != "" {
					t.Errorf("%d bytes", len(got))
				}
			}
		})
	}
	all.Wait()
	if got := contentOf(t, o, "/a/b/c/shared"); got != big+strings.Repeat("+", 8) {
		t.Errorf("%d bytes in the end", len(got))
	}
	if list := manifestOf(t, o, "/a/b/c"); len(list) != 2+8*8 {
		t.Errorf("%d entries", len(list))
	}
	if left, _ := os.ReadDir(o.work("")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// counting counts what the target is asked.
type counting struct {
	Lower
	mu sync.Mutex
	n  int
}

func (c *counting) Do(ctx context.Context, r *wire.Request) (*wire.Reply, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Lower.Do(ctx, r)
}

// A deep path takes one question beside the one about itself, and for a second only that.
func TestQuestions(t *testing.T) {
	o, rootfs := newOverlay(t, t.TempDir())
	must(t, os.MkdirAll(rootfs+"/a/b/c/d/e", 0o755))
	for _, name := range []string{"x", "y", "z"} {
		must(t, os.WriteFile(rootfs+"/a/b/c/d/e/"+name, nil, 0o644))
	}
	asked := &counting{Lower: o.lower}
	o.lower = asked
	begun := time.Now()
	for i, name := range []string{"x", "y", "z"} {
		if _, err := o.Do(t.Context(), &wire.Request{Op: wire.OpStat, Path: "/a/b/c/d/e/" + name}); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) >= plainLife {
			t.Skip("left out: this machine is too slow to look three times within a second")
		}
		if asked.n > 2+i {
			t.Errorf("%d questions about %d files", asked.n, i+1)
		}
	}
}

// Who cannot be asked is not taken for empty.
func TestLost(t *testing.T) {
	o, rootfs := newOverlay(t, t.TempDir())
	must(t, os.Mkdir(rootfs+"/d", 0o755))
	if _, err := o.Do(t.Context(), &wire.Request{Op: wire.OpChange, Path: "/d/new", Change: &wire.Change{Kind: wire.ChangeMkdir, Mode: 0o755}}); err != nil {
		t.Fatal(err)
	}
	o.lower.(*links.Link).Close()
	for _, r := range []*wire.Request{
		{Op: wire.OpStat, Path: "/d/other"}, {Op: wire.OpChange, Path: "/d", Change: &wire.Change{Kind: wire.ChangeRmdir}},
		{Op: wire.OpChange, Path: "/d/other", Change: &wire.Change{Kind: wire.ChangeMkdir}},
	} {
		if _, err := o.Do(context.Background(), r); !errors.Is(err, links.ErrLost) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := o.Do(context.Background(), &wire.Request{Op: wire.OpStat, Path: "/d/new"}); err != nil {
		t.Errorf("what was written: %v", err)
	}
}
