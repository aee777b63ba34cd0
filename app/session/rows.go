package session

import (
	"strings"
	"unicode/utf8"

	"mirrord/launcher/events"
)

// ring is the last rows, numbered from 1.
type ring struct {
	rows []Row // row number n is at (n-1) % keep
	keep int
	last int64 // number of the newest; 0: none
}

// first is the number of the oldest row.
func (r *ring) first() int64 { return max(1, r.last-int64(len(r.rows))+1) }

func (r *ring) at(number int64) *Row { return &r.rows[(number-1)%int64(r.keep)] }

func (r *ring) add(row Row) {
	r.last++
	row.Number = r.last
	if len(r.rows) < r.keep {
		r.rows = append(r.rows, row)
		return
	}
	*r.at(r.last) = row
}

// view remembers which rows pass a filter, so that asking again looks at new rows only.
type view struct {
	filter Filter
	lower  string // the filter's text
	seen   int64  // number of the last row that was looked at
	hits   []int64
}

// update brings the view up to date.
func (v *view) update(f Filter, r *ring) {
	if f != v.filter {
		*v = view{filter: f, lower: strings.ToLower(f.Text)}
	}
	first := r.first()
	gone := 0
	for gone < len(v.hits) && v.hits[gone] < first {
		gone++
	}
	v.hits = v.hits[gone:]
	for n := max(v.seen+1, first); n <= r.last; n++ {
		if v.passes(r.at(n)) {
			v.hits = append(v.hits, n)
		}
	}
	v.seen = r.last
}

func (v *view) passes(row *Row) bool {
	f := &v.filter
	switch {
	case f.Kinds != 0 && f.Kinds&(1<<row.Kind) == 0, f.Failed && !row.bad:
		return false
	case v.lower == "":
		return true
	}
	return contains(row.Title, v.lower) || contains(row.Detail, v.lower) || contains(row.Errno, v.lower)
}

// contains says whether text has lower, which is in lower case. Names are ASCII mostly, of which no copy is made.
func contains(text, lower string) bool {
	if len(lower) > len(text) {
		return false
	}
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.Contains(strings.ToLower(text), lower)
		}
	}
	for i := 0; i+len(lower) <= len(text); i++ {
		j := 0
		for j < len(lower) && fold(text[i+j]) == lower[j] {
			j++
		}
		if j == len(lower) {
			return true
		}
	}
	return false
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// maxText bounds a title or a detail, in bytes; a path has 4096 at most.
const maxText = 4096

