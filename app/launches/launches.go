// Package launches keeps what a user runs: one file for each launch, which is a configuration file of the command line with the key `launch` for what that takes as
// words. So `mirrord exec -f FILE` runs it too.
package launches

import (
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
}

// Target is what it runs in the context of.
type Target struct {
	Context   string // of the kubeconfig; empty: its current one
	Namespace string // empty: the kubeconfig's
	Path      string // "deployment/cart", "deployment/cart/container/web", "dir:/home/me/cart"; empty: none was chosen
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

// Store is the folder of the launches. Its methods may be called concurrently, by several processes too.
type Store struct{}

// Open opens the store in a folder, which is made when something is saved; empty is `mirrord/launches` in the user's configuration folder.
func Open(folder string) (*Store, error) { return &Store{}, nil }

// List returns all launches, those that ran last first. A file that is broken is one with a Fault.
func (s *Store) List() ([]Launch, error) { return nil, nil }

// Save writes a launch and returns it with its ID; keys of its file that a Launch does not have stay as they are.
func (s *Store) Save(l Launch) (Launch, error) { return l, nil }

// Remove removes a launch; Restore undoes the last one of this process.
func (s *Store) Remove(id string) error { return nil }

// Restore brings back the launch that was removed last.
func (s *Store) Restore() (Launch, error) { return Launch{}, nil }

// File is the launch's configuration file.
func (s *Store) File(id string) string { return "" }

// Ran notes how a launch ended.
func (s *Store) Ran(id string, r Result) error { return nil }

// Recent returns the targets that were used last, the last first, each once, at most ten.
func (s *Store) Recent() []Target { return nil }

// Used notes that a target was chosen.
func (s *Store) Used(t Target) error { return nil }

// AsCommand is the launch as one types it in a shell: flags where they can say it, else the file.
func (s *Store) AsCommand(l Launch) string { return "" }
