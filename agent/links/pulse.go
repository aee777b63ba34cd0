package links

import (
	"context"
	"time"
)

// Pulse finds out whether the far end of a link is there, which a network that is cut without a word does not tell. In each beat it asks on all sessions for a sign of
// life, and whatever comes on any of them is one: a session that is busy with a download answers late. changed is told false when nothing has come for patience
// beats, and true when something comes again. Pulse returns when ctx ends.
//
// Beats are counted rather than time: a process that was stopped for a while must not take what waits to be read for silence.
func Pulse(ctx context.Context, beat time.Duration, patience int, changed func(heard bool), sessions ...*Session) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var last uint64
	for missed := 0; ; {
		for _, s := range sessions {
			s.ping()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		sum := uint64(0)
		for _, s := range sessions {
			sum += s.wire.reads.Load()
		}
		switch {
		case sum == last:
			if missed++; missed == patience {
				changed(false)
			}
		case missed >= patience:
			changed(true)
			fallthrough
		default:
			last, missed = sum, 0
		}
	}
}

// ping asks for a sign of life, unless that is unanswered already.
func (s *Session) ping() {
	if s.pinging.CompareAndSwap(false, true) {
		s.later(func() {
			defer s.pinging.Store(false)
			s.mux.Ping()
		})
	}
}