// row is an event as a list shows it; false for what no list shows.
func (m *Model) row(ev *events.Event) (Row, bool) {
	r := Row{Time: ev.Time, Type: ev.Type, Errno: m.names.keep(ev.Errno), Bytes: -1, Took: -1, PID: ev.PID}
	r.bad = ev.Errno != "" && ev.Errno != "NODATA" && !(ev.Type == events.File && (ev.Errno == "ENOENT" || ev.Errno == "ENOTDIR"))
	if ev.Took > 0 {
		r.Took = took(ev.Took)
	}
	var detail string
	switch ev.Type {
	case events.File:
		r.Kind, r.Title, detail = Files, ev.Path, ev.Op
		if ev.Errno == "" {
			r.Bytes = ev.Bytes
		}
	case events.FileChange:
		r.Kind, r.Title, detail = Files, ev.Path, words(ev.Op, "in the pod")
	case events.FileOver:
		r.Kind, r.Title, detail = Files, ev.Path, words(ev.Op, "over the pod's, on this machine")
	case events.FileLocal:
		r.Kind, r.Title, detail = Files, ev.Path, words(ev.Op, "on this machine, not in the pod")
		if ev.Errno != "" {
			detail = words(ev.Op, "neither in the pod nor on this machine, which does not have the folder")
		}
	case events.FileLocked:
		r.Kind, r.Title, detail = Files, "a lock", words(ev.Op, "on this machine: nobody in the pod sees it")
	case events.Name:
		r.Kind, r.Title, detail = Names, ev.Name, words(strings.Join(ev.Addresses, ", "), ev.Reason)
	case events.Connect:
		r.Kind, r.Title, detail = Outgoing, peer(ev), words(ev.Name, ev.Protocol, ev.Reason)
	case events.ConnectEnded:
		r.Kind, r.Title, detail, r.Bytes = Outgoing, peer(ev), words(ev.Name, ev.Protocol, "ended"), ev.Sent+ev.Received
	case events.OutgoingLocal:
		r.Kind, r.Title, detail = Outgoing, peer(ev), words(ev.Name, ev.Protocol, "from this machine", ev.Reason)
	case events.Listen:
		r.Kind, r.Title, detail = Incoming, "port "+number(ev.Port), listens(ev)
	case events.Incoming:
		r.Kind, r.Title, detail = Incoming, ev.Peer, "to port "+number(ev.Port)
	case events.IncomingEnded:
		r.Kind, r.Title, detail, r.Bytes = Incoming, ev.Peer, "to port "+number(ev.Port)+": ended", ev.Sent+ev.Received
	case events.ProcessStarted, events.ProcessExec, events.ProcessInject:
		r.Kind, r.Title, detail = Processes, ev.Path, words(ev.Verdict, ev.Reason)
		r.bad = ev.Verdict == "outside" || ev.Verdict == "fails"
	case events.ProcessOutside, events.ProcessLost:
		r.Kind, r.Title, detail, r.bad = Processes, ev.Path, words("outside", ev.Reason), true
	case events.ProcessStopped:
		r.Kind, r.Title, detail = Processes, "stopped", ev.Signal
	case events.ProcessResumed:
		r.Kind, r.Title = Processes, "goes on"
	case events.ProcessExited:
		r.Kind, r.Title, detail = Processes, "ended", outcome(ev)
	case events.Phase:
		r.Kind, r.Title, detail, r.bad = Messages, ev.Phase, words(ev.State, ev.Message), ev.State == "failed"
	case events.Warning, events.Failed, events.Link:
		r.Kind, r.Title, detail = Messages, ev.Message, ev.Hint
		r.bad = ev.Type != events.Link || ev.State != "restored"
	case events.SessionStarted:
		r.Kind, r.Title, detail = Messages, "session "+ev.Session, ev.Target
	case events.SessionEnded:
		r.Kind, r.Title, detail = Messages, "session ended", outcome(ev)
	default:
		return r, false // of a later version, or the environment, which has a view of its own
	}
	r.Type = events.Type(m.names.keep(string(ev.Type)))
	r.Title, r.Detail = m.names.keep(cut(r.Title)), m.names.keep(cut(detail))
	return r, true
}

// peer is what a connection goes to.
func peer(ev *events.Event) string {
	if ev.Address == "" {
		return ev.Path
	}
	return ev.Address
}

func listens(ev *events.Event) string {
	text := "the program listens"
	if ev.PodPort != 0 && ev.PodPort != ev.Port {
		text += ", in the pod on " + number(ev.PodPort)
	}
	if ev.ActualPort != 0 && ev.ActualPort != ev.Port {
		text += ", on this machine on " + number(ev.ActualPort)
	}
	return text
}

func outcome(ev *events.Event) string {
	switch {
	case ev.Signal != "":
		return ev.Signal
	case ev.Status != nil:
		return "status " + number(*ev.Status)
	}
	return ""
}

// words joins those that there are.
func words(all ...string) string {
	kept := make([]string, 0, 4)
	for _, w := range all {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, ": ")
}

func cut(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// pool keeps one copy of texts that come again and again.
type pool map[string]string

const maxPool = 8192

func (p *pool) keep(text string) string {
	if text == "" {
		return ""
	}
	if known, ok := (*p)[text]; ok {
		return known
	}
	if *p == nil || len(*p) >= maxPool {
		*p = pool{}
	}
	(*p)[text] = text
	return text
}
