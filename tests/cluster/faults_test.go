package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// count is a number of times that a variable may ask for.
func count(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of times", variable, text)
	}
	return n
}

// site is where sessions of a test keep their files; what of them is left can be told by it.
type site struct {
	t      *testing.T
	folder string
	config string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir()}
	for _, name := range []string{"tmp", "cache", "run"} {
		if err := os.Mkdir(filepath.Join(s.folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.config = write(t, "m.json", `{"agent": {"communication_timeout": 2}}`)
	return s
}

func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, s.t, args...)
	for name, folder := range map[string]string{"TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "XDG_RUNTIME_DIR": "run"} {
		cmd.Env = append(cmd.Env, name+"="+filepath.Join(s.folder, folder))
	}
	return cmd
}

// processes are those whose environment names the site: of a session, whatever became of its first ones.
func (s *site) processes() (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		if text, _ := os.ReadFile(path); bytes.Contains(text, []byte(s.folder+"/")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// left says what is there of a session that has ended, here and in the cluster.
func (s *site) left(pod string) (all []string) {
	if pids := s.processes(); len(pids) > 0 {
		all = append(all, fmt.Sprint("processes ", pids))
	}
	if n := running(agents(s.t, pod)); n > 0 {
		all = append(all, fmt.Sprint(n, " running agents"))
	}
	if jobs := ask(s.t, "get", "jobs", "-l", "app=mirrord", "-o", "name"); jobs != "" {
		all = append(all, "jobs "+jobs)
	}
	if pids := agentProcesses(s.t, pod); len(pids) > 0 {
		all = append(all, fmt.Sprint("processes of agents ", pids))
	}
	return all
}

var tokenHash = regexp.MustCompile(`--token-sha256=[0-9a-f]{64}`)

// agentProcesses are those of the pod's agents that can be seen from here: of a cluster on this machine.
func agentProcesses(t *testing.T, pod string) (pids []int) {
	hashes := tokenHash.FindAllString(ask(t, "get", "pod", pod, "-o", "jsonpath={.spec.ephemeralContainers[*].args}"), -1)
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		text, _ := os.ReadFile(path)
		if hash := tokenHash.Find(text); hash != nil && slices.Contains(hashes, string(hash)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// faulty makes a pod of a test's own that serves HTTP on port 8080.
func faulty(t *testing.T, name string) {
	t.Helper()
	ask(t, "apply", "-f", write(t, "pod.yaml", strings.ReplaceAll(`{apiVersion: v1, kind: Pod, metadata: {name: NAME, labels: {app: NAME}}, spec: {terminationGracePeriodSeconds: 0,
		containers: [{name: app, image: "mirrord-test:dev", imagePullPolicy: IfNotPresent, env: [{name: WRITE, value: /srv/data/file}], volumeMounts: [{name: data, mountPath: /srv/data}]}],
		volumes: [{name: data, emptyDir: {}}]}}`, "NAME", name)))
	ask(t, "wait", "pod", name, "--for=condition=Ready", "--timeout=2m")
	t.Cleanup(func() { kubectl("delete", "pod", "-n", namespace, name, "--wait=false") })
}

// answered is what a pod's port answers to the API server's proxy.
func answered(pod, path string) (string, error) {
	return kubectl("get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+pod+":8080/proxy"+path)
}

// working is a program that uses its pod, and listens on the pod's port, for as long as it is let.
const working = `
import http.server, os, socket, threading, time, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"session took it\n")
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("", 8080), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("began", flush=True)
while True:
    try:
        open("/srv/data/file").read()
        urllib.request.urlopen("http://db:8080/", timeout=10).read()
    except OSError: time.sleep(0.01)
`

// TestKilled kills what takes part in a session, at moments by chance: the launcher's processes, the agent, and where a command for that is given the kubelet and the API
// server. When the lease of 2 s is over nothing of the session is left, and the pod's port is its own program's.
func TestKilled(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to see all processes")
	}
	const pod = "killed"
	faulty(t, pod)
	victims := []string{"outer", "broker", "agent"}
	if os.Getenv("MIRRORD_TEST_KILL_COMMAND") != "" {
		victims = append(victims, "kubelet", "kube-apiserver")
	} else {
		t.Log("left out: killing the kubelet and the API server, since MIRRORD_TEST_KILL_COMMAND names no command for that")
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	times := count(t, "MIRRORD_TEST_KILLS", len(victims))
	endings, began, slowest := map[string]int{}, 0, time.Duration(0)
	for i := range times {
		victim, moment := victims[i%len(victims)], time.Duration(random.Int64N(int64(3*time.Second)))
		s := newSite(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := s.command(ctx, "exec", "-n", namespace, "-t", "pod/"+pod, "-f", s.config, "--steal", "--", "python3", "-c", working)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		begun := make(chan bool, 1)
		go func() { begun <- bufio.NewScanner(out).Scan() }()
		time.Sleep(moment) // a moment by chance, not one to wait for
		killed := kill(t, s, pod, victim, cmd.Process.Pid)
		if victim == "outer" || victim == "broker" {
			cmd.Wait()
		} else {
			eventually(t, "an API server that answers", func() bool { _, err := kubectl("get", "--raw", "/readyz"); return err == nil })
			// A session that has lost its agent goes on, with errors, until somebody ends it.
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		}
		if <-begun {
			began++
		}
		after := time.Now()
		var left []string
		for end := after.Add(patience); ; time.Sleep(100 * time.Millisecond) {
			if left = s.left(pod); len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("seed %d, kill %d, of %s after %v: left %v\n%s", seed, i, victim, moment, left, errs.String())
			}
		}
		slowest = max(slowest, time.Since(after))
		var answer string
		eventually(t, "an answer of the pod's own", func() bool { answer, err = answered(pod, "/"); return err == nil })
		if !strings.HasPrefix(answer, pod+" ") {
			t.Errorf("seed %d, kill %d, of %s after %v: the pod's port answers %q", seed, i, victim, moment, answer)
		}
		if !killed {
			victim = "nobody, as there was no " + victim + " yet"
		}
		endings[victim]++
	}
	t.Logf("%d sessions, of which %d had begun, killed %v: nothing left after at most %v, with a lease of 2 s (seed %d)", times, began, endings, slowest.Round(100*time.Millisecond), seed)
}

// kill ends a victim by SIGKILL, and says whether it was there.
func kill(t *testing.T, s *site, pod, victim string, outer int) bool {
	t.Helper()
	switch victim {
	case "outer":
		return syscall.Kill(outer, syscall.SIGKILL) == nil
	case "broker":
		for _, pid := range s.processes() {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); parentOf(line) == outer {
				return syscall.Kill(pid, syscall.SIGKILL) == nil
			}
		}
		return false
	case "agent":
		pids := agentProcesses(t, pod)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) > 0
	}
	words := append(strings.Fields(os.Getenv("MIRRORD_TEST_KILL_COMMAND")), victim)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out)
	}
	return true
}

// parentOf is the parent in a line of /proc/PID/stat, whose program's name may have blanks.
func parentOf(line []byte) int {
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[1])
	return pid
}
