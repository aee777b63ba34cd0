// Package launches keeps what a user runs: one file for each launch, which is a configuration file of the command line with the key `launch` for what that takes as
// words. So `mirrord exec -f FILE` runs it too.
package launches

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Launch is a saved one.
type Launch struct {
	ID      string   // the file's name without its end; empty: not saved yet
	Name    string   // as people call it
	Folder  string   // where the program starts; absolute
	Command []string // the program and its arguments
	Plain   bool     // run it without mirrord
	Target  Target
	Shared  Shared

	Fault error  // the file cannot be read as a launch; ID and Name are all that is known then
	Last  Result // the zero value: it was never run

	custom bool // its file says more than a Launch has
}

// Target is what it runs in the context of.
type Target struct {
	Context   string `json:"context,omitempty"`   // of the kubeconfig; empty: its current one
	Namespace string `json:"namespace,omitempty"` // empty: the kubeconfig's
	Path      string `json:"path"`                // "deployment/cart", "deployment/cart/container/web", "dir:/home/me/cart"; empty: none was chosen
}

// Result is how a launch ended the last time.
type Result struct {
	Time   time.Time     `json:"time"`
	Took   time.Duration `json:"took"`
	Status *int          `json:"status,omitempty"` // nil when a signal ended it or mirrord failed
	Signal string        `json:"signal,omitempty"`
	Error  string        `json:"error,omitempty"` // mirrord's
}

// OK says whether the program ended well.
func (r Result) OK() bool { return r.Status != nil && *r.Status == 0 && r.Error == "" }

const (
	// maxFile bounds a launch's file, in bytes, as the command line does.
	maxFile = 64 << 10
	// maxLaunches is how many are listed.
	maxLaunches = 1000
)

// Store is the folder of the launches. Its methods may be called concurrently, by several processes too. Errors are in words for people.
type Store struct {
	folder string

	mu      sync.Mutex
	removed struct { // what Restore brings back; empty: nothing
		id   string
		text []byte
	}
}

// Open opens the store in a folder, which is made when something is saved; empty is `mirrord/launches` in the user's configuration folder.
func Open(folder string) (*Store, error) {
	if folder == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("there is no folder to keep launches in: %w", err)
		}
		folder = filepath.Join(base, "mirrord", "launches")
	}
	folder, err := filepath.Abs(folder)
	return &Store{folder: folder}, err
}

