package procs

import "sync"

// lineage does what a child subreaper does on Linux, for systems that have none: a process that has lost its parent is shown as a child of the process
// that keeps the lineage, if it descends from it. Two things tell that: its parent's unique id, which stays what it was at the fork, is that of a process
// that was seen in the session; or its environment has the session's mark.
//
// What slips through is a process whose parent lived for less than the time between two looks at the table and whose environment has no mark, or
// is hidden: the system does that for its own guarded programs.
type lineage struct {
	self   int                   // pid
	marked func(p relative) bool // does its environment say that it is of this session?

	mu      sync.Mutex
	members map[uint64]bool // unique ids of processes of the session, ended ones too
	others  map[uint64]bool // of orphans that are not of the session
}

// relative is a process with what tells its origin.
type relative struct {
	Process
	id, parent uint64 // unique since the system's start, its own and that of the process that forked it; 0 when not known
}

// newLineage begins one: orphans that are there already are others'.
func newLineage(self relative, table []relative, marked func(relative) bool) *lineage {
	l := &lineage{self: self.PID, marked: marked, members: map[uint64]bool{self.id: true}, others: map[uint64]bool{}}
	for _, p := range table {
		if p.PPID == 1 {
			l.others[p.id] = true
		}
	}
	return l
}

// add notes a process of the session.
func (l *lineage) add(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[id] = true
}

// adopt gives the process table with the orphans of the session below the process that keeps the lineage.
func (l *lineage) adopt(table []relative) []Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Process, len(table))
	// Parents may stand behind their children, and an orphan found by its mark makes its children members.
	for found := true; found; {
		found = false
		for _, p := range table {
			if p.id == 0 || l.members[p.id] {
				continue
			}
			if l.members[p.parent] || p.PPID == 1 && l.recognize(p) {
				l.members[p.id] = true
				found = true
			}
		}
	}
	for i, p := range table {
		out[i] = p.Process
		if p.PPID == 1 && p.PID != l.self && l.members[p.id] {
			out[i].PPID = l.self
		}
	}
	return out
}

// recognize looks at an orphan once.
func (l *lineage) recognize(p relative) bool {
	if l.others[p.id] {
		return false
	}
	yes := l.marked(p)
	l.others[p.id] = !yes
	return yes
}
