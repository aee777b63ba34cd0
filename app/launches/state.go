package launches

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// maxRecent is how many targets are remembered.
const maxRecent = 10

// state is what changes with each run, apart from the launches' files, which people may keep elsewhere too.
type state struct {
	Results map[string]Result `json:"results"` // by the launch's ID
	Recent  []Target          `json:"recent"`
}

func (s *Store) stateFile() string { return filepath.Join(s.folder, ".state") }

// readState reads the state; one that is broken is empty: nothing of it matters much.
func (s *Store) readState() (all state) {
	if info, err := os.Stat(s.stateFile()); err == nil && info.Mode().IsRegular() && info.Size() < 1<<20 {
		text, _ := os.ReadFile(s.stateFile())
		if json.Unmarshal(text, &all) != nil {
			all = state{}
		}
	}
	if all.Results == nil {
		all.Results = map[string]Result{}
	}
	return all
}

// change changes the state, alone among all processes.
func (s *Store) change(what func(*state)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of launches: %w", err)
	}
	lock, err := os.OpenFile(s.stateFile()+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot note what was run: %w", err)
	}
	defer lock.Close() // which unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("cannot note what was run: %w", err)
	}
	all := s.readState()
	what(&all)
	maps.DeleteFunc(all.Results, func(id string, _ Result) bool {
		_, err := os.Lstat(s.File(id))
		return os.IsNotExist(err)
	})
	text, err := json.Marshal(all)
	if err == nil {
		err = replace(s.stateFile(), text)
	}
	if err != nil {
		return fmt.Errorf("cannot note what was run: %w", err)
	}
	return nil
}

// Ran notes how a launch ended.
func (s *Store) Ran(id string, r Result) error {
	return s.change(func(all *state) { all.Results[id] = r })
}

// Recent returns the targets that were used last, the last first, each once, at most ten.
func (s *Store) Recent() []Target {
	recent := s.readState().Recent
	return recent[:min(len(recent), maxRecent)]
}

// Used notes that a target was chosen.
func (s *Store) Used(t Target) error {
	if t.Path == "" {
		return nil
	}
	return s.change(func(all *state) {
		others := slices.DeleteFunc(all.Recent, func(o Target) bool { return o == t })
		all.Recent = append([]Target{t}, others...)
		all.Recent = all.Recent[:min(len(all.Recent), maxRecent)]
	})
}
