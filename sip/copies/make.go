package copies

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mirrord/sip/patch"
)

// errChanged is for originals that are written to while they are read.
var errChanged = errors.New("it changes while it is being read")

// maxSize bounds what is copied: the offsets in Mach-O files have 32 bits, and no program comes near.
const maxSize = 4<<30 - 1

// identity changes whenever a file's content does (programs cannot set ctime).
type identity struct {
	dev, ino, size uint64
	mtime, ctime   int64 // nanoseconds since 1970
	flags          uint32
}

func identityOf(st *unix.Stat_t) identity {
	return identity{dev: uint64(st.Dev), ino: st.Ino, size: uint64(st.Size), mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), flags: flagsOf(st)}
}

// identify looks at what is at path. The error says why there can be no copy of it.
func identify(path string) (identity, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(&st), usable(path, &st)
}

// usable says whether a file can be a program of which there is a copy.
func usable(path string, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return &fs.PathError{Op: "copy", Path: path, Err: syscall.EISDIR}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is no regular file", path)
	case st.Size == 0:
		return fmt.Errorf("%s is empty", path)
	case st.Size > maxSize:
		return fmt.Errorf("%s has %d bytes, and a program has at most 4 GiB", path, st.Size)
	}
	return nil
}

// entry is the name of the file of the index for this state of an original.
func (id identity) entry(path, arch string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %q %+v", patch.Version, build(), arch, path, id))
	return hex.EncodeToString(sum[:])
}

// made is a copy that has no name yet.
type made struct {
	key    string
	origin string // the original's path, without symbolic links
	layout layout
	size   int64 // bytes
}

// place makes a copy in a folder of its own and gives that its name. copied is relative to the store.
func (s *Store) place(path, arch string) (copied string, size int64, err error) {
	work, err := os.MkdirTemp(s.dir, "new-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(work)
	file, folder := filepath.Join(work, "file"), filepath.Join(work, "folder")
	m, err := fill(file, path, arch)
	if err != nil {
		return "", 0, err
	}
	if err := m.layout.build(folder, file); err != nil {
		return "", 0, err
	}
	if err := s.remember(m); err != nil {
		return "", 0, err
	}
	copied, to := filepath.Join(m.key, m.layout.name), filepath.Join(s.dir, m.key)
	for range 2 {
		if err = os.Rename(folder, to); err == nil || s.check(copied, m.size) == nil {
			return copied, m.size, nil
		}
		// What has the name is not what was made under it.
		if err := os.RemoveAll(to); err != nil {
			return "", 0, err
		}
	}
	return "", 0, err
}

// remember notes whose copies have a key, and how they are called: paths have no zero bytes.
func (s *Store) remember(m made) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, originDir), "new-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(m.layout.name + "\x00" + m.origin)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, originDir, m.key))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// fill writes a copy of path into a new file.
func fill(file, path, arch string) (m made, err error) {
	// O_NONBLOCK: if a FIFO took the file's place meanwhile, open must not wait for a writer.
	from, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return m, err
	}
	defer from.Close()
	before, err := state(from)
	if err != nil {
		return m, err
	}
	if m.origin, err = filepath.EvalSymlinks(path); err != nil {
		return m, err
	}
	if there, err := identify(m.origin); err != nil || there != before {
		return m, errors.Join(errChanged, err)
	}
	to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return m, err
	}
	defer to.Close()
	if arch == "" {
		err = m.whole(to, from, path, int64(before.size))
	} else {
		err = m.slice(to, from, arch, int64(before.size))
	}
	if after, changed := state(from); changed != nil || after != before {
		return m, errors.Join(errChanged, changed)
	}
	if err != nil {
		return m, err
	}
	info, err := to.Stat()
	if err != nil {
		return m, err
	}
	m.size = info.Size()
	return m, errors.Join(to.Chmod(modeOfCopy), to.Sync(), to.Close())
}

// slice writes a slice of a Mach-O program.
func (m *made) slice(to io.Writer, from io.ReaderAt, arch string, size int64) error {
	o := patch.Options{Arch: arch, Path: m.origin}
	c, err := patch.Make(to, from, size, o)
	if o.KeepPaths = errors.Is(err, patch.ErrNoRoom); o.KeepPaths {
		c, err = patch.Make(to, from, size, o)
	}
	if err != nil {
		return err
	}
	if m.layout, err = layoutOf(m.origin, c, o.KeepPaths); err != nil {
		return err
	}
	m.key = c.Key
	return nil
}

func state(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, err
	}
	return identityOf(&st), usable(f.Name(), &st)
}

// magics begin programs. Nothing else is copied: a script's name is its own business.
var magics = [][]byte{[]byte("\x7fELF"), {0xcf, 0xfa, 0xed, 0xfe}, {0xca, 0xfe, 0xba, 0xbe}}

// whole writes the whole file. It is named as it was called, since Linux names processes so.
func (m *made) whole(to io.Writer, from io.ReaderAt, path string, size int64) error {
	r := io.NewSectionReader(from, 0, size)
	head := make([]byte, 4)
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	if !slices.ContainsFunc(magics, func(magic []byte) bool { return bytes.Equal(magic, head) }) {
		return errors.New("it is no program: it begins neither as an ELF nor as a Mach-O file")
	}
	content := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(to, content), struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return err
	}
	m.layout = layout{name: filepath.Base(path)}
	m.key = patch.Key("", path, [sha256.Size]byte(content.Sum(nil)))
	return nil
}

// explain adds what can be done about an error, if that is known.
func (s *Store) explain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room in " + s.dir
	case errors.Is(err, fs.ErrPermission):
		hint = "only programs that you may read can be copied"
	}
	if hint == "" || strings.Contains(err.Error(), "hint:") {
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}
