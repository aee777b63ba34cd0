package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// heavy is how often work is repeated that takes seconds.
func heavy(o options) int { return min(o.repeat, 5) }

// smallHTTP measures many small requests.
func smallHTTP(ctx context.Context, s *stage, r *report, o options) error {
	r.section("Small HTTP", "Requests with an answer of 64 bytes from a local server: directly, through a SOCKS proxy (dante, by proxychains4) on this machine, and through the\n"+
		"session to an address of the pod whose route leads to the same server. One thread for each connection; the connect of a new connection counts.\n"+
		"Medians of the runs' p50 and p99, in microseconds.",
		"work", "way", "requests per second", "p50", "p99", "rate of plain", "rate of the proxy", "remarks")
	proxy, dante, err := startProxy(ctx, s)
	missing := ""
	if err != nil {
		missing = "left out: " + err.Error()
	} else {
		defer dante.Close()
		defer proxy.Close()
	}
	host, port, _ := net.SplitHostPort(s.peers.http.Addr().String())
	for _, work := range []struct {
		requests, connections int
		how                   string
	}{{4000, 1, "keep"}, {8000, 32, "keep"}, {800, 1, "new"}, {1600, 32, "new"}} {
		words := func(host, port string) []string {
			return []string{"load", strconv.Itoa(work.requests), strconv.Itoa(work.connections), strconv.Itoa(len(httpBody)), work.how, host, port}
		}
		names, ways := []string{"plain", "mirrord"}, []way{s.plain.way(words(host, port)...), s.near.way(words(podAddr, httpPort)...)}
		if proxy != nil {
			names, ways = append(names, proxy.name), append(ways, proxy.way(words(host, port)...))
		}
		all, err := interleave(o.repeat, ways...)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d connections, kept: `%s`", work.connections, strings.Join(words("HOST", "PORT"), " "))
		if work.how == "new" {
			name = fmt.Sprintf("%d at once, a new connection each: `%s`", work.connections, strings.Join(words("HOST", "PORT"), " "))
		}
		of := func(i, j int) string {
			return fmt.Sprintf("%.2f", all[j].median().Seconds()/all[i].median().Seconds())
		}
		for i, way := range names {
			ofProxy := ""
			if proxy != nil {
				ofProxy = of(i, 2)
			}
			us := func(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1e6) }
			r.row(name, way, perSecond(work.requests, all[i].best())+" / "+perSecond(work.requests, all[i].median()), us(all[i].middle(p50)), us(all[i].middle(p99)),
				of(i, 0), ofProxy, faults(all[i]))
		}
		if proxy == nil {
			r.row(name, "proxychains4 and dante", missing)
		}
	}
	return nil
}

// bulk measures large transfers, alone and many at once.
func bulk(_ context.Context, s *stage, r *report, o options) error {
	r.section("Bulk", fmt.Sprintf("Megabytes per second, of all streams together, from the first connect to the last byte. At a round trip of %s there are two comparisons. Direct is this\n"+
		"kernel's TCP to a network namespace, over TUN devices whose packets are delayed: with the handshake, slow start and windows that a program without\n"+
		"mirrord would have (limits of this kernel: tcp_rmem %s, tcp_wmem %s). The relay is TCP to a relay on this machine which holds the bytes back: no window at\n"+
		"all, which no network has. The link to the pod, the packets and the relay are delayed by the same code. Goal: at %s one stream has at least\n"+
		"0.75 of direct. Slowest / fastest: of the streams' own times.", distance, sysctl("tcp_rmem"), sysctl("tcp_wmem"), distance),
		"round trip", "work", "direct", "relay", "mirrord", "of direct", "of the relay", "goal", "slowest / fastest, direct", "mirrord", "remarks")
	far, linkErr := startLink(distance)
	if linkErr == nil {
		defer far.Close()
		go each(far, serveBulk)
	}
	for _, trip := range []time.Duration{0, distance} {
		for _, work := range []struct{ streams, bytes int }{{1, 256 << 20}, {100, 2 << 20}} {
			for _, direction := range []string{"down", "up"} {
				words := func(host, port string) []string {
					return []string{"bulk", strconv.Itoa(work.streams), strconv.Itoa(work.bytes), direction, host, port}
				}
				to := func(a net.Addr) way {
					host, port, _ := net.SplitHostPort(a.String())
					return s.plain.way(words(host, port)...)
				}
				absent := way{do: func() (sample, error) { return sample{errors: 1, first: fmt.Sprint("no direct way: ", linkErr)}, nil }}
				ways := []way{s.near.way(words(podAddr, bulkPort)...), to(s.peers.bulk.Addr()), absent}
				if trip > 0 {
					ways = []way{s.far.way(words(podAddr, bulkPort)...), absent, to(s.peers.far.Addr())}
					if linkErr == nil {
						ways[1] = to(far.Addr())
					}
				} else {
					ways = ways[:2]
				}
				all, err := interleave(heavy(o), ways...)
				if err != nil {
					return err
				}
				rate := func(s series) string {
					megabytes := float64(work.streams*work.bytes) / 1e6
					return fmt.Sprintf("%.0f / %.0f", megabytes/s.best().Seconds(), megabytes/s.median().Seconds())
				}
				of := func(s series) string { return fmt.Sprintf("%.2f", s.median().Seconds()/all[0].median().Seconds()) }
				spread := func(s series) string {
					if work.streams == 1 {
						return ""
					}
					return fmt.Sprintf("%.2f", s.middle(func(one sample) time.Duration { return time.Duration(1e9 * one.most.Seconds() / one.least.Seconds()) }).Seconds())
				}
				row := []string{trip.String(), "`" + strings.Join(words("HOST", "PORT"), " ") + "`", rate(all[1]), "", rate(all[0]), of(all[1]), "", "",
					spread(all[1]), spread(all[0]), faults(all...)}
				if trip > 0 {
					row[3], row[6] = rate(all[2]), of(all[2])
					if work.streams == 1 {
						row[7] = goal("≥ 0.75", all[1].median().Seconds() >= 0.75*all[0].median().Seconds(), all[:2]...)
					}
				}
				r.row(row...)
			}
		}
	}
	return nil
}

