package events

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/events.jsonl")

var (
	then   = time.Date(2026, 11, 21, 7, 0, 0, 123456789, time.UTC)
	status = 3
)

// samples are the types with everything that they may have. What is in the golden file is a promise to those who read events.
var samples = []Event{
	{Type: SessionStarted, Session: "7a5e91a49bd67ef5", Target: "dir:pod", Command: []string{"npm", "start"}},
	{Type: Phase, Phase: "target", State: "done", Message: "dir:pod", Took: 1.5},
	{Type: Environment, Names: []string{"DB_HOST"}, Values: map[string]string{"DB_HOST": "db.internal"},
		Variables: []Variable{{Name: "DB_HOST", Local: true, Pod: true, From: "pod", LocalValue: "127.0.0.1", PodValue: "db.internal", Value: "db.internal"}}},
	{Type: Warning, Message: "it is odd", Hint: "look"},
	{Type: Warning, Message: "7 events were lost", Lost: 7},
	{Type: Warning, Message: "2 processes remain", Hint: "end them", Remaining: 2},
	{Type: Failed, Message: "it broke", Hint: "mend it"},
	{Type: ProcessStarted, PID: 7, PPID: 6, Path: "/usr/bin/node", Verdict: "inject", Reason: "why", Arguments: []string{"npm", "start"}},
	{Type: ProcessExec, PID: 7, Path: "/usr/bin/npm", Program: "/usr/bin/node", Verdict: "copy", Reason: "why"},
	{Type: ProcessInject, PID: 8, PPID: 7, Path: "/usr/bin/node", Verdict: "supervise", Arguments: []string{"node", "app.js"}},
	{Type: ProcessOutside, PID: 8, PPID: 7, Path: "/usr/bin/go", Verdict: "outside", Reason: "static"},
	{Type: ProcessLost, PID: 8, PPID: 7, Path: "/usr/bin/node", Reason: "why"},
	{Type: ProcessStopped, PID: 7, Signal: "SIGTSTP"},
	{Type: ProcessResumed, PID: 7},
	{Type: ProcessExited, PID: 7, Status: &status},
	{Type: ProcessExited, PID: 7, Signal: "SIGTERM"},
	{Type: File, Op: "open", Path: "/srv/data/motd", Bytes: 20, Took: 1.5},
	{Type: File, Op: "open", Path: "/srv/data/motd", Errno: "ENOENT"},
	{Type: FileChange, Op: "rename", Path: "/srv/data/log", Errno: "EACCES"},
	{Type: FileOver, Op: "open", Path: "/srv/data/log"},
	{Type: FileLocal, Op: "open", Path: "/srv/data/log", Errno: "EROFS"},
	{Type: FileLocked, Op: "lock"},
	{Type: Name, Name: "inventory", Took: 1.5, Errno: "NOTFOUND", Reason: "why", Addresses: []string{"10.96.0.7"}},
	{Type: Connect, Address: "10.96.0.7:80", Name: "inventory", Protocol: "udp", Took: 1.5, Errno: "ECONNREFUSED", Reason: "why"},
	{Type: ConnectEnded, Address: "10.96.0.7:80", Name: "inventory", Sent: 78, Received: 1024, Took: 150},
	{Type: ConnectEnded, Path: "/run/db.sock", Protocol: "unix", Sent: 78, Received: 1024, Took: 150},
	{Type: OutgoingLocal, Address: "10.96.0.8:123", Name: "time", Protocol: "udp"},
	{Type: Connect, Path: "/run/db.sock", Protocol: "unix", Errno: "ENOENT"},
	{Type: OutgoingLocal, Path: "/run/log.sock", Protocol: "unix", Reason: "why"},
	{Type: Listen, Port: 80, ActualPort: 41234, PodPort: 8080},
	{Type: Incoming, Port: 80, Peer: "10.244.1.7:5555"},
	{Type: IncomingEnded, Port: 80, Peer: "10.244.1.7:5555", Sent: 1024, Received: 78, Took: 150},
	{Type: Link, State: "lost", Message: "it is lost", Hint: "wait"},
	{Type: Link, State: "restored", Message: "it is there again", Took: 1500},
	{Type: Link, State: "gone", Message: "the pod was deleted", Hint: "start again"},
	{Type: SessionEnded, Status: &status, Remaining: 2, Succeeded: map[Type]int{File: 10, Name: 1}, Failed: map[Type]int{File: 2}},
	{Type: SessionEnded, Signal: "SIGTERM"},
}

// golden gives the fields of each type, by its lines in the golden file.
func golden(t *testing.T) map[Type]map[string]bool {
	t.Helper()
	var lines strings.Builder
	fields := map[Type]map[string]bool{}
	for _, ev := range samples {
		ev.Time = then
		line, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
		var all map[string]any
		if err := json.Unmarshal(line, &all); err != nil {
			t.Fatal(err)
		}
		if fields[ev.Type] == nil {
			fields[ev.Type] = map[string]bool{}
		}
		for name := range all {
			fields[ev.Type][name] = true
		}
		if !fields[ev.Type]["time"] || !fields[ev.Type]["event"] {
			t.Errorf("%s", line)
		}
		delete(fields[ev.Type], "time")
		delete(fields[ev.Type], "event")
	}
	const name = "testdata/events.jsonl"
	if *update {
		if err := os.WriteFile(name, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), lines.String()); diff != "" {
		t.Errorf("(-golden +got):\n%s", diff)
	}
	return fields
}

// constants are the types that event.go declares, with their names in Go.
func constants(t *testing.T) map[string]Type {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Type{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Type" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all[spec.Names[0].Name] = Type(text)
			}
		}
		return true
	})
	return all
}

// Every type has a sample, is in events.md with the fields of its samples, and nothing else is there.
func TestEventsAreDocumented(t *testing.T) {
	fields := golden(t)
	declared := slices.Sorted(maps.Values(constants(t)))
	if diff := cmp.Diff(declared, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("samples (-declared +sampled):\n%s", diff)
	}
	text, err := os.ReadFile("../events.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[Type]map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z.]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[Type(row[1])] = map[string]bool{}
		for _, field := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			documented[Type(row[1])][field[1]] = true
		}
	}
	if diff := cmp.Diff(fields, documented); diff != "" {
		t.Errorf("events.md (-sampled +documented):\n%s", diff)
	}
}

// Every type is emitted somewhere.
func TestEventsAreEmitted(t *testing.T) {
	missing := constants(t)
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "events/") || strings.Contains(path, "progress/") {
			return err
		}
		text, err := os.ReadFile(path)
		for name := range missing {
			if regexp.MustCompile(`\bevents\.` + name + `\b`).Match(text) {
				delete(missing, name)
			}
		}
		return err
	})
	if err != nil || len(missing) > 0 {
		t.Errorf("%v: never emitted: %v", err, missing)
	}
}
