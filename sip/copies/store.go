// Package copies keeps the copies of programs that run in the originals' place because the originals do not take libraries: on macOS a slice that
// is signed anew, on Linux a program without the rights that its file gives. They lie in a folder of the user's, so that each is made once.
//
//	lock         held for a moment by those who use the store, alone by the one who prunes it
//	index/HASH   what is known of one state of one original: the size of its copy, and where that is
//	KEY/NAME     a copy; KEY is made from its content and the original's path. Some lie deeper, in folders like the original's
//	origins/KEY  the copy's name and the original's path
//	new-*        a copy in the making
//
// A copy is written into a folder of its own, which then gets its name: no copy is ever seen unfinished, and none is ever changed. macOS kills
// programs whose file was written to after its signature had been looked at (developer.apple.com, "Updating Mac Software").
package copies

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/sip/patch"
)

// Store is a folder of copies. Goroutines and processes may use the same one at the same time. It holds no descriptor between calls.
type Store struct {
	dir string
	// patience is how long to wait for others who use the same file: they may have been stopped in the middle, and what they are doing may be
	// done twice.
	patience time.Duration
}

// The folders of a store.
const (
	indexDir  = "index"
	originDir = "origins"
)

const (
	modeOfCopy = 0o500
	maxEntry   = 8 << 10 // bytes of a file of the index or of an origin; paths have at most 4 KiB
	// touchAfter: how old a note of the last use is when the next use replaces it. It is far shorter than what Prune is asked for.
	touchAfter = time.Hour
)

// Open gives the store in dir, which is made if it is not there. Nobody else may enter it: a copy that another user could replace would run as
// this one.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.Contains(dir, ":") {
		return nil, fmt.Errorf("the folder %q cannot hold copies of programs: lists of paths are divided at colons\nhint: give a folder whose path has none", dir)
	}
	for _, each := range []string{dir, filepath.Join(dir, indexDir), filepath.Join(dir, originDir)} {
		if err := os.MkdirAll(each, 0o700); err != nil {
			return nil, fmt.Errorf("the folder for copies of programs: %w", err)
		}
		if err := private(each); err != nil {
			return nil, fmt.Errorf("the folder for copies of programs: %w\nhint: remove it, then it is made anew", err)
		}
	}
	return &Store{dir, 10 * time.Second}, nil
}

