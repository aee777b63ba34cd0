// Package progress shows a session's events to the user, on standard error.
//
// The rules of this interface:
//
//   - Nothing is ever printed on standard output: it is the program's.
//   - Until the program starts there is at most one line, which rewrites itself on a terminal and is absent elsewhere.
//   - When all is ready, one line says what the program gets, and where the time went if that was long.
//   - While the program runs we are silent, except for what the user cannot do without now: a warning, a port that is another one here, the
//     program itself running outside.
//   - When it has ended, one line says how much of the pod it used, if anything, and what went differently from what a user may expect is
//     listed: one line per program that ran outside and per path that was written here, a few of each, then their number.
//   - Our lines begin with "mirrord: ", those about our own failures with "error: " and "hint: "; text is lower case, without colours.
//   - What a program reads (json) is events only; "off" leaves failures.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"mirrord/launcher/events"
)

// Mode is how much is shown.
type Mode string

// The modes. Auto is one line when ready and a summary at the end, on a terminal with a line that rewrites itself before.
const (
	Auto  Mode = "auto"
	Plain Mode = "plain" // a line per phase as well, nothing rewritten
	JSON  Mode = "json"  // every event, a line each
	Off   Mode = "off"
)

// ParseMode reads a mode; the names of the leading peer's modes are understood too.
func ParseMode(s string) (Mode, error) {
	switch strings.ToLower(s) {
	case "", "auto", "std", "standard":
		return Auto, nil
	case "plain", "dumb", "simple":
		return Plain, nil
	case "json":
		return JSON, nil
	case "off":
		return Off, nil
	}
	return "", fmt.Errorf("unknown progress mode %q\nhint: it is one of auto, plain, json, off", s)
}

// maxListed is how many programs and paths the summary names, each.
const maxListed = 10

// maxWarnings is how many different warnings are shown while the program runs.
const maxWarnings = 20

// Printer shows events. It is not safe for concurrent use.
type Printer struct {
	w        io.Writer
	mode     Mode
	terminal bool // w is one: a line may rewrite itself
	line     bool // there is such a line now
	running  bool
	phases   []string // that are under way, the oldest first
	slow     []string // phases with their seconds
	warned   map[string]bool
	lost     map[string]bool // programs
	outside  list
	local    list
	nowhere  list
	locked   bool // a file of the pod
	over     int  // paths that were written over the pod's files
}

// New gives a printer on w, which is standard error.
func New(w io.Writer, mode Mode, terminal bool) *Printer {
	return &Printer{w: w, mode: mode, terminal: terminal, warned: map[string]bool{}, lost: map[string]bool{}}
}

// Show shows one event. Errors of the writer are ignored: there is nobody left to tell.
func (p *Printer) Show(ev events.Event) {
	if p.mode == JSON {
		line, _ := json.Marshal(ev)
		_, _ = p.w.Write(append(line, '\n'))
		return
	}
	if ev.Type == events.Failed {
		p.clear()
		p.print("error: "+ev.Message, "hint: ", ev.Hint)
		return
	}
	if p.mode == Off {
		return
	}
	switch ev.Type {
	case events.Phase:
		p.phase(ev)
	case events.Warning, events.Link:
		p.warning(ev)
	case events.ProcessStarted:
		if ev.Verdict == "outside" {
			p.say(fmt.Sprintf("warning: %s runs outside the pod's context: %s", ev.Path, ev.Reason), "")
		}
	case events.ProcessLost:
		p.lostProgram(ev)
	case events.ProcessOutside:
		p.outside.add(ev.Path, ev.Reason)
	case events.FileLocal:
		if ev.Errno != "" {
			p.nowhere.add(ev.Path, "the folder "+filepath.Dir(ev.Path)+" is not on this machine")
		} else {
			p.local.add(ev.Path, "")
		}
	case events.FileLocked:
		p.locked = true
	case events.FileOver:
		p.over++
	case events.Listen:
		if ev.ActualPort != 0 && ev.ActualPort != ev.Port {
			p.say(fmt.Sprintf("port %d: on this machine the program listens on %d instead", ev.Port, ev.ActualPort), "")
		}
	case events.SessionEnded:
		p.summary(ev)
	}
}

func (p *Printer) phase(ev events.Event) {
	ready := ev.Phase == "program" && ev.State == "started"
	p.note(ev)
	switch {
	case ready:
		p.running = true
		p.say("ready"+p.after(ev.Took)+": "+ev.Message, "")
	case ev.Phase == "snapshot" && ev.State == "done":
		p.say("snapshot: "+ev.Message, "")
	case p.mode == Plain && ev.State != "started":
		text := ev.Phase + ": " + ev.State
		if ev.Message != "" {
			text += " (" + ev.Message + ")"
		}
		p.say(text, "")
	case p.mode == Auto && p.terminal && len(p.phases) > 0 && !p.running:
		p.clear()
		p.line = true
		_, _ = fmt.Fprintf(p.w, "mirrord: %s…", p.phases[0])
	}
}

