package copies

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMain makes the test binary a program that copies: MIRRORD_TEST_COPY is the store, then the file, then how many at the same time.
func TestMain(m *testing.M) {
	if dir := os.Getenv("MIRRORD_TEST_COPY"); dir != "" {
		os.Exit(copier(dir, os.Args[1]))
	}
	os.Exit(m.Run())
}

// copier copies a file ten times at once and prints where the copies are.
func copier(dir, file string) int {
	if limit := os.Getenv("MIRRORD_TEST_LIMIT"); limit != "" {
		signal.Ignore(syscall.SIGXFSZ)
		var bytes uint64
		fmt.Sscan(limit, &bytes)
		_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: bytes})
	}
	s, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			copied, err := s.Copy(file, "")
			fmt.Printf("%s %v\n", copied, err)
		})
	}
	all.Wait()
	return 0
}

// program writes a file that begins like one.
func program(t *testing.T, name string, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, append([]byte("\x7fELF"), bytes.Repeat([]byte("mirrord "), size/8)...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache", "copies"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holds are the names in a store, those of locks and notes apart.
func holds(t *testing.T, s *Store) (names []string) {
	t.Helper()
	all, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range all {
		if n := each.Name(); n != "lock" && n != indexDir && n != originDir {
			names = append(names, n)
		}
	}
	return names
}

func copyOf(t *testing.T, s *Store, file string) string {
	t.Helper()
	copied, err := s.Copy(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestCopy(t *testing.T) {
	s, file := open(t), program(t, "tool", 300_000)
	if err := os.Chmod(file, 0o755|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	_ = unix.Setxattr(file, "user.mirrord", []byte("x"), 0) // not every file system has them
	if os.Geteuid() == 0 {
		effective := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		if err := unix.Setxattr(file, "security.capability", effective, 0); err != nil {
			t.Log("without capabilities:", err)
		}
	}
	copied := copyOf(t, s, file)
	var st unix.Stat_t
	if err := unix.Lstat(copied, &st); err != nil || st.Mode != unix.S_IFREG|0o500 || filepath.Base(copied) != "tool" {
		t.Fatalf("%s: mode %#o: %v", copied, st.Mode, err)
	}
	if n, err := unix.Listxattr(copied, make([]byte, 1000)); err != nil && err != unix.ENOTSUP || n > 0 {
		t.Errorf("%d bytes of attributes: %v", n, err)
	}
	want, _ := os.ReadFile(file)
	if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, not %d: %v", len(got), len(want), err)
	}
	if origin, ok := s.Original(copied); !ok || origin != file {
		t.Errorf("original %q, %v", origin, ok)
	}

	// The same again; the same content in another state of the file; the same in another place; another content in the same place.
	later := time.Now().Add(time.Second)
	if again := copyOf(t, s, file); again != copied {
		t.Errorf("another copy: %s", again)
	}
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	if again := copyOf(t, s, file); again != copied {
		t.Errorf("another copy of the same content: %s", again)
	}
	var after unix.Stat_t
	if err := unix.Lstat(copied, &after); err != nil || after.Ino != st.Ino {
		t.Errorf("it was written again: %v", err)
	}
	elsewhere := program(t, "tool", 300_000)
	other := copyOf(t, s, elsewhere)
	if origin, ok := s.Original(other); other == copied || !ok || origin != elsewhere {
		t.Errorf("%s is the copy of two: %q", other, origin)
	}
	if err := os.WriteFile(file, []byte("\x7fELF!"), 0o755); err != nil {
		t.Fatal(err)
	}
	changed := copyOf(t, s, file)
	if got, _ := os.ReadFile(changed); changed == copied || string(got) != "\x7fELF!" {
		t.Errorf("%s holds %d bytes", changed, len(got))
	}
	if names := holds(t, s); len(names) != 3 {
		t.Errorf("%q", names)
	}
}

// A second look at an unchanged original reads nothing of it: what it says there must not matter.
func TestIndex(t *testing.T) {
	s, file := open(t), program(t, "tool", 100)
	copied := copyOf(t, s, file)
	id, err := identify(file)
	if err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(s.dir, indexDir, id.entry(file, ""))
	other := program(t, "other", 5000)
	another := copyOf(t, s, other)
	rel, _ := filepath.Rel(s.dir, another)
	if err := os.WriteFile(entry, fmt.Appendf(nil, "%d %s\n", 5004, rel), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := copyOf(t, s, file); got != another {
		t.Errorf("the index was not used: %s", got)
	}
	for _, text := range []string{"", "104", "104 ", "x y\n", "104 ../tool\n", "104 " + filepath.Base(filepath.Dir(copied)), "104 /bin/true\n", strings.Repeat("1", 2*maxEntry)} {
		if err := os.WriteFile(entry, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := copyOf(t, s, file); got != copied {
			t.Errorf("%.20q: %s", text, got)
		}
	}
}

// What is not as it was made is made again.
func TestTampered(t *testing.T) {
	victim := program(t, "victim", 3000)
	for name, tamper := range map[string]func(file, folder string) error{
		"gone":        func(file, _ string) error { return os.Remove(file) },
		"mode":        func(file, _ string) error { return os.Chmod(file, 0o755) },
		"setuid":      func(file, _ string) error { return os.Chmod(file, 0o500|os.ModeSetuid) },
		"longer":      func(file, _ string) error { return os.Truncate(file, 5000) },
		"link":        func(file, folder string) error { return os.Link(file, folder+"/second") },
		"symlink":     func(file, _ string) error { return errors.Join(os.Remove(file), os.Symlink(victim, file)) },
		"folder gone": func(_, folder string) error { return os.RemoveAll(folder) },
		"folder mode": func(_, folder string) error { return os.Chmod(folder, 0o777) },
		"folder symlink": func(_, folder string) error {
			return errors.Join(os.Rename(folder, folder+"x"), os.Symlink(folder+"x", folder))
		},
		"folder a file": func(_, folder string) error {
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
		},
		"owner":           func(file, _ string) error { return os.Chown(file, 65534, -1) },
		"owner of folder": func(_, folder string) error { return os.Chown(folder, 65534, -1) },
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "owner") && os.Geteuid() != 0 {
				t.Skip("left out: only root can give files away")
			}
			s, file := open(t), program(t, "tool", 3000)
			copied := copyOf(t, s, file)
			if err := tamper(copied, filepath.Dir(copied)); err != nil {
				t.Fatal(err)
			}
			if again := copyOf(t, s, file); again != copied {
				t.Errorf("%s", again)
			}
			var folder, st unix.Stat_t
			err := errors.Join(unix.Lstat(filepath.Dir(copied), &folder), unix.Lstat(copied, &st))
			if me := uint32(os.Geteuid()); err != nil || st.Mode != unix.S_IFREG|0o500 || st.Nlink != 1 || st.Uid != me || folder.Mode != unix.S_IFDIR|0o700 || folder.Uid != me {
				t.Errorf("%+v in %+v, %v", st, folder, err)
			}
			want, _ := os.ReadFile(file)
			if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: %v", len(got), err)
			}
		})
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sparse, err := os.Create(at("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := errors.Join(os.WriteFile(at("empty"), nil, 0o755), os.WriteFile(at("script"), []byte("#!/bin/sh\n"), 0o755), os.WriteFile(at("short"), []byte("\x7fE"), 0o755),
		syscall.Mkfifo(at("fifo"), 0o755), os.Symlink("loop", at("loop")), sparse.Truncate(4<<30)); err != nil {
		t.Fatal(err)
	}
	s := open(t)
	for name, want := range map[string]string{
		"none":   "no such file",
		".":      "is a directory",
		"socket": "is no regular file",
		"fifo":   "is no regular file",
		"empty":  "is empty",
		"sparse": "a program has at most 4 GiB",
		"script": "it is no program",
		"short":  "it is no program",
		"loop":   "too many levels",
	} {
		if copied, err := s.Copy(at(name), ""); err == nil || !strings.Contains(err.Error(), want) || copied != "" {
			t.Errorf("%s: %q, %v", name, copied, err)
		}
	}
	if names := holds(t, s); names != nil {
		t.Errorf("left: %q", names)
	}
}

// A file that grows all the time is never copied in part.
func TestGrowing(t *testing.T) {
	s, file := open(t), program(t, "tool", 32<<20)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = f.Write([]byte("more"))
			}
		}
	}()
	copied, err := s.Copy(file, "")
	close(stop)
	<-done
	f.Close()
	if !errors.Is(err, errChanged) || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("%q, %v", copied, err)
	}
	if names := holds(t, s); names != nil {
		t.Errorf("left: %q", names)
	}
	copyOf(t, s, file)
}

