package darwin

import (
	"path/filepath"
	"strings"
	"testing"
)

const (
	setPgroup, setSigdef, setSigmask, setExec, setSid, cloexecDefault = "2", "4", "8", "40", "400", "4000" // POSIX_SPAWN_
)

func TestSpawn(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		spawn, report := build(t, "spawn", arch), build(t, "report", arch)
		for _, test := range []struct{ name, flags, what, fds, mask string }{
			{"nothing", "0", "-", "3 4", "0 leader 0"},
			{"close on exec by default", cloexecDefault, "-", "(nothing)", "0 leader 0"},
			{"but for what actions name", cloexecDefault, "inherit", "5 9", "0 leader 0"},
			{"inherit without the default", "0", "inherit", "3 4 5 9", "0 leader 0"},
			{"group", setPgroup, "-", "3 4", "0 leader 1"},
			{"session", setSid, "-", "3 4", "0 leader 1"},
			{"mask", "c", "mask", "3 4", "20000000 leader 0"},
			{"exec in place", setExec, "-", "3 4", "0 leader 1"}, // it is the first process still
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				words := []string{spawn, test.flags, test.what, report, "word"}
				if test.flags == cloexecDefault && test.what == "-" { // stdout too is closed: seen by what comes back from a shell
					run(t, options, nil, words...).want(t, "", 0)
					return
				}
				r := run(t, options, nil, words...)
				if r.code != 0 || r.line("fds") != test.fds || r.line("mask") != test.mask || r.line("argv[1]") != "word" {
					t.Errorf("exit %d; fds %s, want %s; mask %s, want %s\n%s", r.code, r.line("fds"), test.fds, r.line("mask"), test.mask, r.err)
				}
			})
		}
		// SETEXEC turns the process itself into the program: it returns only to say that it cannot.
		pid := run(t, options, nil, spawn, setExec, "-", spawn, setExec, "-", report)
		if pid.code != 0 || pid.line("arch") != arch {
			t.Errorf("%s%s", pid.out, pid.err)
		}
		run(t, options, nil, spawn, setExec, "-", "/not/there").says(t, "spawn: 2 No such file or directory", 2)
		run(t, options, nil, spawn, "0", "-", "/not/there").says(t, "spawn: 2 No such file or directory", 2)
		run(t, options, nil, spawn, "0", "-", "/etc/passwd").says(t, "spawn: 13 Permission denied", 13)
		run(t, options, nil, spawn, "8000", "-", report).says(t, "not modelled: posix_spawn with flags", 134)
	})
}

// What a child may do before its exec. One that takes memory or waits for a lock that a thread of the parent holds is found out, even if it had not hung.
func TestForked(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		forked, report := build(t, "forked", arch), build(t, "report", arch)
		free, inserted := append([]string{"--forked=free"}, options...), append([]string{"--forked=inserted"}, options...)
		if r := run(t, options, nil, forked, "plain", report); r.code != 0 || r.line("arch") != arch {
			t.Errorf("%s%s", r.out, r.err)
		}
		run(t, options, nil, forked, "malloc", report).says(t, "not modelled: _malloc is called between fork and exec, by "+forked, 134)
		run(t, options, nil, forked, "lock", report).says(t, "not modelled: _pthread_mutex_lock is called between fork and exec", 134)
		run(t, free, nil, forked, "malloc", report).says(t, "", 0)
		run(t, free, nil, forked, "lock", report).says(t, "pthread_mutex_lock waits in the child of a fork for what another thread of the parent holds", 134)
		run(t, free, nil, forked, "heap", report).says(t, "malloc in the child of a fork, while strdup of another thread of the parent holds the allocator's", 134)
		run(t, inserted, nil, forked, "malloc", report).says(t, "", 0)
		// A hook that does more than it may is found out as well, even when the program's own calls are not looked at.
		greedy := library(t, "greedy", arch)
		run(t, inserted, inserting(greedy), forked, "plain", report).says(t, "_malloc is called between fork and exec, by "+greedy, 134)
	})
}

// A small shell and a small env work together, and what is inserted follows into each process, unless it is taken away.
func TestChain(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		dir := t.TempDir()
		lib := hook(t, "hook", arch)
		files := table(t, "/bin/sh - "+build(t, "sh", arch), "/usr/bin/env - "+build(t, "env", arch), "/usr/bin/report - "+build(t, "report", arch))
		options = append(options, "--files", files)
		script := write(t, filepath.Join(dir, "script"), []byte("#!/usr/bin/env sh\ncd "+dir+"; report \"$@\"\n"))
		env := append(inserting(lib), "PATH=/bin:/usr/bin")
		r := run(t, options, env, script, "one", "two")
		opened := strings.Contains(r.err, "hook: open "+script)
		if r.line("argv[2]") != "two" || strings.Count(r.err, "hook: begins") != 3 || !opened || r.line("path") != "/usr/bin/report" {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
		r = run(t, options, env, "/usr/bin/env", "-i", "/usr/bin/report")
		if strings.Count(r.err, "begins") != 1 || r.line("env") != "(nothing)" {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
		run(t, options, env, "/bin/sh", "-c", "/usr/bin/env -u DYLD_INSERT_LIBRARIES /not/there").says(t, "env: /not/there: No such file or directory", 127)
	})
}
