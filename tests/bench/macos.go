package main

import (
	"context"
	"debug/macho"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/launcher/broker"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
	"mirrord/sip"
	"mirrord/sip/copies"
)

const macLibrary = "layer/lib/libmirrord.dylib"

// macPrograms measures the layer for macOS on Linux, in a program that the tests' loader runs.
func macPrograms(ctx context.Context, s *stage, r *report, o options) error {
	const mostBytes = 100 << 10
	r.section("The layer for macOS: size", "Bytes of the library's slices. Goal: 100 KiB each.", "slice", "bytes", "goal", "remarks")
	fat, err := macho.OpenFat(macLibrary)
	if err != nil {
		r.row("", "", "", "left out: "+err.Error())
		return nil
	}
	defer fat.Close()
	for _, a := range fat.Arches {
		r.row(strings.ToLower(strings.TrimPrefix(a.Cpu.String(), "Cpu")), fmt.Sprint(a.Size), goal("≤ 100 KiB", a.Size <= mostBytes), "")
	}

	r.section("The layer for macOS: calls", "Microseconds per call in an x86_64 program for macOS that runs on Linux, in the loader of tests/darwin: the code is the Mac's, the system is not, so these are\n"+
		"no figures of a Mac. An exec is of a file that cannot be executed, whose copy is there; what it takes longer with the layer is the way from the hook to the call.\n"+
		"Goal: 300 µs.",
		"call", "without the layer", "with it", "more", "goal", "remarks")
	m, err := newMac(ctx, s)
	if err != nil {
		r.row("", "", "", "", "", "left out: "+strings.Join(strings.Fields(err.Error()), " "))
		return nil
	}
	defer m.close()
	local := filepath.Join(s.dir, "near", "rootfs", "data", "1024")
	for _, call := range []struct {
		name  string
		times int
		words []string // after the number
	}{
		{"open", 5000, []string{local}},
		{"stat", 5000, []string{local}},
		{"access", 5000, []string{local}},
		{"exec", 200, []string{m.tool, "1024"}},
		{"exec", 200, []string{m.tool, strconv.Itoa(200 << 10)}},
	} {
		words := append([]string{call.name, strconv.Itoa(call.times)}, call.words...)
		all, err := interleave(o.repeat, m.way(ctx, nil, words), m.way(ctx, m.env, words))
		if err != nil {
			return err
		}
		more, target := all[1].median()-all[0].median(), ""
		if call.name == "exec" {
			target = goal("≤ 300", more <= time.Duration(call.times)*300*time.Microsecond, all...)
		}
		r.row("`"+s.show(strings.Join(words, " "))+"`", micros(all[0], call.times), micros(all[1], call.times), fmt.Sprintf("%.2f", more.Seconds()*1e6/float64(call.times)), target, faults(all...))
	}
	return nil
}

// mac is what runs programs for macOS in a session.
type mac struct {
	dir, loader, program string
	tool                 string   // runs as a copy
	env                  []string // that makes a program one of the session
	closers              []func()
}

func newMac(ctx context.Context, s *stage) (m *mac, err error) {
	m = &mac{dir: filepath.Join(s.dir, "mac")}
	m.loader, m.program = filepath.Join(m.dir, "darwin-x86_64"), filepath.Join(m.dir, "macos")
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return nil, err
	}
	if m.tool, err = setgidProgram(s); err != nil {
		return nil, err
	}
	if v := sip.New().Decide(sip.Request{Path: m.tool, Argv0: m.tool, Cwd: m.dir}); v.Kind != sip.Copy {
		return nil, fmt.Errorf("%s: the verdict is %s: %s", m.tool, v.Kind, v.Reason)
	}
	for _, argv := range [][]string{
		{"tests/darwin/loader/build", m.dir},
		{"clang-19", "-fuse-ld=lld", "-target", "x86_64-apple-macos12.0", "-std=gnu17", "-O2", "-nostdlibinc", "-isystem", "layer/include", "-fno-stack-protector", "-nostdlib",
			"-Wl,-undefined,dynamic_lookup,-fixup_chains", "-o", m.program, "tests/bench/inner/macos.c", "layer/libSystem.tbd"},
	} {
		if out, err := command(ctx, ".", argv...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w %s", argv[0], err, out)
		}
	}
	library, err := filepath.Abs(macLibrary)
	if err != nil {
		return nil, err
	}
	b, err := m.broker(ctx, s)
	if err != nil {
		return nil, err
	}
	m.env = []string{"DYLD_INSERT_LIBRARIES=" + library, "MIRRORD_BROKER=" + b.Env()}
	return m, nil
}

// broker serves the near pod as on a Mac, where every program runs as a copy.
func (m *mac) broker(ctx context.Context, s *stage) (*broker.Broker, error) {
	pod, err := target.OpenDir(filepath.Join(s.dir, "near"))
	if err != nil {
		return nil, err
	}
	m.closers = append(m.closers, func() { pod.Close() })
	serving, stop := context.WithCancel(ctx)
	requests, bulk, done, err := serve.Dir(serving, pod)
	m.closers = append(m.closers, stop)
	if err != nil {
		return nil, err
	}
	m.closers = append(m.closers, func() {
		stop()
		<-done
	})
	link, err := links.New(ctx, requests, bulk, "bench")
	if err != nil {
		return nil, err
	}
	table, err := rules.Compile(rules.Input{Mode: string(config.FSRead), TempDir: os.TempDir(), Outgoing: true, Names: true})
	if err != nil {
		return nil, err
	}
	store, err := copies.Open(filepath.Join(s.dir, "copies"))
	if err != nil {
		return nil, err
	}
	engine := sip.New()
	b, err := broker.Start(broker.Options{Link: link, Rules: table, Config: config.Default(), TempDir: m.dir, Paths: true, Emit: func(events.Event) {}, Decide: func(r sip.Request) sip.Verdict {
		v := engine.Decide(r)
		path, err := store.Copy(v.Program, v.Slice)
		if err != nil {
			return sip.Verdict{Kind: sip.Fails, Err: err}
		}
		return v.Copied(path, v.Program)
	}})
	if err != nil {
		return nil, err
	}
	m.closers = append(m.closers, func() { b.Close() })
	return b, nil
}

// way runs the program once, with these variables alone.
func (m *mac) way(ctx context.Context, env, words []string) way {
	return way{do: func() (sample, error) {
		cmd := exec.CommandContext(ctx, m.loader, append([]string{"--machine=intel", m.program}, words...)...)
		cmd.Dir, cmd.Env = m.dir, append([]string{}, env...)
		out, err := cmd.Output()
		ns, wrong := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		if err = errors.Join(err, wrong); err != nil {
			return sample{errors: 1, first: strings.Join(strings.Fields(err.Error()), " ")}, ctx.Err()
		}
		return sample{took: time.Duration(ns)}, nil
	}}
}

func (m *mac) close() {
	for i := len(m.closers) - 1; i >= 0; i-- {
		m.closers[i]()
	}
}
