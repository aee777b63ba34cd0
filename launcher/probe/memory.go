package probe

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Memory is what is remembered about this machine, in a file of the user's. Processes that write it at the same time lose each other's last words at
// most, which are found out again.
type Memory struct {
	path   string
	system System
	kept   kept
}

// kept is the file.
type kept struct {
	System  System   `json:"system"`
	Results []Result `json:"results"`
	Lost    []Lost   `json:"lost"`
}

// Lost is a program that should have had the layer and did not report.
type Lost struct {
	Path   string    `json:"path"`
	Reason string    `json:"reason"`
	When   time.Time `json:"when"`
}

const (
	maxFile = 1 << 20 // bytes; a larger file is not ours
	maxLost = 100     // programs; the oldest are forgotten
)

// Open reads the memory in a folder, which need not exist. What is malformed, of another system or too old is not remembered.
func Open(folder string, system System) *Memory {
	m := &Memory{path: filepath.Join(folder, "probes.json"), system: system}
	f, err := os.Open(m.path)
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&m.kept)
	}
	if err != nil || m.kept.System != system {
		m.kept = kept{}
	}
	m.kept.System = system
	now := time.Now()
	m.kept.Results = slices.DeleteFunc(m.kept.Results, func(r Result) bool { return !r.Works && old(r.When, now) })
	m.kept.Lost = slices.DeleteFunc(m.kept.Lost, func(l Lost) bool { return old(l.When, now) })
	return m
}

// old is also what is said to be of the future: a clock was set back.
func old(when, now time.Time) bool {
	return now.Sub(when) >= Forgotten || when.After(now.Add(time.Hour))
}

func (m *Memory) result(strategy string) (Result, bool) {
	i := slices.IndexFunc(m.kept.Results, func(r Result) bool { return r.Strategy == strategy })
	if i < 0 {
		return Result{}, false
	}
	return m.kept.Results[i], true
}

// Copies are the results of the strategies that copy a slice, by its architecture.
func (m *Memory) Copies() map[string]bool {
	found := map[string]bool{}
	for _, r := range m.kept.Results {
		if arch, ok := strings.CutPrefix(r.Strategy, CopyOf); ok {
			found[arch] = r.Works
		}
	}
	return found
}

func (m *Memory) setResult(r Result) {
	m.kept.Results = slices.DeleteFunc(m.kept.Results, func(o Result) bool { return o.Strategy == r.Strategy })
	m.kept.Results = append(m.kept.Results, r)
}

// Lost are the programs that were lost on this system in the last day, the latest last.
func (m *Memory) Lost() []Lost { return m.kept.Lost }

// Lose notes that a program was lost.
func (m *Memory) Lose(path, reason string) error {
	m.kept.Lost = slices.DeleteFunc(m.kept.Lost, func(l Lost) bool { return l.Path == path })
	m.kept.Lost = append(m.kept.Lost, Lost{path, reason, time.Now().UTC().Truncate(time.Second)})
	if n := len(m.kept.Lost) - maxLost; n > 0 {
		m.kept.Lost = m.kept.Lost[n:]
	}
	return m.save()
}

// save writes a new file and renames it, so nobody reads half of one.
func (m *Memory) save() (err error) {
	text, err := json.MarshalIndent(m.kept, "", "  ")
	if err != nil {
		return err
	}
	folder := filepath.Dir(m.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".probes-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), m.path)
}