// run runs this binary as a copier and gives what it prints.
func run(t *testing.T, s *Store, file string, change func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], file)
	cmd.Env = append(os.Environ(), "MIRRORD_TEST_COPY="+s.dir)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), os.Stderr
	change(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestManyProcesses(t *testing.T) {
	s, file := open(t), program(t, "tool", 4<<20)
	var all []*exec.Cmd
	for range 50 {
		all = append(all, run(t, s, file, func(*exec.Cmd) {}))
	}
	said := map[string]int{}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(cmd.Stdout.(*bytes.Buffer).String()) {
			said[line]++
		}
	}
	names := holds(t, s)
	if len(names) != 1 {
		t.Fatalf("%q", names)
	}
	if diff := cmp.Diff(map[string]int{filepath.Join(s.dir, names[0], "tool") + " <nil>\n": 500}, said); diff != "" {
		t.Error(diff)
	}
	want, _ := os.ReadFile(file)
	if got, err := os.ReadFile(copyOf(t, s, file)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

// A disk that is full leaves nothing, and the error says what to do.
func TestFullDisk(t *testing.T) {
	s, file := open(t), program(t, "tool", 1<<20)
	t.Run("limit", func(t *testing.T) {
		cmd := run(t, s, file, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "MIRRORD_TEST_LIMIT=100000") })
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if said := cmd.Stdout.(*bytes.Buffer).String(); strings.Count(said, "file too large") != 10 {
			t.Error(said)
		}
		if names := holds(t, s); names != nil {
			t.Errorf("left: %q", names)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		small := filepath.Join(t.TempDir(), "small")
		if err := os.Mkdir(small, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := mountSmall(small); err != nil {
			t.Skip("left out: no file system can be mounted:", err)
		}
		defer func() {
			if err := unmountSmall(small); err != nil {
				t.Error(err)
			}
		}()
		s, err := Open(small)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Copy(file, ""); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "hint: make room in "+small) {
			t.Error(err)
		}
		if names := holds(t, s); names != nil {
			t.Errorf("left: %q", names)
		}
	})
	copyOf(t, s, file)
}

// As somebody else than root: what cannot be read is not copied.
func TestUnreadable(t *testing.T) {
	dir, err := os.MkdirTemp("", "unreadable") // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, theirs := filepath.Join(dir, "tool"), filepath.Join(dir, "store")
	if err := errors.Join(os.WriteFile(file, []byte("\x7fELF"), 0o311), os.Chmod(dir, 0o755), os.Mkdir(theirs, 0o700)); err != nil {
		t.Fatal(err)
	}
	s := &Store{dir: theirs}
	cmd := run(t, s, file, func(cmd *exec.Cmd) {
		if os.Geteuid() != 0 {
			return
		}
		self := filepath.Join(dir, "self") // which nobody can reach
		binary, err := os.ReadFile(os.Args[0])
		if err := errors.Join(err, os.WriteFile(self, binary, 0o755), os.Chown(theirs, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		cmd.Path = self
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	})
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if said := cmd.Stdout.(*bytes.Buffer).String(); strings.Count(said, "permission denied\nhint: only programs that you may read") != 10 {
		t.Error(said)
	}
	if os.Geteuid() == 0 {
		if _, err := Open(theirs); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("root opens a store of another user: %v", err)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("open"), 0o700), os.Chmod(at("open"), 0o777), os.Mkdir(at("readable"), 0o755), os.Symlink(at("readable"), at("link")),
		os.WriteFile(at("file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"open": "other users may write", "link": "is no folder", "file": "not a directory", "a:b": "colons", "readable": "", "new/deep": "",
	} {
		_, err := Open(at(name))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || name != "file" && !strings.Contains(err.Error(), "hint: ")) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(at(name)); want == "" && (err != nil || info.Mode() != fs.ModeDir|0o700) {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	t.Chdir(dir)
	if s, err := Open("new"); err != nil || s.dir != at("new") {
		t.Errorf("%v, %v", s, err)
	}
}

func TestPrune(t *testing.T) {
	s := open(t)
	old, used := copyOf(t, s, program(t, "old", 100)), program(t, "used", 100)
	copied := copyOf(t, s, used)
	long := time.Now().Add(-2 * Unused)
	stale := filepath.Join(s.dir, "new-1234")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filepath.Dir(old), filepath.Dir(copied), stale} {
		if err := os.Chtimes(folder, long, long); err != nil {
			t.Fatal(err)
		}
	}
	copyOf(t, s, used) // notes that it is used

	fd, _ := acquire(filepath.Join(s.dir, "lock"), unix.LOCK_SH, 0)
	if n, err := s.Prune(Unused); n != 0 || !errors.Is(err, ErrBusy) {
		t.Errorf("while somebody is making a copy: %d, %v", n, err)
	}
	unix.Close(fd)
	if n, err := s.Prune(Unused); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if diff := cmp.Diff([]string{filepath.Base(filepath.Dir(copied))}, holds(t, s)); diff != "" {
		t.Error(diff)
	}
	for _, folder := range []string{indexDir, originDir} {
		if left, err := os.ReadDir(filepath.Join(s.dir, folder)); err != nil || len(left) != 1 {
			t.Errorf("%s: %v, %v", folder, left, err)
		}
	}
	if n, err := s.Prune(Unused); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

// Somebody who was stopped while holding a lock delays others, and no more.
func TestPatience(t *testing.T) {
	s, file := open(t), program(t, "tool", 100)
	s.patience = 10 * time.Millisecond
	id, err := identify(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", filepath.Join(indexDir, id.entry(file, ""))} {
		fd, ok := acquire(filepath.Join(s.dir, name), unix.LOCK_EX, 0)
		if !ok {
			t.Fatal(name)
		}
		defer unix.Close(fd)
	}
	copyOf(t, s, file)
}

func TestOriginalOfOthers(t *testing.T) {
	s := open(t)
	copied := copyOf(t, s, program(t, "tool", 100))
	for _, path := range []string{"", "tool", s.dir, filepath.Dir(copied), copied + "x", copied + "/..", filepath.Join(s.dir, "lock"), s.dir + "/../tool", strings.Replace(copied, "/tool", "/./tool", 1)} {
		if origin, ok := s.Original(path); ok {
			t.Errorf("%q: %q", path, origin)
		}
	}
}

func BenchmarkCopyKnown(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "copies"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Copy("/bin/bash", ""); err != nil {
			b.Fatal(err)
		}
	}
}
