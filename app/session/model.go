package session

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"mirrord/launcher/events"
)

// Bounds of what is kept.
const (
	defaultKeep = 100_000
	maxNotices  = 200
	maxPorts    = 200
	maxMarks    = 1000
	maxPhases   = 100
)

// Model is the picture of one session. It is bounded whatever the events say. Its methods may be called concurrently; what they return are copies.
type Model struct {
	mu      sync.Mutex
	now     func() time.Time
	names   pool
	ring    ring
	view    view
	tree    tree
	summary Summary
	took    [kinds]latencies
	rate    rate
	counted map[events.Type]int64 // of those that came
	env     []Variable
	marks   []Mark
	lost    time.Time // when the link was; zero: it is there
}

// NewModel makes an empty one that keeps so many events; 0 is 100,000.
func NewModel(keep int) *Model {
	if keep <= 0 {
		keep = defaultKeep
	}
	return &Model{now: time.Now, ring: ring{keep: keep}, summary: Summary{State: Starting}, counted: map[events.Type]int64{}}
}

// Add adds events in order.
func (m *Model) Add(batch []events.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate.add(m.now(), len(batch))
	for i := range batch {
		ev := &batch[i]
		if row, ok := m.row(ev); ok {
			m.ring.add(row)
			m.tally(ev, &row)
		}
		m.tree.note(ev)
		m.note(ev)
	}
}

// tally counts what kinds are about: not what only goes along with it.
func (m *Model) tally(ev *events.Event, row *Row) {
	t := &m.summary.Tallies[row.Kind]
	if row.Bytes > 0 {
		t.Bytes += row.Bytes
	}
	switch ev.Type {
	case events.File, events.Name, events.Connect:
		if row.Took >= 0 {
			m.took[row.Kind].add(row.Took)
		}
	case events.FileChange, events.Incoming, events.ProcessStarted, events.ProcessInject, events.ProcessOutside, events.ProcessLost, events.Warning, events.Failed, events.Link:
	default:
		return
	}
	t.Count++
	m.counted[ev.Type]++
	if row.bad {
		t.Failed++
	}
}

// note takes in what the summary and the small views are about.
func (m *Model) note(ev *events.Event) {
	s := &m.summary
	switch ev.Type {
	case events.SessionStarted:
		s.ID, s.Target, s.Began = cut(ev.Session), cut(ev.Target), ev.Time
	case events.Phase:
		m.phase(ev)
	case events.ProcessStarted:
		if s.State == Starting {
			s.State = Running
		}
	case events.Environment:
		m.environment(ev)
	case events.Warning:
		if s.Dropped += int64(ev.Lost); ev.Remaining == 0 { // the state says what remains, as long as it does
			m.notice(Notice{Time: ev.Time, Message: ev.Message, Hint: ev.Hint})
		}
	case events.Failed:
		m.notice(Notice{Time: ev.Time, Error: true, Message: ev.Message, Hint: ev.Hint})
	case events.Link:
		m.link(ev)
		if ev.State == "gone" {
			m.notice(Notice{Time: ev.Time, Error: true, Message: ev.Message, Hint: ev.Hint})
		}
	case events.Listen:
		p := Port{Port: ev.Port, Actual: ev.ActualPort, Pod: ev.PodPort}
		if len(s.Ports) < maxPorts && !slices.Contains(s.Ports, p) {
			s.Ports = append(slices.Clone(s.Ports), p)
			slices.SortFunc(s.Ports, func(a, b Port) int { return a.Port - b.Port })
		}
	case events.SessionEnded:
		s.Status, s.Signal, s.Remain = ev.Status, ev.Signal, ev.Remaining
		m.correct(ev)
		if s.State = Ended; ev.Remaining > 0 {
			s.State = Leftover
		} else {
			s.Ended = ev.Time
		}
	}
}

// correct makes the counts those of the session: of events that were dropped it tells at its end. That a name has no address of one kind is not told there, so names stay
// as they were counted.
func (m *Model) correct(ev *events.Event) {
	for t, kind := range map[events.Type]Kind{events.File: Files, events.FileChange: Files, events.Connect: Outgoing, events.Incoming: Incoming} {
		if missing := int64(ev.Succeeded[t]) + int64(ev.Failed[t]) - m.counted[t]; missing > 0 {
			m.summary.Tallies[kind].Count += missing
			m.counted[t] += missing
		}
	}
}

