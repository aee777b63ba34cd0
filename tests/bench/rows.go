package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// localWork measures programs that do nothing of which the pod knows.
func localWork(_ context.Context, s *stage, r *report, o options) error {
	r.section("Local work", "Milliseconds. Goal: in a session at most 1.05 of plain. For programs that start programs the empty preload library is the fair\n"+
		"comparison: no layer can beat it.",
		"work", "plain", "empty preload", "mirrord", "empty / plain", "mirrord / plain", "mirrord / empty", "of plain", "of empty", "remarks")
	for _, argv := range [][]string{
		{"find", "/usr"},
		{"node", filepath.Join(s.dir, "modules", "main.js")},
		{"bash", "-c", "for i in {1..300}; do /bin/true; done"},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			r.row("`"+argv[0]+"`", err.Error())
			continue
		}
		words := append([]string{"run"}, argv...)
		all, err := interleave(o.repeat, s.plain.way(words...), s.empty.way(words...), s.near.way(words...))
		if err != nil {
			return err
		}
		plain, empty, layer := all[0], all[1], all[2]
		remarks := faults(all...)
		if plain[0].count != layer[0].count {
			remarks += fmt.Sprintf(" %d lines plainly, %d in the session", plain[0].count, layer[0].count)
		}
		r.row("`"+s.show(strings.Join(argv, " "))+"`", both(plain), both(empty), both(layer), ratios(empty, plain), ratios(layer, plain), ratios(layer, empty),
			within(layer, plain), within(layer, empty), remarks)
	}
	return nil
}

// within says whether local work in a session meets its goal.
func within(layer, other series) string {
	return goal("≤ 1.05", layer.median().Seconds() <= 1.05*other.median().Seconds(), layer)
}

// remoteFiles measures a file that is opened, looked at, read whole and closed.
func remoteFiles(_ context.Context, s *stage, r *report, o options) error {
	r.section("A file of the pod", fmt.Sprintf("Milliseconds for open, fstat, reading all and close, the pod at no distance and at a round trip of %s. Round trips: what the distance adds to the\n"+
		"median, in round trips. The comparison is a file server that is asked for each call (stat, open, every read, close) and is as far away. Goal: one\nround trip up to 64 KiB; the goal's row is the smallest file.", distance),
		"bytes", "how", "0 ms", distance.String(), "round trips", "goal", "remarks")
	for _, size := range fileSizes {
		name := "/data/" + strconv.Itoa(size)
		local := filepath.Join(s.dir, "near", "rootfs", name)
		var servers [2]*remote
		for i, d := range []time.Duration{0, distance} {
			var err error
			if servers[i], err = newRemote(local, d); err != nil {
				return err
			}
			defer servers[i].Close()
		}
		pieces := []int{4096, 128000}
		if size > 1<<20 {
			pieces = pieces[1:] // a minute for what is known
		}
		ways := []way{s.near.way("file", "1", name), s.far.way("file", "1", name)}
		for _, piece := range pieces {
			for i, server := range servers {
				slow := i == 1 && time.Duration(size/piece)*distance > time.Second
				ways = append(ways, way{func() (sample, error) { return server.read(piece) }, slow})
			}
		}
		all, err := interleave(o.repeat, append(ways, s.plain.way("file", "1", local))...)
		if err != nil {
			return err
		}
		here := all[len(all)-1]
		trips := func(near, far series) float64 { return (far.median() - near.median()).Seconds() / distance.Seconds() }
		bytes := strconv.Itoa(size)
		one := trips(all[0], all[1])
		target := ""
		if size <= 64<<10 {
			target = goal("1", one < 1.5, all[:2]...)
		}
		r.row(bytes, "mirrord: `file 1 "+name+"`", both(all[0]), both(all[1]), fmt.Sprintf("%.2f", one), target, faults(all[:2]...))
		for i, piece := range pieces {
			near, far := all[2+2*i], all[3+2*i]
			remark := ""
			if len(far) < o.repeat {
				remark = fmt.Sprintf("at %s measured once", distance)
			}
			r.row(bytes, fmt.Sprintf("a round trip per call, reads of %d bytes", piece), both(near), both(far), fmt.Sprintf("%.2f", trips(near, far)), "", remark)
		}
		r.row(bytes, "local: `file 1 "+s.show(local)+"`", both(here), "", "", "", faults(here))
	}
	return nil
}

// startUp measures whole commands.
func startUp(ctx context.Context, s *stage, r *report, o options) error {
	r.section("Start-up", "Milliseconds from starting a command to its end. Goal: `/bin/true` takes at most 60 ms more than plainly.", "command", "time", "more than plainly", "goal", "remarks")
	for _, argv := range [][]string{{"/bin/true"}, {"node", "-e", "0"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			r.row("`"+argv[0]+"`", err.Error())
			continue
		}
		commands := [][]string{argv, append(s.session("near"), argv...), append(s.session("near", "--progress", "off"), argv...)}
		var ways []way
		for _, c := range commands {
			ways = append(ways, way{do: func() (sample, error) { return runOnce(ctx, s.dir, c) }})
		}
		all, err := interleave(o.repeat, ways...)
		if err != nil {
			return err
		}
		for i, c := range commands {
			more, target := "", ""
			if i > 0 {
				d := all[i].median() - all[0].median()
				more = ms(all[i].best()-all[0].best()) + " / " + ms(d)
				if argv[0] == "/bin/true" {
					target = goal("≤ 60", d <= 60*time.Millisecond, all[i])
				}
			}
			r.row("`"+s.show(strings.Join(c, " "))+"`", both(all[i]), more, target, faults(all[i]))
		}
	}
	return nil
}

