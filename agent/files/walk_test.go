package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a directory "outside" with a secret, and inside it "root" with these entries: "name/" is a directory, "name -> target" a link, any
// other a file that contains its own name.
func tree(t testing.TB, entries ...string) *os.File {
	t.Helper()
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(root, 0o755))
	must(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644))
	for _, e := range entries {
		name, target, link := strings.Cut(e, " -> ")
		path := filepath.Join(root, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case link:
			must(os.Symlink(strings.ReplaceAll(target, "OUTSIDE", outside), path))
		case strings.HasSuffix(name, "/"):
			must(os.MkdirAll(path, 0o755))
		default:
			must(os.WriteFile(path, []byte(name), 0o644))
		}
	}
	f, err := os.Open(root)
	must(err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestResolve(t *testing.T) {
	entries := []string{
		"etc/hosts", "usr/lib/libc.so", "dir/", "a/b/c/",
		"lib -> usr/lib", "abs -> /usr/lib", "abs2 -> /abs/libc.so", "up -> ../../../../etc", "dot -> .", "root -> /", "dangling -> /nowhere",
		"out -> OUTSIDE/secret", "out2 -> ../secret", "outdir -> OUTSIDE", "self -> self", "ping -> /pong", "pong -> ping",
		"a/b/c/back -> ../../../etc/hosts", "slash -> etc/", "file-slash -> etc/hosts/", "c1 -> etc/hosts",
	}
	for i := 2; i <= maxLinks+1; i++ {
		entries = append(entries, fmt.Sprintf("c%d -> /c%d", i, i-1))
	}
	root := tree(t, entries...)
	for _, c := range []struct {
		path     string
		nofollow bool
		want     string // where it leads
		err      error
	}{
		{path: "/", want: "/"},
		{path: "//", want: "/"},
		{path: "/.", want: "/"},
		{path: "/..", want: "/"},
		{path: "/../../..", want: "/"},
		{path: "/etc/hosts", want: "/etc/hosts"},
		{path: "//etc/./../etc//hosts", want: "/etc/hosts"},
		{path: "/../../../../etc/hosts", want: "/etc/hosts"},
		{path: "/etc/", want: "/etc"},
		{path: "/etc/.", want: "/etc"},
		{path: "/a/b/..", want: "/a"},
		{path: "/lib/libc.so", want: "/usr/lib/libc.so"},
		{path: "/lib/..", want: "/usr"}, // of the target, not of the link
		{path: "/abs/libc.so", want: "/usr/lib/libc.so"},
		{path: "/abs2", want: "/usr/lib/libc.so"},
		{path: "/up/hosts", want: "/etc/hosts"},
		{path: "/dot/dot/etc/hosts", want: "/etc/hosts"},
		{path: "/root/root/etc/hosts", want: "/etc/hosts"},
		{path: "/root", want: "/"},
		{path: "/a/b/c/back", want: "/etc/hosts"},
		{path: "/slash", want: "/etc"},
		{path: "/abs", nofollow: true, want: "/abs"},
		{path: "/abs/", nofollow: true, want: "/usr/lib"},
		{path: "/dangling", nofollow: true, want: "/dangling"},
		{path: "/self", nofollow: true, want: "/self"},
		{path: "/c40", want: "/etc/hosts"},

		{path: "/out", err: unix.ENOENT},
		{path: "/out2", err: unix.ENOENT},
		{path: "/outdir/secret", err: unix.ENOENT},
		{path: "/outdir/root/etc/hosts", err: unix.ENOENT},
		{path: "/dir/../../secret", err: unix.ENOENT},
		{path: "/dangling", err: unix.ENOENT},
		{path: "/c41", err: unix.ELOOP},
		{path: "/self", err: unix.ELOOP},
		{path: "/self/x", err: unix.ELOOP},
		{path: "/ping", err: unix.ELOOP},
		{path: "/etc/hosts/", err: unix.ENOTDIR},
		{path: "/etc/hosts/.", err: unix.ENOTDIR},
		{path: "/etc/hosts/..", err: unix.ENOTDIR},
		{path: "/etc/hosts/x", err: unix.ENOTDIR},
		{path: "/file-slash", err: unix.ENOTDIR},
		{path: "/nowhere/..", err: unix.ENOENT},
		{path: "", err: unix.ENOENT},
		{path: "etc/hosts", err: unix.ENOENT},
		{path: "/etc/hosts\x00x", err: unix.ENOENT},
		{path: "/" + strings.Repeat("x", 256), err: unix.ENAMETOOLONG},
		{path: strings.Repeat("/x", 2048), err: unix.ENAMETOOLONG},
	} {
		p, err := resolve(root, c.path, c.nofollow)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.path, err, c.err)
		}
		if err != nil {
			continue
		}
		if p.path != c.want {
			t.Errorf("%s leads to %s, want %s", c.path, p.path, c.want)
		}
		var want unix.Stat_t
		if err := unix.Lstat(root.Name()+c.want, &want); err != nil || want.Ino != p.stat.Ino {
			t.Errorf("%s: inode %d, want %d (%v)", c.path, p.stat.Ino, want.Ino, err)
		}
		p.close()
	}
	if _, err := resolve(nil, "/", false); err != unix.ENOENT {
		t.Errorf("without a root: %v", err)
	}
}

// Somebody exchanges a directory and a link that leads outside, again and again, while it is walked through.
func TestResolveSwapped(t *testing.T) {
	root := tree(t, "d/secret", "real/secret", "link -> OUTSIDE")
	path := func(name string) string { return filepath.Join(root.Name(), name) }
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			exchange(path("d"), path("link"))
		}
	})
	hits := 0
	for range 5000 {
		p, err := resolve(root, "/d/secret", false)
		if err != nil {
			if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR) {
				t.Error(err)
			}
			continue
		}
		hits++
		buf := make([]byte, 16)
		fd, err := unix.Openat(p.dir, p.name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := unix.Read(fd, buf)
		unix.Close(fd)
		if string(buf[:n]) != "d/secret" {
			t.Fatalf("read %q", buf[:n])
		}
		p.close()
	}
	close(stop)
	swapping.Wait()
	if hits == 0 {
		t.Error("never saw the directory")
	}
}
