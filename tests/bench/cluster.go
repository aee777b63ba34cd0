package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clusterPods are the target, and the pod that it talks to; both serve what the benchmarks ask for (serveCluster).
const clusterPods = `
{apiVersion: v1, kind: Pod, metadata: {name: near}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: "mirrord-bench:dev", imagePullPolicy: IfNotPresent, args: [-serve]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: "mirrord-bench:dev", imagePullPolicy: IfNotPresent, args: [-serve]}]}}
`

// clusterHTTP is the pods' port for small requests.
const clusterHTTP = "8080"

// serveCluster is what the pods run: small requests, and the peers on their ports.
func serveCluster() error {
	ports := map[string]func(net.Conn){clientPort: func(c net.Conn) { io.Copy(c, c) }, bulkPort: serveBulk}
	for port, serve := range ports {
		l, err := net.Listen("tcp4", ":"+port)
		if err != nil {
			return err
		}
		go each(l, serve)
	}
	return http.ListenAndServe(":"+clusterHTTP, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Served-By", "pod")
		io.WriteString(w, httpBody)
	}))
}

// clusterStage is a namespace with the pods, and inner programs.
type clusterStage struct {
	*stage
	namespace string
	address   string // of the far pod
}

func (s *clusterStage) kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "kubectl", append([]string{"-n", s.namespace}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// exec is the beginning of a command line that runs something in the near pod's context.
func (s *clusterStage) exec(flags ...string) []string {
	return append(append([]string{s.mirrord, "exec", "-n", s.namespace, "-t", "pod/near", "--progress", "off"}, flags...), "--")
}

// environment is what kubectl and the launcher need to know of the cluster.
func (s *clusterStage) environment() []string {
	return []string{"KUBECONFIG=" + os.Getenv("KUBECONFIG")}
}

// benchCluster measures against the cluster of KUBECONFIG and replaces those sections in the results.
func benchCluster(ctx context.Context, mirrord string, o options) error {
	dir, err := os.MkdirTemp("", "mirrord-bench-")
	if err != nil {
		return err
	}
	s := &clusterStage{stage: &stage{dir: dir, inner: filepath.Join(dir, "inner"), mirrord: mirrord}, namespace: fmt.Sprintf("mirrord-bench-%d", os.Getpid())}
	defer s.stage.Close()
	if err := s.compile(ctx); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "create", "namespace", s.namespace); err != nil {
		return err
	}
	defer func() { s.kubectl(context.Background(), "delete", "namespace", s.namespace, "--wait=false") }()
	pods := filepath.Join(dir, "pods.yaml")
	if err := os.WriteFile(pods, []byte(clusterPods), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{{"apply", "-f", pods}, {"wait", "pod", "near", "far", "--for=condition=Ready", "--timeout=2m"}} {
		if _, err := s.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	if s.address, err = s.kubectl(ctx, "get", "pod", "far", "-o", "jsonpath={.status.podIP}"); err != nil {
		return err
	}
	if s.plain, err = startInner(ctx, s.stage, "plain", nil); err != nil {
		return err
	}
	r := &report{}
	for _, section := range []struct {
		name    string
		measure func(context.Context, *clusterStage, *report, options) error
	}{{"start", clusterStart}, {"traffic", clusterTraffic}, {"wait", clusterWaiting}, {"steal", clusterSteal}, {"memory", clusterMemory}} {
		if !strings.Contains(section.name, o.only) {
			continue
		}
		if err := section.measure(ctx, s, r, o); err != nil {
			return err
		}
		r.say("\nMeasured at commit %s on %s, %d times, against %s. Load: %s", commit(), today(), o.repeat, output("kubectl", "get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion} on {.items[0].status.nodeInfo.osImage}"), load())
	}
	return r.replace(o.results)
}

// rest is how long a pod is left alone before a start: the kubelet looks after a pod again only when it has seen what became of it.
const rest = 4 * time.Second

// clusterStart measures starts by their phases, at rest and one right after the other.
func clusterStart(ctx context.Context, s *clusterStage, r *report, o options) error {
	r.section("Cluster: start-up", fmt.Sprintf("Milliseconds from starting `mirrord exec` to the program's first instruction, and those phases of it that need the cluster; best / median.\n"+
		"Cold: the first session in a pod. At rest: %s after the session before. At once: right after it, when the kubelet still looks after that one's end.", rest),
		"start", "first instruction", "target", "agent", "link", "environment", "whole command", "remarks")
	for _, kind := range []struct {
		name  string
		times int
		pause time.Duration
	}{{"cold", 1, 0}, {"at rest", heavy(o), rest}, {"at once", heavy(o), 0}} {
		var first, whole series
		phases := map[string]series{}
		for range kind.times {
			select {
			case <-time.After(kind.pause):
			case <-ctx.Done():
				return ctx.Err()
			}
			log := filepath.Join(s.dir, "events")
			os.Remove(log)
			began := time.Now()
			cmd := command(ctx, s.dir, append(s.exec("--events", log), "date", "+%s%N")...)
			cmd.Env = append(cmd.Env, s.environment()...)
			out, err := cmd.Output()
			one := sample{took: time.Since(began)}
			if err != nil {
				one.errors, one.first = 1, err.Error()
			}
			whole = append(whole, one)
			if ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64); err == nil {
				first = append(first, sample{took: time.Unix(0, ns).Sub(began)})
			}
			for name, took := range phasesOf(log) {
				phases[name] = append(phases[name], sample{took: took})
			}
		}
		r.row(kind.name, both(first), both(phases["target"]), both(phases["agent"]), both(phases["link"]), both(phases["environment"]), both(whole), faults(whole))
	}
	return nil
}

// phasesOf are the phases in a file of events.
func phasesOf(log string) map[string]time.Duration {
	all := map[string]time.Duration{}
	f, err := os.Open(log)
	if err != nil {
		return all
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var ev struct {
			Phase, State string
			Milliseconds float64
		}
		if json.Unmarshal(lines.Bytes(), &ev) == nil && ev.State == "done" {
			all[ev.Phase] = time.Duration(ev.Milliseconds * float64(time.Millisecond))
		}
	}
	return all
}

// inSession starts an inner program in the near pod's context.
func (s *clusterStage) inSession(ctx context.Context) (*inner, error) {
	return startInner(ctx, s.stage, "mirrord", s.environment(), s.exec()...)
}

// forward is a kubectl port-forward to a pod; it returns the local port.
func (s *clusterStage) forward(ctx context.Context, pod, port string) (string, *service, error) {
	local, err := freePort()
	if err != nil {
		return "", nil, err
	}
	svc, err := startService(ctx, s.dir, answers("127.0.0.1:"+local), "env", s.environment()[0], "kubectl", "-n", s.namespace, "port-forward", "pod/"+pod, local+":"+port)
	return local, svc, err
}

// clusterTraffic compares the whole path with kubectl's.
func clusterTraffic(ctx context.Context, s *clusterStage, r *report, o options) error {
	r.section("Cluster: traffic", "The same work with another pod: in a session (program, layer, broker, API server, agent, pod) and through `kubectl port-forward` to it. Small requests have an\n"+
		"answer of 64 bytes; p50 and p99 are medians of the runs', in microseconds. Ratio: medians, mirrord to kubectl.",
		"work", "way", "best / median", "p50", "p99", "ratio", "remarks")
	session, err := s.inSession(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	for _, work := range []struct {
		port  string
		words []string
		bytes int // 0: the rate is of requests
	}{
		{clusterHTTP, []string{"load", "1000", "1", strconv.Itoa(len(httpBody)), "keep"}, 0},
		{clusterHTTP, []string{"load", "2000", "16", strconv.Itoa(len(httpBody)), "keep"}, 0},
		{clusterHTTP, []string{"load", "200", "1", strconv.Itoa(len(httpBody)), "new"}, 0},
		{bulkPort, []string{"bulk", "1", strconv.Itoa(64 << 20), "down"}, 64 << 20},
		{bulkPort, []string{"bulk", "1", strconv.Itoa(64 << 20), "up"}, 64 << 20},
	} {
		local, kubectl, err := s.forward(ctx, "far", work.port)
		if err != nil {
			return err
		}
		words := func(host, port string) []string { return append(append([]string{}, work.words...), host, port) }
		all, err := interleave(heavy(o), session.way(words(s.address, work.port)...), s.plain.way(words("127.0.0.1", local)...))
		kubectl.Close()
		if err != nil {
			return err
		}
		for i, name := range []string{"mirrord", "kubectl port-forward"} {
			rate := func(d time.Duration) string {
				if work.bytes > 0 {
					return fmt.Sprintf("%.0f MB/s", float64(work.bytes)/1e6/d.Seconds())
				}
				n, _ := strconv.Atoi(work.words[1])
				return perSecond(n, d) + "/s"
			}
			us := func(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1e6) }
			ratio := ""
			if i == 0 {
				ratio = fmt.Sprintf("%.2f", all[1].median().Seconds()/all[0].median().Seconds())
			}
			r.row("`"+strings.Join(words("HOST", "PORT"), " ")+"`", name, rate(all[i].best())+" / "+rate(all[i].median()), us(all[i].middle(p50)), us(all[i].middle(p99)), ratio, faults(all[i]))
		}
	}
	return nil
}

// clusterWaiting measures questions beside a download.
func clusterWaiting(ctx context.Context, s *clusterStage, r *report, _ options) error {
	const times = 200
	r.section("Cluster: questions during a download", fmt.Sprintf("%d stats of a file of the pod one after the other, while the same program does nothing else, or downloads from another pod without an end.\n"+
		"Milliseconds. Goal: p99 within two round trips, which are those of the idle link's p50.", times), "meanwhile", "p50", "p99", "longest", "goal", "remarks")
	session, err := s.inSession(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	var trip time.Duration
	for _, meanwhile := range [][]string{{"no", "thing"}, {s.address, bulkPort}} {
		one, err := session.ask(append(append([]string{"during", strconv.Itoa(times)}, meanwhile...), "stat", "/mirrord-bench")...)
		if err != nil {
			return err
		}
		met, name := "", "nothing"
		if trip == 0 {
			trip = one.p50
		} else {
			met, name = goal("≤ 2 round trips", one.p99 <= 2*trip, series{one}), "a download"
		}
		r.row(name, ms(one.p50), ms(one.p99), ms(one.most), met, faults(series{one}))
	}
	return nil
}

// clusterServer is the program that steals.
const clusterServer = "require('http').createServer((q, a) => { a.setHeader('X-Served-By', 'session'); a.end('x'.repeat(64)) }).listen(" + clusterHTTP + ")"

// clusterSteal measures requests to the near pod from the far one, answered by the pod's program and by one on this machine.
func clusterSteal(ctx context.Context, s *clusterStage, r *report, o options) error {
	r.section("Cluster: steal", "Requests to the pod's port from another pod, each over a new connection: answered by the pod's program (Go), and by one on this machine (node), to which a\n"+
		"session steals them. Milliseconds. Added: the differences.", "answered by", "p50", "p99", "added p50 / p99", "remarks")
	address, err := s.kubectl(ctx, "get", "pod", "near", "-o", "jsonpath={.status.podIP}")
	if err != nil {
		return err
	}
	ask := func(requests int, from string) (one sample, err error) {
		out, err := s.kubectl(ctx, "exec", "far", "-c", "app", "--", "/mirrord-bench", "-ask", "http://"+net.JoinHostPort(address, clusterHTTP), "-requests", strconv.Itoa(requests), "-from", from)
		if err == nil {
			_, err = fmt.Sscan(out, &one.p50, &one.p99, &one.errors)
			one.first = "not answered by the " + from
		}
		return one, err
	}
	direct, err := ask(100*heavy(o), "pod")
	if err != nil {
		return err
	}
	r.row("the pod", ms(direct.p50), ms(direct.p99), "", faults(series{direct}))
	missing, stealer := "", (*service)(nil)
	if _, err := exec.LookPath("node"); err != nil {
		missing = err.Error()
	} else if stealer, err = startService(ctx, s.dir, func() bool {
		one, err := ask(1, "session")
		return err == nil && one.errors == 0
	}, append([]string{"env", s.environment()[0]}, append(s.exec("--steal"), "node", "-e", clusterServer)...)...); err != nil {
		missing = err.Error()
	}
	if missing != "" {
		r.row("this machine", "", "", "", "left out: "+missing)
		return nil
	}
	defer stealer.Close()
	stolen, err := ask(100*heavy(o), "session")
	if err != nil {
		return err
	}
	r.row("this machine", ms(stolen.p50), ms(stolen.p99), ms(stolen.p50-direct.p50)+" / "+ms(stolen.p99-direct.p99), faults(series{stolen}))
	return nil
}

// askCluster is what the far pod runs: it asks a server, counts answers that are not from who should give them, and prints p50, p99 and that count.
func askCluster(url, from string, requests int) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var all series
	wrong := 0
	for range requests {
		began := time.Now()
		answer, err := client.Get(url)
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		all = append(all, sample{took: time.Since(began)})
		if err != nil || answer.Header.Get("X-Served-By") != from {
			wrong++
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.took, b.took) })
	fmt.Println(int64(all[len(all)/2].took), int64(all[len(all)*99/100].took), wrong)
}

