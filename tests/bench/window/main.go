//go:build desktop && linux

// Command window measures the view of a session in a real window: how long it does not answer while events come by the thousand, and the memory with many of them. It prints one
// JSON object. What is measured is how long a call on the window's goroutine waits, which is what a key or a press of the mouse would wait too.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"
	"golang.org/x/sys/unix"

	"mirrord/app/console"
	"mirrord/app/look"
	"mirrord/app/session"
	"mirrord/app/ui/live"
	"mirrord/launcher/events"
)

// result is what is printed; times in milliseconds, memory in kB.
type result struct {
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Longest float64 `json:"longest"`
	Over    int     `json:"over"` // waits of more than 50 ms
	Waits   int     `json:"waits"`
	Events  int64   `json:"events"`
	Work    float64 `json:"work"`  // processor time of the window's thread for each drawing, whatever else the machine does
	Empty   int64   `json:"empty"` // memory before the first event
	Full    int64   `json:"full"`  // and after the last
}

func main() {
	rate, length := flag.Int("rate", 5000, "events a second; 0: -fill at once"), flag.Duration("for", 60*time.Second, "how long they come")
	fill, tab := flag.Int("fill", 0, "how many events come before"), flag.Int("tab", live.Events, "the `number` of the view's part that is shown")
	flag.Parse()
	app.SetMetadata(fyne.AppMetadata{ID: "io.mirrord.bench", Migrations: map[string]bool{"fyneDo": true}})
	a := app.NewWithID("io.mirrord.bench")
	a.Settings().SetTheme(look.Theme{})
	model, output := session.NewModel(0), console.New(console.DefaultBytes)
	v := live.New(live.Options{Name: "shop", Command: "npm start", Model: model, Output: output, Now: time.Now, Stop: func() {}, Again: func() {}, Copy: func(string) {}})
	v.Show(*tab)
	w := a.NewWindow("bench")
	w.SetPadded(false)
	w.SetContent(v.Content)
	w.Resize(fyne.NewSize(1100, 720))
	a.Lifecycle().SetOnStarted(func() {
		go func() {
			time.Sleep(2 * time.Second)
			r := result{Empty: resident()}
			if *fill > 0 {
				for n := 0; n < *fill; n += 100 {
					model.Add(batch(n, 100))
				}
				fyne.DoAndWait(v.Update)
				time.Sleep(2 * time.Second)
			}
			measure(&r, v, model, output, *rate, *length)
			r.Full, r.Events = resident(), r.Events+int64(*fill)
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				fmt.Fprintln(os.Stderr, "error:", err)
			}
			fyne.Do(a.Quit)
		}()
	})
	w.ShowAndRun()
}

// measure has events come for a while, draws as the app does, ten times a second at most, and asks all the time whether the window answers.
func measure(r *result, v *live.View, model *session.Model, output *console.Buffer, rate int, length time.Duration) {
	if rate == 0 {
		return
	}
	over, changed := make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(over)
		begin := time.Now()
		for tick := time.NewTicker(10 * time.Millisecond); time.Since(begin) < length; <-tick.C {
			due := int64(time.Since(begin).Seconds() * float64(rate))
			if n := int(due - r.Events); n > 0 {
				model.Add(batch(int(r.Events), n))
				fmt.Fprintf(output, "\x1b[32mGET\x1b[0m /cart/%d \x1b[90m200\x1b[0m %s\n", r.Events, strings.Repeat("·", int(r.Events%40)))
				r.Events = due
			}
		}
	}()
	go func() {
		for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	var drawings atomic.Int64
	go func() {
		for range changed {
			fyne.DoAndWait(v.Update)
			drawings.Add(1)
		}
	}()
	before := work()
	var waits []time.Duration
	for running := true; running; {
		select {
		case <-over:
			running = false
		case <-time.After(2 * time.Millisecond):
			begin := time.Now()
			fyne.DoAndWait(func() {})
			waits = append(waits, time.Since(begin))
		}
	}
	r.Work = (work() - before).Seconds() * 1e3 / float64(max(1, drawings.Load()))
	slices.Sort(waits)
	at := func(q float64) float64 { return waits[int(q*float64(len(waits)-1))].Seconds() * 1e3 }
	r.P50, r.P99, r.Longest, r.Waits = at(0.5), at(0.99), at(1), len(waits)
	for _, one := range waits {
		if one > 50*time.Millisecond {
			r.Over++
		}
	}
}

// work is the processor time that the window's thread has taken so far.
func work() (d time.Duration) {
	fyne.DoAndWait(func() {
		var u unix.Rusage
		if unix.Getrusage(unix.RUSAGE_THREAD, &u) == nil {
			d = time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	})
	return d
}

// batch is n events after the first from.
func batch(from, n int) []events.Event {
	all := make([]events.Event, n)
	for i := range all {
		k := from + i
		ev := events.Event{Time: time.Now(), PID: 4000 + k%7}
		switch k % 4 {
		case 0:
			ev.Type, ev.Op, ev.Path, ev.Took, ev.Bytes = events.File, "open", fmt.Sprintf("/srv/shop/cache/%d/prices.json", k%5000), 0.9, 4096
		case 1:
			ev.Type, ev.Name, ev.Took = events.Name, fmt.Sprintf("inventory-%d.shop", k%100), 1.2
		case 2:
			ev.Type, ev.Address, ev.Name, ev.Took = events.Connect, fmt.Sprintf("10.96.0.%d:8080", k%250), "inventory", 2
		default:
			ev.Type, ev.Port, ev.Peer = events.Incoming, 8080, fmt.Sprintf("10.244.1.7:%d", 30000+k%20000)
		}
		if k%97 == 0 {
			ev.Errno = "ECONNREFUSED"
		}
		all[i] = ev
	}
	return all
}

// resident is the memory of this process, in kB; 0 when the system does not tell.
func resident() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kB int64
	fmt.Sscan(rest, &kB)
	return kB
}