// runOnce runs a command to its end. A command that fails is a sample with an error.
func runOnce(ctx context.Context, dir string, argv []string) (sample, error) {
	cmd := command(ctx, dir, argv...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	one := sample{took: time.Since(start)}
	if ctx.Err() != nil {
		return one, ctx.Err()
	}
	if err != nil {
		one.errors, one.first = 1, strings.ReplaceAll(err.Error()+": "+strings.TrimSpace(string(out)), "\n", " ")
	}
	return one, nil
}

// connections measures many new connections one after the other.
func connections(_ context.Context, s *stage, r *report, o options) error {
	const parts = 10
	r.section("New connections in a row", fmt.Sprintf("Connections one after the other to a local server, directly and through the session to an address of the pod whose route leads to the same\n"+
		"server; the one that closes first has the TIME_WAIT. Rates per second: over all, and the best and the median of %d parts. Goal: no error. The broker's\n"+
		"resident memory and descriptors are those before and after each row of the session.", parts),
		"way", "work", "connections", "per second", "best / median part", "goal", "broker", "remarks")
	for _, closes := range []struct{ who, port, direct string }{
		{"server", serverPort, s.peers.server.Addr().String()},
		{"client", clientPort, s.peers.client.Addr().String()},
	} {
		for _, how := range []string{"blocking", "poll"} {
			ip, port, _ := strings.Cut(closes.direct, ":")
			for _, way := range []struct {
				inner    *inner
				ip, port string
			}{{s.plain, ip, port}, {s.near, podAddr, closes.port}} {
				words := []string{"connect", strconv.Itoa(o.connections / parts), way.ip, way.port, how, closes.who}
				before := footprint(way.inner)
				var all series
				for range parts {
					one, err := way.inner.ask(words...)
					if err != nil {
						return err
					}
					all = append(all, one)
				}
				broker := ""
				if way.inner == s.near {
					broker = before + " → " + footprint(way.inner)
				}
				n := o.connections / parts
				r.row(way.inner.name, fmt.Sprintf("%d × `%s`", parts, strings.Join(words, " ")), strconv.Itoa(n*parts), perSecond(n*parts, all.total()),
					perSecond(n, all.best())+" / "+perSecond(n, all.median()), goal("0 errors", true, all), broker, faults(all))
			}
		}
	}
	return nil
}

// calls measures single calls, in a loop.
func calls(_ context.Context, s *stage, r *report, o options) error {
	r.section("Single calls", "Microseconds per call. A call of the pod is compared with the same call to this machine.", "call", "plain", "empty preload", "mirrord", "more than plain", "per second, plain → mirrord", "remarks")
	const small = "/data/1024"
	local := filepath.Join(s.dir, "near", "rootfs", small)
	host, port, _ := strings.Cut(s.peers.client.Addr().String(), ":")
	httpHost, httpAt, _ := strings.Cut(s.peers.http.Addr().String(), ":")
	body := strconv.Itoa(len(httpBody))
	for _, call := range []struct {
		name         string
		n            int
		plain, layer []string // the words after the first and the number
		verb         string
	}{
		{"local open, close", 20000, []string{local}, []string{local}, "open"},
		{"local stat", 20000, []string{local}, []string{local}, "stat"},
		{"open, close of a pod's file of 1 KiB", 500, []string{local}, []string{small}, "open"},
		{"stat of a pod's file", 500, []string{local}, []string{small}, "stat"},
		{"getaddrinfo of a pod's name", 500, []string{"localhost"}, []string{podName}, "resolve"},
		{"connect, close, blocking", 500, []string{host, port, "blocking", "none"}, []string{podAddr, clientPort, "blocking", "none"}, "connect"},
		{"connect, close, with poll", 500, []string{host, port, "poll", "none"}, []string{podAddr, clientPort, "poll", "none"}, "connect"},
		{"HTTP request, one connection", 2000, []string{body, httpHost, httpAt}, []string{body, podAddr, httpPort}, "http"},
	} {
		words := func(rest []string) []string { return append([]string{call.verb, strconv.Itoa(call.n)}, rest...) }
		all, err := interleave(o.repeat, s.plain.way(words(call.plain)...), s.empty.way(words(call.plain)...), s.near.way(words(call.layer)...))
		if err != nil {
			return err
		}
		us := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e6/float64(call.n)) }
		cell := func(s series) string { return us(s.best()) + " / " + us(s.median()) }
		r.row(call.name+": `"+s.show(strings.Join(words(call.layer), " "))+"`", cell(all[0]), cell(all[1]), cell(all[2]), us(all[2].median()-all[0].median()),
			perSecond(call.n, all[0].median())+" → "+perSecond(call.n, all[2].median()), faults(all...))
	}
	return nil
}