// private makes sure that a folder is this user's alone.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no folder", dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d", dir, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("other users may write into %s (mode %#o)", dir, st.Mode&0o777)
	case st.Mode&0o777 != 0o700:
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// Copy gives the path of a copy of file, which is made if there is none. arch is the slice of a Mach-O program that it consists of, as lipo
// names it, signed ad hoc. With "" it is the whole file as it is, of mode 0500, without its other rights, attributes and capabilities.
//
// The copy has the program's name, since systems name processes so: Linux by the path that is executed, macOS without symbolic links. The error
// says what to do about it. It is a *patch.RefusedError, macho.ErrNotMachO or a *macho.FormatError for what is no program that can be copied,
// and fs.ErrPermission and so on where the system's is.
func (s *Store) Copy(file, arch string) (string, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	defer s.lock(filepath.Join(s.dir, "lock"), unix.LOCK_SH)()
	id, err := identify(path)
	if err != nil {
		return "", err
	}
	entry := filepath.Join(s.dir, indexDir, id.entry(path, arch))
	if copied, ok := s.known(entry); ok {
		return copied, nil
	}
	// Of those who need the same copy one makes it and the others wait, so that 50 of them do not write 50.
	defer s.lock(entry, unix.LOCK_EX)()
	if copied, ok := s.known(entry); ok {
		return copied, nil
	}
	for range 3 {
		copied, size, err := s.place(path, arch)
		if errors.Is(err, errChanged) {
			continue
		}
		if refused := (*patch.RefusedError)(nil); errors.As(err, &refused) {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		if err != nil {
			return "", fmt.Errorf("a copy of %s cannot be made: %w", path, s.explain(err))
		}
		if now, err := identify(path); err == nil && now == id {
			// Without it the next one makes the same copy, and finds it there.
			_ = os.WriteFile(entry, fmt.Appendf(nil, "%d %s\n", size, copied), 0o600)
		}
		return filepath.Join(s.dir, copied), nil
	}
	return "", fmt.Errorf("a copy of %s cannot be made: %w\nhint: try again when it is installed", path, errChanged)
}

// known gives the copy that a file of the index tells of, if it is there and as it was made.
func (s *Store) known(entry string) (string, bool) {
	text, err := readSmall(entry)
	if err != nil {
		return "", false
	}
	size, rel, ok := parseEntry(text)
	if !ok || s.check(rel, size) != nil {
		return "", false
	}
	return filepath.Join(s.dir, rel), true
}

// parseEntry reads a file of the index. One that is being written has no line end yet.
func parseEntry(text string) (size int64, copied string, ok bool) {
	text, whole := strings.CutSuffix(text, "\n")
	number, copied, found := strings.Cut(text, " ")
	if _, err := fmt.Sscan(number, &size); err != nil || !whole || !found {
		return 0, "", false
	}
	key, _, deeper := strings.Cut(copied, "/")
	return size, copied, deeper && isKey(key) && filepath.IsLocal(copied)
}

func isKey(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

// check looks whether a copy is still as it was made, and notes that it is used.
func (s *Store) check(rel string, size int64) error {
	key, _, _ := strings.Cut(rel, "/")
	folder := filepath.Join(s.dir, key)
	var dir, st unix.Stat_t
	if err := unix.Lstat(folder, &dir); err != nil {
		return err
	}
	if err := unix.Lstat(filepath.Join(s.dir, rel), &st); err != nil {
		return err
	}
	me := uint32(os.Geteuid())
	switch {
	case dir.Uid != me || dir.Mode&unix.S_IFMT != unix.S_IFDIR || dir.Mode&0o777 != 0o700:
		return fmt.Errorf("%s is not the folder that was made", folder)
	case st.Uid != me || st.Mode != unix.S_IFREG|modeOfCopy || st.Nlink != 1 || st.Size != size:
		return fmt.Errorf("%s is not the file that was made", rel)
	}
	now := time.Now()
	if used := time.Unix(dir.Mtim.Unix()); now.Sub(used) > touchAfter || used.After(now) {
		return os.Chtimes(folder, now, now)
	}
	return nil
}

// Original gives the original of a copy, without symbolic links, and that of what lies beside a copy in a folder like the original's. path is
// absolute and as Copy gave it, or goes on from there. It is false for other paths.
func (s *Store) Original(path string) (string, bool) {
	rel, ok := strings.CutPrefix(path, s.dir+"/")
	key, inside, deeper := strings.Cut(rel, "/")
	if !ok || !deeper || !isKey(key) || !filepath.IsLocal(inside) || filepath.Clean(inside) != inside {
		return "", false
	}
	text, err := readSmall(filepath.Join(s.dir, originDir, key))
	name, origin, ok := strings.Cut(text, "\x00")
	if err != nil || !ok {
		return "", false
	}
	if inside == name {
		return origin, true
	}
	root, ok := strings.CutSuffix(origin, name)
	return root + inside, ok && strings.Contains(name, "/")
}

// readSmall reads a file of the store, which is never a symbolic link.
func readSmall(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [maxEntry]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// lock locks a file of the store and gives the function that unlocks it. Without success after some time, or where the file system has no
// locks, there is none: nothing depends on it but work that is done twice.
func (s *Store) lock(path string, how int) func() {
	fd, ok := acquire(path, how, s.patience)
	if !ok {
		return func() {}
	}
	return func() { unix.Close(fd) }
}

// acquire opens and locks a file. The lock belongs to the descriptor.
func acquire(path string, how int, wait time.Duration) (fd int, ok bool) {
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return -1, false
		}
		if err := unix.Flock(fd, how|unix.LOCK_NB); err == nil {
			return fd, true
		} else if unix.Close(fd); err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(end) {
			return -1, false
		}
	}
}
