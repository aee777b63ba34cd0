package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// soakHeading begins what `make soak` appends to the results, which a new run of the benchmarks leaves as it is.
const soakHeading = "## Soak"

// sectionHeading begins a section.
const sectionHeading = "\n## "

// report is a Markdown file in the making, which is shown on standard output as it grows.
type report struct{ text bytes.Buffer }

func newReport(s *stage, o options) *report {
	r := &report{}
	r.say("# Benchmarks\n")
	r.say("Written by `make bench` (`BENCH_REPEAT=%d BENCH_CONNECTIONS=%d tests/bench/run`). Nothing here is asserted.\n", o.repeat, o.connections)
	r.say("* date: %s", today())
	r.say("* commit: %s", commit())
	r.say("* machine: %s; %d CPUs%s", output("uname", "-srm"), runtime.NumCPU(), cpuModel())
	r.say("* versions: %s; %s; %s; %s; node %s; %s; %s; %s; %s", output(s.mirrord, "version"), runtime.Version(), output("cc", "--version"),
		output("bash", "--version"), output("node", "--version"), output("find", "--version"),
		output("sshfs", "--version"), output("rclone", "version"), output("danted", "-v"))
	r.say("* load at the start: %s", load())
	r.say("\nThe ways of each row are measured in turn (A B C A B C …), %d times after one round that is not counted, and their best and median are\n"+
		"given as `best / median`. `$D` is a temporary directory. Work is done and timed by one program that was started as\n", o.repeat)
	for _, i := range []*inner{s.plain, s.empty, s.near} {
		r.say("* %s: `%s`", i.name, i.shown)
	}
	return r
}

// say adds a line.
func (r *report) say(format string, args ...any) {
	w := io.MultiWriter(&r.text, os.Stdout)
	fmt.Fprintf(w, format+"\n", args...)
}

// section begins a table.
func (r *report) section(title, about string, columns ...string) {
	r.say("\n## %s\n\n%s\n", title, about)
	r.row(columns...)
	r.say("|%s", strings.Repeat(" --- |", len(columns)))
}

func (r *report) row(cells ...string) { r.say("| %s |", strings.Join(cells, " | ")) }

// write writes the results and keeps what make soak has appended to the file.
func (r *report) write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := r.text.Bytes()
	if i := bytes.Index(old, []byte("\n"+soakHeading)); i >= 0 {
		text = append(text, old[i:]...)
	}
	return os.WriteFile(path, text, 0o644)
}

// replace puts the sections of r in the place of those of the same title, new ones after the others and before what make soak has appended.
func (r *report) replace(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(old)
	for _, section := range strings.Split(r.text.String(), sectionHeading)[1:] {
		title, _, _ := strings.Cut(section, "\n")
		at, end := strings.Index(text, sectionHeading+title+"\n"), len(text)
		if at < 0 {
			if at = strings.Index(text, "\n"+soakHeading); at < 0 {
				at = len(text)
			}
			end = at
		} else if next := strings.Index(text[at+1:], sectionHeading); next >= 0 {
			end = at + 1 + next
		}
		text = text[:at] + sectionHeading + section + text[end:]
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func today() string { return time.Now().UTC().Format("2006-01-02 15:04 MST") }

func commit() string { return output("git", "describe", "--always", "--dirty") }

// output is the first line that a command prints, or why it prints none.
func output(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return fmt.Sprintf("(%s: %v)", argv[0], err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}

// load is the machine's load averages over 1, 5 and 15 minutes, running and all tasks; empty where there is no /proc.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(4, len(fields))], " ")
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(text), "model name\t: ")
	if name, _, ok := strings.Cut(after, "\n"); ok {
		return ", " + name
	}
	return ""
}
