package copies

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// errChanged is for originals that are written to while they are read.
var errChanged = errors.New("it changes while it is being read")

// maxSize bounds what is copied: the offsets in Mach-O files have 32 bits, and no program comes near.
const maxSize = 4<<30 - 1

// formatVersion says how the store's folders look; it is a part of keys.
const formatVersion = "1"

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
	return keyOf(formatVersion, path, arch, build(), fmt.Sprintf("%+v", id))
}

// keyOf is a hash over words, of which none can pass for two.
func keyOf(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// place makes a copy in a folder of its own and gives that its name. copied is relative to the store.
func (s *Store) place(path, arch string) (copied string, size int64, err error) {
	folder, err := os.MkdirTemp(s.dir, "new-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(folder) // gone when it has got its name
	key, name, size, err := fill(folder, path, arch)
	if err != nil {
		return "", 0, err
	}
	if err := s.remember(key, path); err != nil {
		return "", 0, err
	}
	copied, to := filepath.Join(key, name), filepath.Join(s.dir, key)
	for range 2 {
		if err = os.Rename(folder, to); err == nil || s.check(copied, size) == nil {
			return copied, size, nil
		}
		// What has the name is not what was made under it.
		if err := os.RemoveAll(to); err != nil {
			return "", 0, err
		}
	}
	return "", 0, err
}

// remember notes whose copies have this key.
func (s *Store) remember(key, path string) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, originDir), "new-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(path)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, originDir, key))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// fill writes a copy of path into a folder.
func fill(folder, path, arch string) (key, name string, size int64, err error) {
	// O_NONBLOCK: if a FIFO took the file's place meanwhile, open must not wait for a writer.
	from, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", "", 0, err
	}
	defer from.Close()
	before, err := state(from)
	if err != nil {
		return "", "", 0, err
	}
	name = filepath.Base(path)
	to, err := os.OpenFile(filepath.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", "", 0, err
	}
	defer to.Close()
	content := sha256.New()
	if size, err = whole(to, content, from, int64(before.size)); err != nil {
		return "", "", 0, err
	}
	if after, err := state(from); err != nil || after != before || size != int64(before.size) {
		return "", "", 0, errors.Join(errChanged, err)
	}
	if err := errors.Join(to.Chmod(modeOfCopy), to.Sync(), to.Close()); err != nil {
		return "", "", 0, err
	}
	return keyOf(formatVersion, arch, path, string(content.Sum(nil))), name, size, nil
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

// whole copies size bytes, and one more if there is one.
func whole(to io.Writer, content hash.Hash, from io.Reader, size int64) (int64, error) {
	r := io.LimitReader(from, size+1)
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	known := false
	for _, m := range magics {
		known = known || bytes.Equal(m, head)
	}
	if !known {
		return 0, errors.New("it is no program: it begins neither as an ELF nor as a Mach-O file")
	}
	w := io.MultiWriter(to, content)
	if _, err := w.Write(head[:n]); err != nil {
		return 0, err
	}
	rest, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return int64(n) + rest, err
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
