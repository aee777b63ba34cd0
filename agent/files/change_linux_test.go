package files

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// manifest is all that is below a directory: type, permissions, size and where links lead.
func manifest(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		target, size := "", st.Size
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			target, _ = os.Readlink(path)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			size, st.Nlink = 0, 0
		}
		list = append(list, fmt.Sprintf("%q %o %d %d %d:%d %q", strings.TrimPrefix(path, dir), st.Mode, size, st.Nlink, st.Uid, st.Gid, target))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// plainly makes the change as a program does that runs there.
func plainly(dir, path string, c *wire.Change) error {
	path = dir + path
	other := dir + c.Other
	switch c.Kind {
	case wire.ChangeUnlink:
		return unix.Unlink(path)
	case wire.ChangeRmdir:
		return unix.Rmdir(path)
	case wire.ChangeRename:
		flags := uint(0)
		if c.Flags&wire.NoReplace != 0 {
			flags = unix.RENAME_NOREPLACE
		} else if c.Flags&wire.Exchange != 0 {
			flags = unix.RENAME_EXCHANGE
		}
		return unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, flags)
	case wire.ChangeMkdir:
		return unix.Mkdir(path, c.Mode)
	case wire.ChangeChmod:
		return unix.Chmod(path, c.Mode)
	case wire.ChangeChown:
		if c.Flags&wire.NoFollow != 0 {
			return unix.Lchown(path, int(int32(c.UID)), int(int32(c.GID)))
		}
		return unix.Chown(path, int(int32(c.UID)), int(int32(c.GID)))
	case wire.ChangeTruncate:
		return unix.Truncate(path, c.Size)
	case wire.ChangeUtimes:
		flags := 0
		if c.Flags&wire.NoFollow != 0 {
			flags = unix.AT_SYMLINK_NOFOLLOW
		}
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(c.Mtime)}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, flags)
	case wire.ChangeLink:
		flags := 0
		if c.Flags&wire.Follow != 0 {
			flags = unix.AT_SYMLINK_FOLLOW
		}
		return unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, other, flags)
	case wire.ChangeSymlink:
		return unix.Symlink(c.Other, path)
	case wire.ChangeMknod:
		return unix.Mknod(path, c.Mode, 0)
	}
	return unix.ENOSYS
}

// The same random changes in two equal trees, by the kernel in one and by Change in the other: same errnos, same trees.
func TestChangeAsKernel(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	name := func() string {
		return pick("a", "b", "c", "d", "n\nl", "\xff\xfe", strings.Repeat("x", 255), strings.Repeat("y", 256))
	}
	path := func() string {
		p := "/t" // so that ".." stays inside
		for range 1 + random.IntN(3) {
			p += "/" + pick(name(), pick("a", "b", "c"), pick("a", "b"))
		}
		return p + pick("", "", "", "", "", "", "/", "/.", "/..", "//")
	}
	kinds := []wire.ChangeKind{wire.ChangeUnlink, wire.ChangeRmdir, wire.ChangeRename, wire.ChangeRename, wire.ChangeMkdir, wire.ChangeMkdir, wire.ChangeChmod,
		wire.ChangeChown, wire.ChangeTruncate, wire.ChangeUtimes, wire.ChangeLink, wire.ChangeSymlink, wire.ChangeMknod, wire.ChangeMknod}
	done, failed := map[wire.ChangeKind]int{}, map[error]int{}
	for range 30 {
		plain, served := tree(t, "t/").Name(), tree(t, "t/")
		for range 150 {
			c := &wire.Change{Kind: kinds[random.IntN(len(kinds))], Mode: 0o100 | uint32(random.IntN(0o1000)), UID: uint32(random.IntN(3)), GID: wire.Unchanged,
				Size: int64(random.IntN(9)) - 1, Flags: wire.AtimeOmit, Mtime: int64(random.IntN(1 << 30))}
			if os.Geteuid() != 0 {
				c.UID = wire.Unchanged
			}
			p := path()
			switch c.Kind {
			case wire.ChangeRename:
				c.Other, c.Flags = path(), []wire.ChangeFlags{0, 0, wire.NoReplace, wire.Exchange}[random.IntN(4)]
			case wire.ChangeLink:
				c.Other, c.Flags = path(), []wire.ChangeFlags{0, wire.Follow}[random.IntN(2)]
			case wire.ChangeSymlink:
				c.Other = pick(".", "a", "b/c", "./d", name(), "") // what leads out of the tree is TestChangeInside's
			case wire.ChangeMknod:
				c.Mode |= []uint32{0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFDIR}[random.IntN(5)]
			case wire.ChangeChown, wire.ChangeUtimes:
				c.Flags |= []wire.ChangeFlags{0, wire.NoFollow}[random.IntN(2)]
			}
			want, got := plainly(plain, p, c), Change(served, &wire.Request{Op: wire.OpChange, Path: p, Change: c})
			if !errors.Is(got, want) {
				t.Fatalf("%+v of %q: %v, the kernel says %v", c, p, got, want)
			}
			if want == nil {
				done[c.Kind]++
			} else {
				failed[want]++
			}
			if d := cmp.Diff(manifest(t, plain), manifest(t, served.Name())); d != "" {
				t.Fatalf("after %+v of %q (-kernel +ours):\n%s", c, p, d)
			}
		}
	}
	t.Logf("%v done, failures %v", done, failed)
	if len(done) != 11 || len(failed) < 8 {
		t.Error("the random changes are too dull to tell anything")
	}
}

