package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"mirrord/app/cli"
	"mirrord/app/runner"
	"mirrord/app/session"
	"mirrord/launcher/events"
)

// appEvents has this program tell events as mirrord exec does, instead of measuring: how many, and how many in a second (0: as they come).
const appEvents = "BENCH_APP_EVENTS"

// appModel measures what a session costs the app without its window: reading events, keeping them, and being looked at ten times a second as a view does.
func appModel(ctx context.Context, s *stage, r *report, _ options) error {
	r.section("The app's model of a session", "Events come through a pipe from another process; ten times a second the model is asked for its summary, the newest 200 rows that pass a filter, and the\n"+
		"process tree. CPU is this process's, with the reading; the look is the longest of all, in milliseconds; memory is what the heap has more at the end. Goal: a look within 10 ms, so\n"+
		"that a frame of 50 ms has room for drawing.", "events", "a second", "took (s)", "CPU (s)", "CPU", "longest look", "memory (MiB)", "dropped", "goal")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, plan := range []struct{ count, rate int }{{100_000, 0}, {300_000, 5000}} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		cpu, began := cpuTime(), time.Now()
		tool := &cli.Tool{Path: self, Env: append(os.Environ(), fmt.Sprintf("%s=%d,%d", appEvents, plan.count, plan.rate))}
		one, err := runner.Start(tool, runner.Launch{Command: []string{"program"}, Folder: s.dir}, runner.Options{})
		if err != nil {
			return err
		}
		longest := look(one)
		took, used := time.Since(began), cpuTime()-cpu
		runtime.GC()
		runtime.ReadMemStats(&after)
		sum := one.Model.Summary()
		rate := "as they come"
		if plan.rate > 0 {
			rate = strconv.Itoa(plan.rate)
		}
		var got int64
		for _, t := range sum.Tallies {
			got += t.Count
		}
		r.row(strconv.FormatInt(got, 10), rate, fmt.Sprintf("%.1f", took.Seconds()), fmt.Sprintf("%.2f", used.Seconds()), fmt.Sprintf("%.0f %%", 100*used.Seconds()/took.Seconds()), ms(longest),
			fmt.Sprintf("%.1f", (float64(after.HeapAlloc)-float64(before.HeapAlloc))/(1<<20)), strconv.FormatInt(sum.Dropped, 10), goal("≤ 10", longest <= 10*time.Millisecond))
		runtime.KeepAlive(one)
	}
	return nil
}

// look asks the model as a view does, until the session has ended, and returns how long that took at most.
func look(s *runner.Session) (longest time.Duration) {
	for range s.Changed() {
		began := time.Now()
		s.Model.Summary()
		s.Model.Rows(session.Filter{Kinds: 1 << session.Files, Text: "chunk-1"}, 200)
		s.Model.Processes()
		longest = max(longest, time.Since(began))
	}
	return longest
}

// cpuTime is what this process has used, in user and system mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tellEvents is the other process: a busy web application's files, names and connections.
func tellEvents(plan string) error {
	var count, rate int
	if _, err := fmt.Sscanf(plan, "%d,%d", &count, &rate); err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.NewFile(3, "events"), 16<<10)
	tell := json.NewEncoder(out)
	const every = 10 * time.Millisecond
	began := time.Now()
	status := 0
	for i := 0; i < count; i++ {
		ev := events.Event{Time: time.Now(), Took: float64(i%50) / 10}
		switch i % 4 {
		case 0, 1:
			ev.Type, ev.Op, ev.Path, ev.Bytes = events.File, "open", fmt.Sprintf("/srv/www/assets/%d/chunk-%d.js", i%100, i), int64(i)
		case 2:
			ev.Type, ev.Name = events.Name, fmt.Sprintf("service-%d.shop.svc.cluster.local", i%40)
		case 3:
			ev.Type, ev.Address, ev.Name = events.Connect, fmt.Sprintf("10.96.%d.%d:8080", i%256, i%200), "service.shop"
		}
		if err := tell.Encode(ev); err != nil {
			return err
		}
		if rate > 0 && i%(rate/100) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
			time.Sleep(time.Until(began.Add(time.Duration(i/(rate/100)) * every)))
		}
	}
	if err := tell.Encode(events.Event{Time: time.Now(), Type: events.SessionEnded, Status: &status}); err != nil {
		return err
	}
	return out.Flush()
}
