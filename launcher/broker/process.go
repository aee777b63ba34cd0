package broker

import (
	"sync"
	"time"

	"mirrord/launcher/events"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// processes are those that said hello.
type processes struct {
	mu       sync.Mutex
	injected map[int]struct{}
}

// Injected reports whether a process with this id has said hello.
func (b *Broker) Injected(pid int) bool {
	b.processes.mu.Lock()
	defer b.processes.mu.Unlock()
	_, ok := b.processes.injected[pid]
	return ok
}

// hello notes a process and gives it the rules, which are none when it is skipped: that was said when it was executed. The kernel knows its id better than itself, which may live in another pid namespace.
func (b *Broker) hello(from asker, m *frame.HelloRequest) answer {
	pid := int(m.PID)
	if who, ok := from.peer(); ok {
		pid = who.PID
	}
	b.note(pid)
	if b.idle != nil && b.Skips(m.Argv0, m.Exe) {
		return descriptor(b.idle.fd, true)
	}
	b.Emit(events.Event{Type: events.ProcessInject, PID: pid, PPID: int(m.PPID), Path: m.Exe})
	return descriptor(b.page.fd, true)
}

// note remembers a process that is inside.
func (b *Broker) note(pid int) {
	b.processes.mu.Lock()
	if b.processes.injected == nil {
		b.processes.injected = map[int]struct{}{}
	}
	b.processes.injected[pid] = struct{}{}
	b.processes.mu.Unlock()
	b.debuggers.Forget(pid)
}

// exec says how a program is to be executed, to who asks; others only tell that they are about to. An exec that will fail by itself is left to do so.
func (b *Broker) exec(from asker, m *frame.ExecRequest) answer {
	who, ok := from.peer()
	asks := m.Flags&frame.ExecAsk != 0 && from.source != nil
	r := sip.Request{Path: m.Path, Argv0: m.Argv0, Cwd: m.Cwd, PathVar: m.PathVar, Search: m.Flags&frame.ExecSearch != 0, AsIs: !asks}
	if m.DeveloperDir != "" {
		r.Env = append(r.Env, "DEVELOPER_DIR="+m.DeveloperDir)
	}
	if m.PathVar != "" {
		r.Env = append(r.Env, "PATH="+m.PathVar)
	}
	if ok {
		r.Caller = &sip.Creds{UID: who.UID, GID: who.GID}
	}
	var v sip.Verdict
	if asks {
		v = b.decidePatiently(from, &r)
	} else {
		v = b.Decide(r)
	}
	b.tellExec(who.PID, m.Path, v)
	return result(execReply(&r, v))
}

// decidePatiently decides while the asker waits, who hears of it that the broker is alive. It puts the words into r if the verdict depends on them.
func (b *Broker) decidePatiently(from asker, r *sip.Request) sip.Verdict {
	stop := from.keepWaiting()
	v := b.Decide(*r)
	stop()
	if !v.AskArgv {
		return v
	}
	words, err := from.argv()
	if err != nil {
		return v
	}
	r.Args = append([]string{}, words[min(1, len(words)):]...) // none at all is an answer, too
	defer from.keepWaiting()()
	return b.Decide(*r)
}

// keepWaiting tells the asker that it is not forgotten, until stop is called.
func (a asker) keepWaiting() (stop func()) {
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(frame.KeepAlive)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				if a.reply(status(frame.StatusWait)) != nil {
					return
				}
			}
		}
	})
	return func() {
		close(ended)
		telling.Wait()
	}
}

// argv asks for the words of the program.
func (a asker) argv() ([]string, error) {
	if err := a.reply(status(frame.StatusArgv)); err != nil {
		return nil, err
	}
	h, fields, err := a.source.next()
	if err != nil {
		return nil, err
	}
	if h.Kind != frame.Argv {
		return nil, frame.ErrMalformed
	}
	var m frame.ArgvRequest
	err = frame.Decode(fields, &m)
	return m.Words, err
}

// tellExec emits what was decided.
func (b *Broker) tellExec(pid int, asked string, v sip.Verdict) {
	e := events.Event{Type: events.ProcessExec, PID: pid, Path: v.Path, Verdict: v.Kind.String(), Reason: v.Reason}
	if len(v.Chain) > 0 {
		e.Path = v.Chain[0]
	}
	if v.Program != e.Path {
		e.Program = v.Program
	}
	if v.Kind == sip.Fails {
		e.Path = asked
		if v.Err != nil {
			e.Reason = v.Err.Error()
		}
	}
	b.Emit(e)
	if v.Kind == sip.Outside {
		e.Type, e.Program = events.ProcessOutside, ""
		b.Emit(e)
	}
}

// execReply is a verdict as the layer carries it out.
func execReply(r *sip.Request, v sip.Verdict) *frame.ExecReply {
	reply := &frame.ExecReply{Verdict: uint8(v.Kind)}
	if v.Kind == sip.Fails {
		return reply
	}
	if v.Light || v.Kind == sip.ExecOnly {
		reply.Flags |= frame.ExecLight
	}
	if v.Variant == sip.VariantARM64e {
		reply.Flags |= frame.ExecARM64e
	}
	if v.Path != r.Path {
		reply.Path = v.Path
	}
	switch {
	case v.Argv != nil:
		reply.Skip, reply.Words = replaced(append([]string{r.Argv0}, r.Args...), v.Argv)
	case v.Words != nil:
		reply.Skip, reply.Words = 1, v.Words
	}
	for _, e := range v.Edits {
		reply.Edits = append(reply.Edits, e.Name+"="+e.Value)
	}
	return reply
}

// replaced says which words stand in the place of how many of the first: argv may be long, and most of it stays.
func replaced(from, to []string) (skip uint16, words []string) {
	same := 0
	for same < min(len(from), len(to)) && from[len(from)-1-same] == to[len(to)-1-same] {
		same++
	}
	return uint16(len(from) - same), to[:len(to)-same]
}