// Links that lead out of the root lead to the root's own files, and nothing outside is ever changed.
func TestChangeInside(t *testing.T) {
	root := tree(t, "d/", "f", "out -> OUTSIDE", "up -> ../../..", "secret -> OUTSIDE/secret", "loop -> loop", "d/back -> ..")
	outside := filepath.Dir(root.Name())
	before := manifest(t, outside)
	ask := func(path string, c wire.Change) error {
		return Change(root, &wire.Request{Op: wire.OpChange, Path: path, Change: &c})
	}
	for _, one := range []struct {
		path string
		c    wire.Change
		want error
	}{
		{"/out/x", wire.Change{Kind: wire.ChangeMkdir, Mode: 0o755}, unix.ENOENT},
		{"/out/secret", wire.Change{Kind: wire.ChangeUnlink}, unix.ENOENT},
		{"/up/../secret", wire.Change{Kind: wire.ChangeTruncate}, unix.ENOENT},
		{"/secret", wire.Change{Kind: wire.ChangeTruncate}, unix.ENOENT},
		{"/secret", wire.Change{Kind: wire.ChangeChmod, Mode: 0o777}, unix.ENOENT},
		{"/secret", wire.Change{Kind: wire.ChangeLink, Other: "/d/x", Flags: wire.Follow}, unix.ENOENT},
		{"/f", wire.Change{Kind: wire.ChangeRename, Other: "/out/x"}, unix.ENOENT},
		{"/f", wire.Change{Kind: wire.ChangeLink, Other: "/d/../../x/y"}, unix.ENOENT},
		{"/d/../..", wire.Change{Kind: wire.ChangeRename, Other: "/x"}, unix.EBUSY},
		{"/d/..", wire.Change{Kind: wire.ChangeRmdir}, unix.ENOTEMPTY},
		{"/..", wire.Change{Kind: wire.ChangeMkdir}, unix.EEXIST},
		{"/loop/x", wire.Change{Kind: wire.ChangeMkdir}, unix.ELOOP},
		{"/loop", wire.Change{Kind: wire.ChangeChmod}, unix.ELOOP},
		{"/secret", wire.Change{Kind: wire.ChangeChmod, Flags: wire.NoFollow}, unix.EOPNOTSUPP},
		{"/d\x00/x", wire.Change{Kind: wire.ChangeMkdir}, unix.ENOENT},
		{"", wire.Change{Kind: wire.ChangeMkdir}, unix.ENOENT},
		{"f", wire.Change{Kind: wire.ChangeUnlink}, unix.ENOENT},
		{strings.Repeat("/x", 2048), wire.Change{Kind: wire.ChangeUnlink}, unix.ENAMETOOLONG},
		{"/f", wire.Change{Kind: wire.ChangeChmod, Flags: wire.Exactly, Dev: 1, Ino: 1}, unix.ESTALE},
		{"/f", wire.Change{Kind: 99}, unix.ENOSYS},
		{"/f", wire.Change{Kind: wire.ChangeTruncate, Size: -1}, unix.EINVAL},
	} {
		if err := ask(one.path, one.c); !errors.Is(err, one.want) {
			t.Errorf("%+v of %q: %v, want %v", one.c, one.path, err, one.want)
		}
	}
	if d := cmp.Diff(before, manifest(t, outside)); d != "" {
		t.Errorf("something has changed:\n%s", d)
	}
	// ".." above the root is the root.
	if err := ask("/../../new", wire.Change{Kind: wire.ChangeMkdir, Mode: 0o750}); err != nil {
		t.Error(err)
	}
	if err := ask("/up/d/../f", wire.Change{Kind: wire.ChangeChmod, Mode: 0o4711}); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]fs.FileMode{"new": 0o750 | fs.ModeDir, "f": 0o711 | fs.ModeSetuid} {
		if info, err := os.Lstat(filepath.Join(root.Name(), path)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if err := Change(nil, &wire.Request{Path: "/x", Change: &wire.Change{Kind: wire.ChangeMkdir}}); err != unix.ENOENT {
		t.Errorf("without a root: %v", err)
	}
	if err := Change(root, &wire.Request{Path: "/x"}); err != unix.EINVAL {
		t.Errorf("without a change: %v", err)
	}
}

// What is made has the mode that was asked for, as far as the directory does not say more.
func TestChangeUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	root := tree(t, "d/")
	if err := os.Chmod(filepath.Join(root.Name(), "d"), 0o2777|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string]wire.Change{"/d/sub": {Kind: wire.ChangeMkdir, Mode: 0o1775}, "/d/file": {Kind: wire.ChangeMknod, Mode: unix.S_IFREG | 0o664}} {
		if err := Change(root, &wire.Request{Path: path, Change: &c}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]uint32{"/d/sub": unix.S_IFDIR | 0o3775, "/d/file": unix.S_IFREG | 0o664}
	for path, mode := range want {
		var st unix.Stat_t
		if err := unix.Lstat(root.Name()+path, &st); err != nil || st.Mode != mode {
			t.Errorf("%s: %o, %v, want %o", path, st.Mode, err, mode)
		}
	}
}

// FuzzChange: whatever is asked, nothing outside the root changes.
func FuzzChange(f *testing.F) {
	f.Add("/d/../../secret", "/out/x", uint8(wire.ChangeRename), uint32(0), uint32(0o755))
	f.Add("/out", "../../secret", uint8(wire.ChangeSymlink), uint32(wire.Follow), uint32(0o755))
	f.Add("/up/../..", "", uint8(wire.ChangeChmod), uint32(0), uint32(0))
	f.Add("/secret", "", uint8(wire.ChangeTruncate), uint32(wire.NoFollow), uint32(0))
	f.Add("/d/n\n\xff/", "/..", uint8(wire.ChangeLink), uint32(wire.Exchange), uint32(0))
	f.Add("/loop/..", "/loop", uint8(wire.ChangeUtimes), uint32(wire.AtimeNow|wire.MtimeOmit), uint32(0))
	f.Fuzz(func(t *testing.T, path, other string, kind uint8, flags, mode uint32) {
		root := tree(t, "d/", "f", "out -> OUTSIDE", "up -> ../../..", "secret -> OUTSIDE/secret", "loop -> loop", "d/back -> ..")
		outside := filepath.Dir(root.Name())
		around := func() []string {
			var rest []string
			for _, line := range manifest(t, outside) {
				if !strings.HasPrefix(line, `"/root`) {
					rest = append(rest, line)
				}
			}
			return rest
		}
		before := around()
		c := &wire.Change{Kind: wire.ChangeKind(kind), Flags: wire.ChangeFlags(flags), Other: other, Mode: mode &^ unix.S_IFMT, UID: mode, GID: flags, Size: int64(mode % 5000)}
		if err := Change(root, &wire.Request{Path: path, Change: c}); err != nil && !errors.As(err, new(unix.Errno)) {
			t.Errorf("%v is no errno", err)
		}
		if d := cmp.Diff(before, around()); d != "" {
			t.Errorf("%+v of %q changed something outside:\n%s", c, path, d)
		}
	})
}