// List returns all launches, those that ran last first, then by name. A file that is broken is one with a Fault.
func (s *Store) List() ([]Launch, error) {
	entries, err := os.ReadDir(s.folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the saved launches: %w", err)
	}
	results := s.readState().Results
	var all []Launch
	for _, e := range entries {
		id, isLaunch := strings.CutSuffix(e.Name(), ".json")
		if !isLaunch || strings.HasPrefix(id, ".") || len(all) == maxLaunches {
			continue
		}
		l := s.read(id)
		l.Last = results[id]
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b Launch) int {
		if n := b.Last.Time.Compare(a.Last.Time); n != 0 {
			return n
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return all, nil
}

// read reads one launch; what is wrong is its Fault.
func (s *Store) read(id string) Launch {
	text, err := readFile(s.File(id))
	if err == nil {
		var d document
		if d, err = parse(text); err == nil {
			l := d.launch()
			l.ID = id
			if l.Name == "" {
				l.Name = id
			}
			if len(l.Command) > 0 {
				return l
			}
			err = errors.New("it has no launch.command")
		}
	}
	return Launch{ID: id, Name: id, Fault: fmt.Errorf("%s cannot be used: %w", s.File(id), err)}
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	return os.ReadFile(path)
}

// Save writes a launch and returns it with its ID; keys of its file that a Launch does not have stay as they are.
func (s *Store) Save(l Launch) (Launch, error) {
	d := document{}
	if l.ID != "" {
		if text, err := readFile(s.File(l.ID)); err == nil {
			if known, err := parse(text); err == nil {
				d = known
			}
		}
	}
	return s.write(l, d)
}

// Import saves a new launch on top of a configuration, which is one object of JSON, such as that of a project (cli.Review has it). The launch's own target wins if it has one;
// what is shared is the configuration's.
func (s *Store) Import(l Launch, config []byte) (Launch, error) {
	d, err := parse(config)
	if err != nil {
		return l, fmt.Errorf("the configuration cannot be taken over: %w", err)
	}
	base := d.launch()
	l.ID, l.Shared = "", base.Shared
	if l.Target.Path == "" {
		l.Target = base.Target
	}
	return s.write(l, d)
}

func (s *Store) write(l Launch, d document) (Launch, error) {
	l, text, err := compose(l, d)
	if err != nil {
		return l, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return l, fmt.Errorf("cannot make the folder of launches: %w", err)
	}
	if l.ID == "" {
		if l.ID, err = s.reserve(l.Name); err != nil {
			return l, fmt.Errorf("cannot save %s: %w", l.Name, err)
		}
	}
	if err := replace(s.File(l.ID), text); err != nil {
		return l, fmt.Errorf("cannot save %s: %w", l.Name, err)
	}
	l.Fault, l.custom = nil, d.custom()
	return l, nil
}

// compose is the file of a launch on top of a document, and the launch with a name.
func compose(l Launch, d document) (Launch, []byte, error) {
	switch {
	case len(l.Command) == 0 || l.Command[0] == "":
		return l, nil, errors.New("a launch needs a command")
	case !filepath.IsAbs(l.Folder):
		return l, nil, errors.New("a launch needs a folder to start in")
	case l.Name == "":
		l.Name = strings.Join(l.Command, " ")
	}
	d.put(l)
	text, err := d.text()
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it takes more than %d KiB", maxFile>>10)
	}
	if err != nil {
		err = fmt.Errorf("cannot save %s: %w", l.Name, err)
	}
	return l, text, err
}

// draftTime is how long a draft is kept: a session reads it when it starts.
const draftTime = 24 * time.Hour

// Draft writes the file of a launch that is not to be saved, for one session, and returns its path.
func (s *Store) Draft(l Launch) (file string, err error) {
	l, text, err := compose(l, document{})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder of launches: %w", err)
	}
	old, _ := filepath.Glob(filepath.Join(s.folder, ".draft-*.json"))
	for _, file := range old {
		if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > draftTime {
			os.Remove(file)
		}
	}
	f, err := os.CreateTemp(s.folder, ".draft-*.json")
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", fmt.Errorf("cannot write down %s: %w", l.Name, err)
	}
	return f.Name(), nil
}

// reserve makes an empty file of a name that is free.
func (s *Store) reserve(name string) (id string, err error) {
	base := slug(name)
	for n := 1; n < 1000; n++ {
		id = base
		if n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		f, err := os.OpenFile(s.File(id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			return id, f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", errors.New("too many have this name")
}

// slug is a name as a file of any system can have it.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch isPlain := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'; {
		case isPlain:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 48 {
			break
		}
	}
	if id := strings.Trim(b.String(), "-"); id != "" {
		return id
	}
	return "launch"
}

// replace writes a file whole or not at all.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Remove removes a launch; Restore undoes the last one of this process.
func (s *Store) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = filepath.Base(id)
	text, readErr := os.ReadFile(s.File(id))
	if err := os.Remove(s.File(id)); err != nil {
		return fmt.Errorf("cannot remove the launch: %w", err)
	}
	if readErr == nil {
		s.removed.id, s.removed.text = id, text
	}
	return nil
}

// Restore brings back the launch that was removed last.
func (s *Store) Restore() (Launch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, text := s.removed.id, s.removed.text
	if id == "" {
		return Launch{}, errors.New("nothing was removed")
	}
	if _, err := os.Lstat(s.File(id)); err == nil {
		return Launch{}, fmt.Errorf("there is another launch %s by now", id)
	}
	if err := replace(s.File(id), text); err != nil {
		return Launch{}, fmt.Errorf("cannot bring the launch back: %w", err)
	}
	s.removed.id = ""
	return s.read(id), nil
}

// File is the launch's configuration file.
func (s *Store) File(id string) string { return filepath.Join(s.folder, filepath.Base(id)+".json") }