func (m *Model) phase(ev *events.Event) {
	s := &m.summary
	if ev.Phase == "program" && ev.State == "started" {
		s.State, s.Ready, s.Gets = Running, took(ev.Took), cut(ev.Message)
		if s.Target != "" && len(m.marks) == 0 {
			m.mark(Mark{Time: ev.Time, Up: true, Text: "connected"})
		}
		s.Linked = true
	}
	i := slices.IndexFunc(s.Phases, func(p Phase) bool { return p.Name == ev.Phase })
	if s.Phases = slices.Clone(s.Phases); i < 0 {
		if len(s.Phases) == maxPhases {
			return
		}
		i = len(s.Phases)
		s.Phases = append(s.Phases, Phase{Name: cut(ev.Phase)})
	}
	s.Phases[i].State, s.Phases[i].Message, s.Phases[i].Took = cut(ev.State), cut(ev.Message), took(ev.Took)
}

// notice notes a sentence, once however often it is said. Errors find room even when there are many warnings.
func (m *Model) notice(n Notice) {
	s := &m.summary
	n.Message, n.Hint, n.Count = cut(n.Message), cut(n.Hint), 1
	s.Notices = slices.Clone(s.Notices)
	if i := slices.IndexFunc(s.Notices, func(o Notice) bool { return o.Error == n.Error && o.Message == n.Message }); i >= 0 {
		s.Notices[i].Count++
		return
	}
	at := len(s.Notices)
	if n.Error {
		at = slices.IndexFunc(s.Notices, func(o Notice) bool { return !o.Error })
		if at < 0 {
			at = len(s.Notices)
		}
	}
	s.Notices = slices.Insert(s.Notices, at, n)
	s.Notices = s.Notices[:min(len(s.Notices), maxNotices)]
}

func (m *Model) link(ev *events.Event) {
	up := ev.State == "restored"
	mark := Mark{Time: ev.Time, Up: up, Text: cut(ev.Message)}
	if up && !m.lost.IsZero() {
		mark.Away = ev.Time.Sub(m.lost)
		m.lost = time.Time{}
	} else if !up && m.lost.IsZero() {
		m.lost = ev.Time
	}
	m.summary.Linked = up
	m.mark(mark)
}

func (m *Model) mark(mark Mark) {
	if len(m.marks) == maxMarks {
		m.marks = m.marks[1:]
	}
	m.marks = append(m.marks, mark)
}

func (m *Model) environment(ev *events.Event) {
	m.env = nil
	for _, v := range ev.Variables[:min(len(ev.Variables), events.MaxVariables)] {
		one := Variable{Name: cut(v.Name), Local: v.Local, Pod: v.Pod, Final: v.From != "", From: cut(v.From)}
		if v.LocalValue != "" || v.PodValue != "" || v.Value != "" {
			one.Values = &Values{cut(v.LocalValue), cut(v.PodValue), cut(v.Value)}
		}
		m.env = append(m.env, one)
	}
}

// Summary returns what is small.
func (m *Model) Summary() Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.summary // its lists are replaced, never changed
	for kind := range s.Tallies {
		s.Tallies[kind].P50, s.Tallies[kind].P99 = m.took[kind].quantile(0.5), m.took[kind].quantile(0.99)
	}
	s.Rate = m.rate.get(m.now())
	return s
}

// Rows returns at most limit of the newest rows that pass the filter, oldest first, and how many of those that are kept pass. Asking for the same filter again is cheap.
func (m *Model) Rows(f Filter, limit int) (rows []Row, matching int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view.update(f, &m.ring)
	hits := m.view.hits
	matching = len(hits)
	hits = hits[max(0, matching-max(limit, 0)):]
	rows = make([]Row, len(hits))
	for i, n := range hits {
		rows[i] = *m.ring.at(n)
	}
	return rows, matching
}

// Processes returns the tree, depth first; at most 10,000, of which those that have ended are forgotten first.
func (m *Model) Processes() []Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tree.list()
}

// Environment returns the variables, ordered by name; those that are the same everywhere too.
func (m *Model) Environment() []Variable {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.env)
}

// Timeline returns when the link to the pod was there, oldest first; at most 1000.
func (m *Model) Timeline() []Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.marks)
}

// Update changes the summary by what the events do not tell. Its lists may be replaced, not changed.
func (m *Model) Update(change func(*Summary)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.summary)
}

// Notice notes a sentence that is none of the command's. Its Count is set here.
func (m *Model) Notice(n Notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notice(n)
}

// Sweep notes which processes are gone, and says whether any is that was there.
func (m *Model) Sweep(alive func(pid int) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tree.sweep(alive)
}

// rate counts the events of the last second, in tenths of it.
type rate struct {
	counts [10]int
	at     int64 // the tenth that was counted last
}

func (r *rate) advance(now time.Time) {
	tenth := now.UnixMilli() / 100
	for i := max(r.at+1, tenth-9); i <= tenth; i++ {
		r.counts[i%10] = 0
	}
	r.at = max(r.at, tenth)
}

func (r *rate) add(now time.Time, n int) {
	r.advance(now)
	r.counts[r.at%10] += n
}

func (r *rate) get(now time.Time) float64 {
	r.advance(now)
	sum := 0
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum)
}

func number(n int) string { return strconv.Itoa(n) }
