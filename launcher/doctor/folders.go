package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mirrord/launcher/run"
	"mirrord/sip/copies"
)

// examineFolders looks at the folders that are used: the cache, from which libraries and copies of programs are loaded, and the one for temporary files.
func examineFolders() []Finding {
	cache, err := run.CacheFolder()
	if err != nil {
		message, hint, _ := strings.Cut(err.Error(), "\nhint: ")
		return []Finding{{Name: "cache", State: Wrong, Message: message, Hint: hint}}
	}
	return []Finding{examineCache(cache, noexec), examineCopies(filepath.Join(cache, "copies")), examineTemp(os.TempDir(), noexec)}
}

// examineCopies looks at the store of copies of programs. It is not made by that.
func examineCopies(folder string) Finding {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return Finding{Name: "copies", State: OK, Message: "no program needed a copy yet"}
	}
	if _, err := copies.Open(folder); err != nil {
		message, hint, _ := strings.Cut(err.Error(), "\nhint: ")
		return Finding{Name: "copies", State: Warning, Message: "programs that need a copy run outside: " + message, Hint: cmp.Or(hint, "rm -r "+folder+", it is made anew")}
	}
	_, size := contents(folder)
	known, _ := os.ReadDir(filepath.Join(folder, "origins"))
	what := "programs have copies"
	if len(known) == 1 {
		what = "program has a copy"
	}
	return Finding{Name: "copies", State: OK, Message: fmt.Sprintf("%d %s in it (%d MiB); what is not used for long is removed", len(known), what, (size+1<<19)>>20)}
}

func examineCache(folder string, noexec func(string) bool) Finding {
	f := Finding{Name: "cache", State: Wrong, Hint: "set XDG_CACHE_HOME to another folder"}
	above := existing(folder)
	switch err := usable(above); {
	case strings.ContainsAny(folder, ": "):
		f.Message = fmt.Sprintf("%q cannot hold the layer: lists of libraries are divided at colons and blanks", folder)
	case err != nil:
		f.Message = fmt.Sprintf("%s cannot be used: %v", folder, err)
	case noexec(above):
		f.Message = folder + " is on a file system from which nothing may be executed (noexec), so no program loads the layer"
	default:
		files, size := contents(folder)
		f.State, f.Hint = OK, ""
		f.Message = fmt.Sprintf("%s is the cache: %s", folder, amount(files, size))
	}
	return f
}

// examineTemp: files of the pod that do not fit into memory go there, and on macOS the broker's socket.
func examineTemp(folder string, noexec func(string) bool) Finding {
	f := Finding{Name: "temporary", State: OK, Message: folder + " is for temporary files"}
	if err := usable(folder); err != nil {
		f.State, f.Message = Wrong, fmt.Sprintf("%s, for temporary files, cannot be used: %v", folder, err)
		f.Hint = "set TMPDIR to a folder that you may write to"
	} else if noexec(folder) {
		f.State, f.Message = Note, f.Message+", none of which may be executed (noexec)"
	}
	return f
}

// existing is the nearest folder above that there is; the rest is made when it is needed.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func contents(folder string) (files int, size int64) {
	_ = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				files++
				size += info.Size()
			}
		}
		return nil // what cannot be read does not count
	})
	return files, size
}

func amount(files int, size int64) string {
	count := fmt.Sprintf("%d files", files)
	if files == 1 {
		count = "1 file"
	}
	switch {
	case files == 0:
		return "empty"
	case size < 1<<20:
		return fmt.Sprintf("%s, %d KiB", count, (size+1<<10-1)>>10)
	}
	return fmt.Sprintf("%s, %d MiB", count, (size+1<<19)>>20)
}

// usable tries whether files can be made in a folder.
func usable(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(path, ".mirrord-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