// sysctl is one of the kernel's limits of IPv4; empty where there is none.
func sysctl(name string) string {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/" + name)
	return strings.Join(strings.Fields(string(text)), " ")
}

// waiting measures single questions while something large is under way.
func waiting(_ context.Context, s *stage, r *report, o options) error {
	const times = 200
	r.section("Questions during a transfer", fmt.Sprintf("%d questions one after the other, at a round trip of %s, while the same program does nothing else, downloads without an end over a connection,\n"+
		"or opens a file of 64 MiB of the pod again and again. Milliseconds. Goal: p99 within two round trips.", times, distance),
		"question", "meanwhile", "p50", "p99", "longest", "goal", "remarks")
	for _, question := range [][]string{{"stat", "/data/1024"}, {"resolve", podName}} {
		for _, meanwhile := range [][]string{{"no", "thing"}, {podAddr, bulkPort}, {"file", bigFile}} {
			words := append(append([]string{"during", strconv.Itoa(times)}, meanwhile...), question...)
			one, err := s.far.ask(words...)
			if err != nil {
				return err
			}
			r.row("`"+strings.Join(question, " ")+"`", "`"+strings.Join(words[:4], " ")+"`", ms(one.p50), ms(one.p99), ms(one.most), goal("≤ 2 round trips", one.p99 <= 2*distance, series{one}), faults(series{one}))
		}
	}
	return nil
}

// settled is what the launcher holds; when nothing is open any more, once it has noticed, or after a while.
func settled(i *inner, closed bool) (outer, broker held, err error) {
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		outer, broker, err = launcher(i)
		if err != nil || !closed || broker.fds < 100 || time.Now().After(limit) {
			return outer, broker, err
		}
	}
}

// memory measures what the launcher's processes hold.
func memory(ctx context.Context, s *stage, r *report, o options) error {
	const connections, files = 1000, 10000
	r.section("Memory", "Resident and proportional memory (Rss and Pss of smaps_rollup) of the two processes of a fresh session, in MB. The broker has the agent's half of all\n"+
		"connections as well, because the pod is a directory.",
		"state", "outer Rss", "outer Pss", "broker Rss", "broker Pss", "broker's descriptors", "remarks")
	i, err := startInner(ctx, s, "mirrord", nil, s.session("near", "--progress", "off")...)
	if err != nil {
		return err
	}
	defer i.Close()
	for _, step := range []struct {
		name  string
		words []string
	}{
		{"idle", []string{"stat", "1", "/data/1024"}},
		{strconv.Itoa(connections) + " relayed connections", []string{"hold", strconv.Itoa(connections), podAddr, clientPort}},
		{"closed", []string{"drop"}},
		{strconv.Itoa(files) + " open files of the pod of 1 KiB", []string{"hold", strconv.Itoa(files), "/data/1024"}},
		{"closed", []string{"drop"}},
		{"after 64 MiB over 32 connections at once", []string{"bulk", "32", strconv.Itoa(2 << 20), "down", podAddr, bulkPort}},
	} {
		one, err := i.ask(step.words...)
		if err != nil {
			return err
		}
		outer, broker, err := settled(i, step.words[0] != "hold")
		if err != nil {
			return err
		}
		mb := func(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e3) }
		r.row(step.name+": `"+strings.Join(step.words, " ")+"`", mb(outer.rss), mb(outer.pss), mb(broker.rss), mb(broker.pss), strconv.Itoa(broker.fds), faults(series{one}))
	}
	return nil
}
