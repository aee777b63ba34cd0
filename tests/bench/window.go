package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window measures the app on a screen that nobody sees, drawn by the processor.
func window(ctx context.Context, s *stage, r *report, o options) error {
	r.section("The app's window", "On a screen of 1280x800 that nobody sees (Xvfb), drawn without a graphics card. Waits are how long the window does not answer a call on its own goroutine while it\n"+
		"shows the newest of 5000 events a second; that is what a key would wait. Memory is resident (VmRSS) and has the drawing's own libraries in it. Goals: a window after 0.7 s, no wait above 50 ms.",
		"what", "measured", "goal", "remarks")
	app := filepath.Join(filepath.Dir(s.mirrord), "mirrord-app")
	if _, err := os.Stat(app); err != nil {
		r.row("all", "left out: bin/mirrord-app is not there (`make app`)")
		return nil
	}
	for _, need := range []string{"Xvfb", "xdotool"} {
		if _, err := exec.LookPath(need); err != nil {
			r.row("all", "left out: "+need+" is not there")
			return nil
		}
	}
	display, stop, err := screen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var starts []time.Duration
	var idle []int64
	for range o.repeat {
		took, memory, err := startWindow(ctx, s, app, display)
		if err != nil {
			return err
		}
		starts, idle = append(starts, took), append(idle, memory)
	}
	slices.Sort(starts)
	slices.Sort(idle)
	middle := starts[len(starts)/2]
	r.row("start to the first window", fmt.Sprintf("%d / %d ms", starts[0].Milliseconds(), middle.Milliseconds()), verdict("≤ 700 ms", middle <= 700*time.Millisecond), "best / median, of the whole app")
	r.row("memory of the idle window", fmt.Sprintf("%d MB", idle[len(idle)/2]/1000), "", "two seconds after the start")

	bench := filepath.Join(s.dir, "window")
	if out, err := exec.CommandContext(ctx, "go", "build", "-tags", "desktop", "-ldflags", "-s -w", "-o", bench, "./tests/bench/window").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	for _, one := range []struct {
		name  string
		flags []string
	}{
		{"5000 events/s for 60 s, the list of events", []string{"-for", "60s", "-tab", "1"}},
		{"the same, the console", []string{"-for", "60s", "-tab", "0"}},
		{"100,000 events at once", []string{"-rate", "0", "-fill", "100000"}},
	} {
		cmd := onScreen(exec.CommandContext(ctx, bench, one.flags...), s, display)
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		var got struct {
			P50, P99, Longest, Work float64
			Over, Waits             int
			Events, Empty, Full     int64
		}
		if err := json.Unmarshal(out, &got); err != nil {
			return fmt.Errorf("%s: %w: %.200s", one.name, err, out)
		}
		memory := fmt.Sprintf("%d events; memory %d MB before, %d MB after", got.Events, got.Empty/1000, got.Full/1000)
		if got.Waits == 0 {
			r.row(one.name, fmt.Sprintf("%d MB", got.Full/1000), "", memory)
			continue
		}
		r.row(one.name, fmt.Sprintf("waits %.1f / %.1f / %.0f ms", got.P50, got.P99, got.Longest), verdict("none above 50 ms", got.Over == 0),
			fmt.Sprintf("p50 / p99 / longest; %d of %d above 50 ms; %.1f ms of processor time for each drawing; %s", got.Over, got.Waits, got.Work, memory))
	}
	return nil
}

func verdict(goal string, met bool) string {
	if met {
		return goal + ": met"
	}
	return goal + ": missed"
}

// screen starts one and returns its name.
func screen(ctx context.Context) (display string, stop func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, "Xvfb", "-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset") // its last client must not have it begin anew
	cmd.ExtraFiles = []*os.File{write}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	name := make([]byte, 16)
	n, err := read.Read(name)
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("Xvfb: %w", err)
	}
	return ":" + strings.TrimSpace(string(name[:n])), stop, nil
}

// onScreen gives a command the screen, and folders of its own.
func onScreen(cmd *exec.Cmd, s *stage, display string) *exec.Cmd {
	home := filepath.Join(s.dir, "home of the window")
	_ = os.MkdirAll(filepath.Join(home, ".cache"), 0o700)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "DISPLAY=" + display, "LIBGL_ALWAYS_SOFTWARE=1", "LANG=en_US.UTF-8", "SHELL=/bin/sh"}
	return cmd
}

// startWindow starts the app, and ends it when its window was there for two seconds.
func startWindow(ctx context.Context, s *stage, app, display string) (took time.Duration, memory int64, err error) {
	cmd := onScreen(exec.CommandContext(ctx, app), s, display)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	patient, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	find := onScreen(exec.CommandContext(patient, "xdotool", "search", "--sync", "--onlyvisible", "--pid", strconv.Itoa(cmd.Process.Pid)), s, display)
	if out, err := find.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("there is no window: %w %s", err, out)
	}
	took = time.Since(begin)
	time.Sleep(2 * time.Second)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(rest, &memory)
	return took, memory, err
}
