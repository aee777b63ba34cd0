package files

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// exchange swaps two names at once.
func exchange(a, b string) { unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) }

// The kernel's own resolution in a root is the judge of ours, on random trees of links and random paths.
func TestResolveAsKernel(t *testing.T) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
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
		for range 200 {
			path := path()
			nofollow := random.IntN(3) == 0
			how := how
			if nofollow {
				how.Flags |= unix.O_NOFOLLOW
			}
			fd, want := unix.Openat2(int(root.Fd()), path, &how)
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
			p, err := resolve(root, path, nofollow)
			if err != want {
				t.Fatalf("%q in %q: %v, the kernel says %v", path, entries, err, want)
			}
			if err == nil {
				if p.stat.Ino != st.Ino {
					t.Fatalf("%q in %q leads to %s, which is not where the kernel goes", path, entries, p.path)
				}
				p.close()
			}
		}
	}
	t.Logf("%d found, failures %v", found, failed)
	if found < 1000 || len(failed) < 3 {
		t.Error("the random trees are too dull to tell anything")
	}
}
