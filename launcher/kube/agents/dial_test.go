package agents

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mirrord/agent/door"
	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/startup"
	"mirrord/agent/target"
	"mirrord/agent/wire"
	"mirrord/launcher/kube/kubetest"
)

// startAgent runs an agent that serves a pod directory behind a door, as it would in a pod.
func startAgent(t *testing.T, token startup.Token) (port uint16, ended <-chan error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pod.yaml"), []byte("name: cart\nenv: {A: b}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- (&door.Door{Hash: token.Hash(), Lease: time.Minute, Serve: func(ctx context.Context, requests, bulk net.Conn) error {
			return serve.Serve(ctx, requests, bulk, d)
		}}).Run(ctx, listener)
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done; d.Close() })
	return uint16(listener.Addr().(*net.TCPAddr).Port), done
}

// agentOf is an agent that has told its port, in the pod that the server forwards to.
func agentOf(t *testing.T, s *kubetest.Server, port uint16, token startup.Token) *Agent {
	t.Helper()
	return &Agent{cluster: s.Cluster(t), pod: "cart", port: port, token: token}
}

func TestDial(t *testing.T) {
	s, token := kubetest.StartServer(t), startup.NewToken()
	port, ended := startAgent(t, token)
	requests, bulk, err := agentOf(t, s, port, token).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link, err := links.New(t.Context(), requests, bulk, "session-1")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv})
	if err != nil || reply.Env["A"] != "b" || link.Agent().Name != "cart" {
		t.Errorf("%+v, %v", reply, err)
	}
	if err := link.Goodbye(); err != nil {
		t.Error(err)
	}
	link.Close()
	if err := <-ended; err != nil {
		t.Errorf("the agent after the goodbye: %v", err)
	}
	if got := s.Asked(); got["GET websocket"] != 2 || got["POST SPDY/3.1"] != 2 || len(got) != 2 {
		t.Errorf("asked %v", got)
	}
}

func TestDialFaults(t *testing.T) {
	s, token := kubetest.StartServer(t), startup.NewToken()
	port, _ := startAgent(t, token)
	if _, _, err := agentOf(t, s, port, startup.NewToken()).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "does not admit") {
		t.Errorf("a wrong token: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody, _ := strconv.ParseUint(closed.Addr().String()[len("127.0.0.1:"):], 10, 16)
	closed.Close()
	if _, _, err := agentOf(t, s, uint16(nobody), token).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	a := agentOf(t, s, port, token)
	a.pod = "gone"
	if _, _, err := a.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot forward a port of the pod gone") {
		t.Errorf("a pod that is not there: %v", err)
	}
	a = agentOf(t, s, port, token)
	requests, bulk, err := a.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link, err := links.New(t.Context(), requests, bulk, "session-1")
	if err != nil {
		t.Fatal(err)
	}
	requests.Close()
	<-link.Done()
	link.Close()
}

// The API server knows no such pod, and does not let the user look for it.
func TestDialGone(t *testing.T) {
	a := agentOf(t, kubetest.StartRefusing(t, metav1.StatusReasonNotFound, http.StatusNotFound), 1, startup.NewToken())
	if _, _, err := a.Dial(t.Context()); !errors.Is(err, links.ErrGone) || !strings.Contains(err.Error(), "cannot forward a port of the pod cart: ") {
		t.Error(err)
	}
}

func TestGone(t *testing.T) {
	began := metav1.NewTime(time.Unix(1000, 0))
	with := func(name string, agent corev1.ContainerState, target *corev1.ContainerStateRunning) *corev1.Pod {
		return kubetest.Change(kubetest.Pod(name, 0, "app"), func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{TargetContainerName: "app", EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "mirrord-1"}}}
			p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "mirrord-1", State: agent}}
			p.Status.ContainerStatuses[0].State.Running = target
		})
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, StartedAt: began}}
	before := &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(999, 0))}
	c, _ := kubetest.Cluster(
		with("well", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, before),
		with("killed", ended, before),
		with("restarted", ended, &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1001, 0))}),
		with("crashed", ended, nil),
		kubetest.Pod("again", 0, "app"),
		kubetest.Change(with("evicted", ended, nil), func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }),
		kubetest.Change(kubetest.Pod("job", 0, "mirrord-1"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = ended }),
	)
	for pod, want := range map[string]string{
		"well":      "",
		"killed":    "the agent in the pod killed has ended, with exit code 137",
		"restarted": "the container app of the pod restarted has ended or was restarted, and the agent with it",
		"crashed":   "the container app of the pod crashed has ended or was restarted, and the agent with it",
		"again":     "the pod again was deleted; another has its name",
		"evicted":   "the pod evicted has ended: Evicted",
		"job":       "the agent in the pod job has ended, with exit code 137",
		"nowhere":   "the pod nowhere was deleted",
	} {
		got, err := "", gone(t.Context(), c, pod, "mirrord-1")
		if err != nil {
			got = err.Error()
		}
		if got != want || got != "" && !errors.Is(err, links.ErrGone) {
			t.Errorf("%s: %q", pod, got)
		}
	}
}
