// Package proposals reads a project's folder and proposes what one may want to run there. It reads the files that say so, bounded and without running anything; a file that
// cannot be read is a Problem, and the others are read all the same.
package proposals

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxFile bounds a file, in bytes; a package.json with all its tools has 20 KiB.
	maxFile = 1 << 20
	// maxOf and maxText bound what one file can propose: how much, and how long a name or detail is, in bytes.
	maxOf   = 100
	maxText = 300
)

// Proposal is a command that a folder suggests.
type Proposal struct {
	Name    string   // "npm run dev"
	Command []string // the words
	Source  string   // the file that says so: "package.json"
	Detail  string   // what it runs, as the file has it; may be empty
}

// Problem is a file that could not be read, in words.
type Problem struct{ File, Error string }

// Folder is what was found in one. Without Proposals there is nothing that is known how to run, which is no error.
type Folder struct {
	Path      string
	Name      string     // that the project has, else the folder's
	Config    string     // the folder's own configuration of mirrord, relative; empty: none
	Pod       bool       // it is a pod directory: a target, not something to run
	Proposals []Proposal // likely ones first
	Problems  []Problem
}

// reader finds proposals in a file of the folder.
type reader struct {
	file string // its name
	read func(f *found, text string) error
}

// readers are in the order in which proposals are shown.
var readers = []reader{
	{"Procfile", readProcfile},
	{"package.json", readPackage},
	{"manage.py", readManage},
	{"pyproject.toml", readPyproject},
	{"go.mod", readGoMod},
	{"Cargo.toml", readCargo},
	{"pom.xml", readPom},
	{"build.gradle", readGradle},
	{"build.gradle.kts", readGradle},
	{"Gemfile", readGemfile},
	{"Makefile", readMakefile},
	{"makefile", readMakefile},
	{"GNUmakefile", readMakefile},
}

// found collects what one file says.
type found struct {
	folder *Folder
	source string
	names  map[string]bool // of the entries of the folder
	count  int
}

// add proposes a command, once.
func (f *found) add(name, detail string, command ...string) {
	same := func(p Proposal) bool { return slices.Equal(p.Command, command) }
	if f.count >= maxOf || slices.ContainsFunc(f.folder.Proposals, same) {
		return
	}
	f.count++
	f.folder.Proposals = append(f.folder.Proposals, Proposal{Name: shown(name), Command: command, Source: f.source, Detail: shown(detail)})
}

// call names the project, unless another file has.
func (f *found) call(name string) {
	if name = shown(name); name != "" && f.folder.Name == filepath.Base(f.folder.Path) {
		f.folder.Name = name
	}
}

// shown is a text that may hold anything as a line of a list.
func shown(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// Read looks at a folder, or at the folder of a file. The error, in words, is that there is no such folder or that it cannot be listed.
func Read(path string) (Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Folder{}, err
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	f := Folder{Path: path, Name: filepath.Base(path)}
	names, err := list(path)
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return f, fmt.Errorf("cannot look into the folder %s: %w", path, err)
	}
	for _, r := range readers {
		if !names[r.file] {
			continue
		}
		text, err := readText(filepath.Join(path, r.file))
		if err == nil {
			err = r.read(&found{folder: &f, source: r.file, names: names}, text)
		}
		if err != nil {
			f.Problems = append(f.Problems, Problem{r.file, shown(err.Error())})
		}
	}
	for _, ext := range []string{"json", "yaml", "yml", "toml"} {
		name := filepath.Join(".mirrord", "mirrord."+ext)
		if _, err := os.Stat(filepath.Join(path, name)); err == nil && f.Config == "" {
			f.Config = name
		}
	}
	f.Pod = names["pod.yaml"] && len(f.Proposals) == 0
	return f, nil
}

// list returns the names of a folder's entries, some thousands at most: what is looked for is near the top of projects.
func list(path string) (map[string]bool, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	const most = 10000
	all, err := dir.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	names := map[string]bool{}
	for _, name := range all {
		names[name] = true
	}
	if len(all) == most { // in so full a folder by asking
		for _, r := range readers {
			if _, err := os.Stat(filepath.Join(path, r.file)); err == nil {
				names[r.file] = true
			}
		}
	}
	return names, nil
}

// readText reads a regular file of text. Others (a FIFO, a device) could keep the reader for ever.
func readText(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", errors.New("it cannot be read: a link that leads nowhere, or no permission")
	case !info.Mode().IsRegular():
		return "", errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", errors.New("it cannot be read: permission denied")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", errors.New("it cannot be read")
	case len(text) > maxFile:
		return "", fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	case !utf8.Valid(text):
		return "", errors.New("it is not UTF-8 text")
	}
	return strings.TrimPrefix(string(text), "\ufeff"), nil
}