// clusterMemory measures the agent, as the target's container sees it.
func clusterMemory(ctx context.Context, s *clusterStage, r *report, _ options) error {
	const connections = 1000
	r.section("Cluster: the agent's memory", "Resident memory of the agent's process (VmRSS, VmHWM), in MB. Goal: 10 idle, 32 with 1000 connections.", "state", "now", "peak", "goal", "remarks")
	session, err := s.inSession(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	for _, step := range []struct {
		name  string
		words []string
		goal  float64
	}{
		{"idle", []string{"stat", "1", "/mirrord-bench"}, 10},
		{strconv.Itoa(connections) + " connections", []string{"hold", strconv.Itoa(connections), s.address, clientPort}, 32},
		{"closed", []string{"drop"}, 0},
		{"after a download of 64 MiB", []string{"bulk", "1", strconv.Itoa(64 << 20), "down", s.address, bulkPort}, 0},
	} {
		one, err := session.ask(step.words...)
		if err != nil {
			return err
		}
		out, err := s.kubectl(ctx, "exec", "near", "-c", "app", "--", "/mirrord-bench", "-memory", "mirrord-agent")
		var now, peak float64
		if err == nil {
			_, err = fmt.Sscan(out, &now, &peak)
		}
		if err != nil {
			r.row(step.name, "", "", "", "left out: "+strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		met := ""
		if step.goal > 0 {
			met = goal(fmt.Sprintf("≤ %.0f MiB", step.goal), now*1e6 <= step.goal*(1<<20), series{one})
		}
		r.row(step.name+": `"+strings.Join(step.words, " ")+"`", fmt.Sprintf("%.1f", now), fmt.Sprintf("%.1f", peak), met, faults(series{one}))
	}
	return nil
}

// memoryOf prints the resident memory of a program's youngest process, now and at most, in MB: what the near pod's container can see of the agent beside it.
func memoryOf(program string) error {
	var found string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	began := -1
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if name, rerr := os.ReadFile("/proc/" + e.Name() + "/comm"); err == nil && rerr == nil && strings.TrimSpace(string(name)) == program && pid > began {
			began, found = pid, e.Name()
		}
	}
	status, err := os.ReadFile("/proc/" + found + "/status")
	if began < 0 || err != nil {
		return fmt.Errorf("no %s is seen here", program)
	}
	field := func(name string) float64 {
		_, after, _ := strings.Cut(string(status), name+":")
		var kb float64
		fmt.Sscan(after, &kb)
		return kb * 1024 / 1e6
	}
	fmt.Println(field("VmRSS"), field("VmHWM"))
	return nil
}
