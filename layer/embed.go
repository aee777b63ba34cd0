// Package layer carries the library that lives inside the user's processes, and puts it where the dynamic linker can load it.
//
// The library is C (src), built by `make build` into lib and embedded here, so the launcher is one file.
package layer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotBuilt says that the launcher was built without its layer (`go build` alone does that).
var ErrNotBuilt = errors.New("this mirrord was built without its layer library")

// Library returns the bytes of the library for this system, or ErrNotBuilt.
func Library() ([]byte, error) { return read(built(), fileName) }

// built is the folder of what was built for this machine.
func built() fs.FS {
	folder, err := fs.Sub(lib, place)
	if err != nil {
		panic(err) // place is no name of a folder
	}
	return folder
}

func read(built fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(built, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotBuilt
	}
	return data, err
}

// Variant is where a variant of the library at path lies, as Extract puts it there; "" is the library itself. The layer knows that rule, too
// (src/exec_darwin.c).
func Variant(path, name string) string {
	if name == "" {
		return path
	}
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + name + ext
}

// Supervise is the variant, of Linux, that is no library but a program (helper/supervise.c): it comes under supervision and executes another in its place.
const Supervise = "supervise"

// Extract makes sure that the library is at <folder>/<hash of the content>/<file name>, with its variants beside it, and returns that path. The
// folder is created with mode 0700, or 0755 for root, whose children may drop their user and must still be able to load it (ld.so also refuses
// what root does not own). What is there already is used only if its content is right, so a damaged or planted file is replaced.
func Extract(folder string) (string, error) { return extract(built(), fileName, variants, folder) }

func extract(built fs.FS, fileName string, variants []string, folder string) (string, error) {
	sum := sha256.New()
	files := map[string][]byte{}
	for _, variant := range append([]string{""}, variants...) {
		name := Variant(fileName, variant)
		data, err := read(built, name)
		if err != nil {
			return "", err
		}
		sum.Write(data)
		files[name] = data
	}
	folderMode, fileMode := fs.FileMode(0o700), fs.FileMode(0o500)
	if os.Geteuid() == 0 {
		folderMode, fileMode = 0o755, 0o555
	}
	place := filepath.Join(folder, hex.EncodeToString(sum.Sum(nil)[:8]))
	if err := os.MkdirAll(place, folderMode); err != nil {
		return "", fmt.Errorf("cannot make the folder for the layer library: %w", err)
	}
	for name, data := range files {
		path := filepath.Join(place, name)
		if isThere(path, data, fileMode) {
			continue
		}
		if err := replace(path, data, fileMode); err != nil {
			return "", fmt.Errorf("cannot write the layer library: %w", err)
		}
	}
	return filepath.Join(place, fileName), nil
}

func isThere(path string, data []byte, mode fs.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode || info.Size() != int64(len(data)) {
		return false
	}
	found, err := os.ReadFile(path)
	return err == nil && bytes.Equal(found, data)
}

// replace writes a new file beside path and renames it, so no process ever loads half a library.
func replace(path string, data []byte, mode fs.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
