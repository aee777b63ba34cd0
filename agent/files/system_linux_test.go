package files

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// exchange swaps two names at once.
func exchange(a, b string) { unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) }

// The kernel's own resolution is the judge of ours, on random trees of links and random paths: in a root, and from a folder in the ways of openat2.
func TestResolveAsKernel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "d"}
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	path := func() string {
		var b strings.Builder
		for range 1 + random.IntN(5) {
			b.WriteString(pick("/", "/", "/", "//"))
			b.WriteString(pick(append(names, names[0], "..", ".")...))
		}
		return b.String() + pick("", "", "", "/", "/.")
	}
	allWays := []uint64{unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV}
	found, failed := 0, map[error]int{}
	for range 60 {
		var entries []string
		for _, x := range names {
			switch random.IntN(4) {
			case 0:
				entries = append(entries, x)
			case 1:
				entries = append(entries, x+" -> "+strings.TrimPrefix(path(), pick("/", "")))
			default:
				entries = append(entries, x+"/")
				for _, y := range names {
					entries = append(entries, fmt.Sprintf("%s/%s%s", x, y, pick("", "/", " -> "+path(), " -> .."+path())))
				}
			}
		}
		root := tree(t, entries...)
		for range 300 {
			path, from := path(), "/"
			how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
			nofollow := random.IntN(3) == 0
			if nofollow {
				how.Flags |= unix.O_NOFOLLOW
			}
			dir := int(root.Fd())
			if ways := random.IntN(2 * len(allWays)); ways < len(allWays) {
				from = "/" + pick(names...)
				fd, err := unix.Openat(dir, from[1:], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
				if err != nil {
					continue
				}
				defer unix.Close(fd)
				dir, how.Resolve, path = fd, allWays[ways], strings.TrimPrefix(path, pick("", "/", "/", "//"))
			}
			fd, want := unix.Openat2(dir, path, &how)
			for want == unix.EAGAIN { // something was renamed or mounted somewhere meanwhile
				fd, want = unix.Openat2(dir, path, &how)
			}
			if errors.Is(want, unix.ENOSYS) || errors.Is(want, unix.EPERM) {
				t.Skip("this kernel has no openat2")
			}
			var st unix.Stat_t
			if want == nil {
				unix.Fstat(fd, &st)
				unix.Close(fd)
				found++
			} else {
				failed[want]++
			}
			p, err := resolveFrom(root, from, path, nofollow, wire.Ways(how.Resolve))
			if err != want {
				t.Fatalf("%q from %s, %#x, in %q: %v, the kernel says %v", path, from, how.Resolve, entries, err, want)
			}
			if err == nil {
				if p.stat.Ino != st.Ino {
					t.Fatalf("%q from %s, %#x, in %q leads to %s, which is not where the kernel goes", path, from, how.Resolve, entries, p.path)
				}
				p.close()
			}
		}
	}
	t.Logf("%d found, failures %v", found, failed)
	if found < 1000 || len(failed) < 4 {
		t.Error("the random trees are too dull to tell anything")
	}
}

// Another mount is not entered, nor left, when that was asked for.
func TestResolveNoXDev(t *testing.T) {
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, c := range []struct {
		from, path string
		ways       wire.Ways
		want       error
	}{
		{"/", "proc/version", wire.WayNoXDev, unix.EXDEV},
		{"/", "proc", wire.WayNoXDev, unix.EXDEV},
		{"/", "proc/version", 0, nil},
		{"/proc", "version", wire.WayNoXDev, nil},
		{"/proc", "..", wire.WayNoXDev, unix.EXDEV},
		{"/proc", "/", wire.WayNoXDev, nil}, // an absolute path begins at the root
		{"/proc", "", wire.WayNoXDev, unix.ENOENT},
	} {
		p, err := resolveFrom(root, c.from, c.path, false, c.ways)
		if err != c.want {
			t.Errorf("%s from %s: %v, want %v", c.path, c.from, err, c.want)
		}
		if err == nil {
			p.close()
		}
	}
}
