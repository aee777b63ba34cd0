package run

import (
	"time"

	"mirrord/launcher/events"
)

// phases runs a step that the user can see, with a message for when it is done and how long it took. Steps may run side by side.
type phases func(name string, step func() (message string, err error)) error

func newPhases(emit func(events.Event)) phases {
	return func(name string, step func() (string, error)) error {
		emit(events.Event{Type: events.Phase, Phase: name, State: stateStarted})
		began := time.Now()
		message, err := step()
		ev := events.Event{Type: events.Phase, Phase: name, State: stateDone, Message: message, Took: milliseconds(time.Since(began))}
		if err != nil {
			ev.State, ev.Message = stateFailed, firstLine(err)
		}
		emit(ev)
		return err
	}
}

// milliseconds is a time as events tell it, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
