package copies

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unused is for how long a copy is kept that nobody uses.
const Unused = 30 * 24 * time.Hour

// ErrBusy is for a store that others are using all the time.
var ErrBusy = errors.New("the store of copies is in use")

// Prune removes copies that have not been used for some time, at least a few hours, with what is left of work that never ended. A copy that has
// just been given away stays, since it was noted as used. The error is ErrBusy, then nothing is removed, or what the system says.
func (s *Store) Prune(unused time.Duration) (removed int, err error) {
	fd, ok := acquire(filepath.Join(s.dir, "lock"), unix.LOCK_EX, time.Second)
	if !ok {
		return 0, ErrBusy
	}
	defer unix.Close(fd)
	all, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, each := range all {
		info, err := each.Info()
		if err != nil {
			continue
		}
		age := time.Since(info.ModTime())
		// Those in the making hold the lock, except where there are no locks.
		if !(isKey(each.Name()) && age > unused || strings.HasPrefix(each.Name(), "new-") && age > touchAfter) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, each.Name())); err != nil {
			faults = append(faults, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(append(faults, s.pruneNotes(indexDir, func(_, text string) string {
		_, copied, _ := parseEntry(text)
		return copied
	}), s.pruneNotes(originDir, func(key, _ string) string { return key }))...)
}

// pruneNotes removes what a folder tells of copies that are not there. about says of which copy a file with a text is.
func (s *Store) pruneNotes(folder string, about func(name, text string) string) error {
	all, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil {
		return err
	}
	var faults []error
	for _, each := range all {
		file := filepath.Join(s.dir, folder, each.Name())
		text, _ := readSmall(file)
		if copied := about(each.Name(), text); copied != "" {
			if _, err := os.Lstat(filepath.Join(s.dir, copied)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		faults = append(faults, os.Remove(file))
	}
	return errors.Join(faults...)
}
