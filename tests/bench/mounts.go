package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// place is one of the ways to a directory of files.
type place struct {
	name  string
	inner *inner
	dir   string
	fault string // why it is not there
}

// mounts measures files against network file systems.
func mounts(ctx context.Context, s *stage, r *report, o options) error {
	r.section("Files against network file systems", fmt.Sprintf("Milliseconds for open, fstat, reading all and close, and for reading a directory with a stat of each entry. sshfs and rclone, with their defaults, have an\n"+
		"sshd on this machine, directly and through a relay with a round trip of %s, which delays with the code that delays the link to a pod. Each repetition takes a\n"+
		"file or directory that was not looked at before. Goal at %s: small files 5 times as fast as the faster of the two, large ones not slower.", distance, distance),
		"what", "way", "0 ms", distance.String(), "of mirrord's time", "goal", "remarks")
	n := heavy(o)
	fresh := filepath.Join(s.dir, "near", "rootfs", "fresh")
	if err := writeFresh(fresh, n+1, o.entries); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)

	places := [][2]place{{{"mirrord", s.near, "/fresh", ""}, {"mirrord", s.far, "/fresh", ""}}}
	server, err := startSSH(ctx, s)
	if err == nil {
		defer server.Close()
	}
	for _, kind := range []string{"sshfs", "rclone"} {
		var pair [2]place
		for i, trip := range []time.Duration{0, distance} {
			pair[i] = place{name: kind, inner: s.plain}
			if err != nil {
				pair[i].fault = err.Error()
				continue
			}
			address := server.address
			if trip > 0 {
				l, err := startRelay(server.address, trip)
				if err != nil {
					return err
				}
				defer l.Close()
				address = l.Addr().String()
			}
			at, program, err := mount(ctx, s, server, kind, address, fmt.Sprintf("%s-%d", kind, i), fresh)
			if err != nil {
				pair[i].fault = err.Error()
				continue
			}
			defer program.Close()
			pair[i].dir = at
		}
		places = append(places, pair)
	}

	for _, work := range []struct {
		name, verb, file string
		factor           float64
		once             bool
	}{
		{"1 KiB", "file", strconv.Itoa(1 << 10), 5, false},
		{"100 KiB", "file", strconv.Itoa(100 << 10), 5, false},
		{"10 MiB", "file", strconv.Itoa(10 << 20), 1, false},
		{"1 GiB", "file", "big", 1, true},
		{strconv.Itoa(o.entries) + " entries", "list", "list", 1, false},
	} {
		if err := compare(s, r, n, work.name, work.verb, work.file, work.factor, work.once, places); err != nil {
			return err
		}
	}
	return nil
}

// compare measures one work in all places and writes its rows.
func compare(s *stage, r *report, n int, name, verb, file string, factor float64, once bool, places [][2]place) error {
	var ways []way
	for _, pair := range places {
		for _, p := range pair {
			round := -1
			ways = append(ways, way{func() (sample, error) {
				if p.fault != "" {
					return sample{errors: 1, first: "left out: " + p.fault}, nil
				}
				round++
				return p.inner.ask(verb, "1", filepath.Join(p.dir, fmt.Sprintf("%s.%d", file, round)))
			}, once})
		}
	}
	all, err := interleave(n, ways...)
	if err != nil {
		return err
	}
	mine := all[1].median()
	peer := time.Duration(0) // the fastest
	for i := range places[1:] {
		far := all[2*i+3]
		if faults(far) == "" && (peer == 0 || far.median() < peer) {
			peer = far.median()
		}
	}
	for i, pair := range places {
		near, far := all[2*i], all[2*i+1]
		target, remark := "", faults(near, far)
		if i == 0 && peer > 0 {
			target = goal(fmt.Sprintf("≥ %g times as fast", factor), peer.Seconds() >= factor*mine.Seconds(), far)
		}
		if len(far) < n {
			remark = strings.TrimPrefix(remark+"; measured once", "; ")
		}
		r.row(name, pair[0].name, both(near), both(far), fmt.Sprintf("%.2f", far.median().Seconds()/mine.Seconds()), target, remark)
	}
	return nil
}

// writeFresh writes a file of each size and a directory for each round, and one large file.
func writeFresh(dir string, rounds, entries int) error {
	content := make([]byte, 10<<20)
	for i := range content {
		content[i] = byte(i * 7)
	}
	for round := range rounds {
		list := filepath.Join(dir, fmt.Sprintf("list.%d", round))
		if err := os.MkdirAll(list, 0o700); err != nil {
			return err
		}
		for i := range entries {
			if err := os.WriteFile(filepath.Join(list, fmt.Sprintf("entry-%05d", i)), nil, 0o600); err != nil {
				return err
			}
		}
		for _, size := range fileSizes {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.%d", size, round)), content[:size], 0o600); err != nil {
				return err
			}
		}
	}
	big := filepath.Join(dir, "big.0")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(big, 1<<30)
}