// patience is what nobody wonders about, in milliseconds; of a start that took longer the phases are told that took noticeable.
const (
	patience   = 1000
	noticeable = 100
)

// note keeps count of the phases.
func (p *Printer) note(ev events.Event) {
	if ev.State == "started" {
		p.phases = append(p.phases, ev.Phase)
		return
	}
	p.phases = slices.DeleteFunc(p.phases, func(name string) bool { return name == ev.Phase })
	if ev.Took >= noticeable {
		p.slow = append(p.slow, fmt.Sprintf("%s %.1f", ev.Phase, ev.Took/1000))
	}
}

// after tells how long a start took, in milliseconds, and what of it, if that is worth a word.
func (p *Printer) after(took float64) string {
	if took < patience {
		return ""
	}
	text := fmt.Sprintf(" in %.1f s", took/1000)
	if len(p.slow) > 0 {
		text += " (" + strings.Join(p.slow, ", ") + ")"
	}
	return text
}

func (p *Printer) warning(ev events.Event) {
	if p.warned[ev.Message] || len(p.warned) >= maxWarnings {
		return
	}
	p.warned[ev.Message] = true
	p.say("warning: "+ev.Message, ev.Hint)
}

// lostProgram says it once for a program, however often and for whatever reasons it was lost.
func (p *Printer) lostProgram(ev events.Event) {
	if p.lost[ev.Path] || len(p.lost) >= maxWarnings {
		return
	}
	p.lost[ev.Path] = true
	p.say(fmt.Sprintf("warning: %s runs without the pod's context: %s", ev.Path, ev.Reason), "`mirrord doctor` tells whether programs get the layer on this machine")
}

// summary says what the session was about: how much it used of the pod, and what a user may not expect.
func (p *Printer) summary(ev events.Event) {
	var used []string
	for _, u := range []struct {
		of         events.Type
		what, done string
	}{
		{events.File, "file", "opened"},
		{events.FileChange, "change", "made"},
		{events.Name, "name", "resolved"},
		{events.Connect, "connection", "made"},
		{events.Incoming, "connection", "taken"},
	} {
		if n := ev.Succeeded[u.of]; n > 0 {
			used = append(used, counted(n, u.what)+" "+u.done)
		}
	}
	if n := ev.Failed[events.Name]; n > 0 {
		used = append(used, counted(n, "name")+" not resolved")
	}
	if n := ev.Failed[events.Connect]; n > 0 {
		used = append(used, counted(n, "connection")+" failed")
	}
	if len(used) > 0 {
		p.say("in the pod: "+strings.Join(used, ", "), "")
	}
	p.outside.print(p, "ran outside the pod's context: ")
	p.local.print(p, "written on this machine, not in the pod: ")
	if p.over > 0 {
		p.say("written over the pod's files, on this machine: "+counted(p.over, "path"), "")
	}
	p.nowhere.print(p, "written nowhere: ")
	if p.locked {
		p.say("files of the pod were locked: the locks are this machine's, nobody in the pod sees them", "")
	}
	p.clear()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// say prints a line of ours, with a hint below unless that is empty.
func (p *Printer) say(text, hint string) {
	p.clear()
	p.print("mirrord: "+text, "mirrord: hint: ", hint)
}

func (p *Printer) print(text, prefix, hint string) {
	text = visible(text) + "\n"
	if hint != "" {
		text += prefix + visible(hint) + "\n"
	}
	_, _ = io.WriteString(p.w, text)
}

// clear takes away the line that rewrites itself.
func (p *Printer) clear() {
	if p.line {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.line = false
	}
}

// visible keeps names of files and hosts, which may hold anything, from controlling the terminal. Line ends stay.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}

// list collects names, each once.
type list struct {
	names []string
	seen  map[string]bool
}

func (l *list) add(name, reason string) {
	if l.seen[name] {
		return
	}
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if len(l.seen) < 10000 {
		l.seen[name] = true
	}
	if reason != "" {
		name += ": " + reason
	}
	if len(l.names) < maxListed {
		l.names = append(l.names, name)
	}
}

func (l *list) print(p *Printer, what string) {
	for _, name := range l.names {
		p.say(what+name, "")
	}
	if more := len(l.seen) - len(l.names); more > 0 {
		p.say(fmt.Sprintf("%s%d more (see --events)", what, more), "")
	}
}
