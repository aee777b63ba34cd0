package agents

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"mirrord/agent/startup"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// awaitReport waits for what a started agent reports. The log tells that, but a kubelet gives out logs of containers that it has seen running, for which it looks once
// a second. So the output itself is listened to as well, which the runtime passes on from the first moment, where the user may and the API server can.
func awaitReport(ctx context.Context, c *kube.Cluster, pod *corev1.Pod, name, image string) (startup.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan startup.Report, 1)
	go func() { // ends with ctx
		if report, ok := listen(ctx, c, pod.Name, name); ok {
			heard <- report
		}
	}()
	type result struct {
		report startup.Report
		err    error
	}
	read := make(chan result, 1)
	go func() { // ends with ctx
		err := awaitContainer(ctx, c, pod, name, image)
		if err != nil {
			read <- result{err: err}
			return
		}
		report, err := readReport(ctx, c, pod.Name, name)
		read <- result{report, err}
	}()
	select {
	case report := <-heard:
		return report, nil
	case r := <-read:
		return r.report, r.err
	}
}

// Between two attempts to listen; the first come while the container is being started, later ones while its image is pulled.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// listen attaches to an agent's output until its report comes, which it repeats; false: that cannot be, or ctx has ended.
func listen(ctx context.Context, c *kube.Cluster, pod, name string) (startup.Report, bool) {
	if c.Config == nil {
		return startup.Report{}, false // a test's cluster
	}
	url := c.Client.CoreV1().RESTClient().Get().Resource("pods").Namespace(c.Namespace).Name(pod).SubResource("attach").
		Param("container", name).Param("stdout", "true").URL()
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		attached, detach := context.WithCancel(ctx)
		heard := make(chan startup.Report, 1)
		executor, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", url.String())
		if err == nil {
			err = executor.StreamWithContext(attached, remotecommand.StreamOptions{Stdout: &ear{heard: func(r startup.Report) {
				heard <- r
				detach()
			}}})
		}
		detach()
		if httpstream.IsUpgradeFailure(err) {
			return startup.Report{}, false // the user may not, or the API server (before 1.30) cannot
		}
		select {
		case report := <-heard:
			return report, true
		case <-time.After(pause):
		case <-ctx.Done():
			return startup.Report{}, false
		}
	}
}

// ear looks for the first report in an output, which comes in pieces.
type ear struct {
	heard func(startup.Report) // nil: it was called
	line  []byte               // without its end
}

func (e *ear) Write(p []byte) (int, error) {
	n := len(p)
	for e.heard != nil {
		piece, rest, whole := bytes.Cut(p, []byte{'\n'})
		if e.line = append(e.line, piece...); len(e.line) > maxLog {
			return 0, io.ErrShortBuffer
		}
		if !whole {
			break
		}
		if report, ok := startup.ParseReport(e.line); ok {
			e.heard(report)
			e.heard = nil
		}
		e.line, p = e.line[:0], rest
	}
	return n, nil
}

// maxLog bounds how much of an agent's log is read for its report, in bytes.
const maxLog = 1 << 20

// readReport reads the agent's log until its report.
func readReport(ctx context.Context, c *kube.Cluster, pod, name string) (startup.Report, error) {
	log, err := c.Client.CoreV1().Pods(c.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: name, Follow: true}).Stream(ctx)
	if err != nil {
		return startup.Report{}, c.Explain(slow(ctx, err), "read the agent's log", "get", "pods/log")
	}
	defer log.Close()
	last := ""
	for lines := bufio.NewScanner(io.LimitReader(log, maxLog)); lines.Scan(); {
		if report, ok := startup.ParseReport(lines.Bytes()); ok {
			return report, nil
		}
		last = lines.Text()
	}
	if err := ctx.Err(); err != nil {
		return startup.Report{}, c.Explain(slow(ctx, err), "read the agent's log", "get", "pods/log")
	}
	return startup.Report{}, fmt.Errorf("the agent ended without a report; the last line of its log: %q\nhint: `kubectl logs %s -c %s -n %s` shows all of it",
		last, pod, name, c.Namespace)
}

// awaitContainer waits until a container has begun, whatever became of it then.
func awaitContainer(ctx context.Context, c *kube.Cluster, pod *corev1.Pod, name, image string) error {
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion}
	return awaitPod(ctx, c, options, func(seen *corev1.Pod) (bool, error) { return begun(seen, name, image) })
}

// awaitPod waits until done says so of a pod. It is asked whenever one changes.
func awaitPod(ctx context.Context, c *kube.Cluster, options metav1.ListOptions, done func(*corev1.Pod) (bool, error)) error {
	for {
		watch, err := c.Client.CoreV1().Pods(c.Namespace).Watch(ctx, options)
		if err != nil {
			return c.Explain(slow(ctx, err), "wait for the agent", "watch", "pods")
		}
		for event := range watch.ResultChan() {
			seen, ok := event.Object.(*corev1.Pod)
			if !ok {
				break // the version that was asked for is too old: from now on will do
			}
			enough, err := done(seen)
			if event.Type == "DELETED" {
				err = fmt.Errorf("the pod %s was deleted meanwhile\nhint: naming its workload, such as deployment/NAME, finds another", seen.Name)
			}
			if enough || err != nil {
				watch.Stop()
				return err
			}
		}
		watch.Stop()
		options.ResourceVersion = ""
		if ctx.Err() != nil {
			return c.Explain(slow(ctx, ctx.Err()), "wait for the agent", "watch", "pods")
		}
	}
}

func slow(ctx context.Context, err error) error {
	if context.Cause(ctx) == errSlow {
		return fmt.Errorf("%w\nhint: `kubectl describe pod` tells what it waits for; agent.startup_timeout allows more time", errSlow)
	}
	return err
}

// notStarted are the reasons of containers that ended before their program began: containerd's, and what others say of a capability that they do not know.
var notStarted = []string{"StartError", "ContainerCannotRun"}

// begun says whether a container has been started, or why it never will be.
func begun(pod *corev1.Pod, name, image string) (bool, error) {
	s := workload.StatusOf(pod, name)
	switch {
	case s == nil:
		return false, rejected(pod)
	case s.State.Terminated != nil && slices.Contains(notStarted, s.State.Terminated.Reason):
		return false, refusal{fmt.Errorf("the node %s cannot start the agent: %s, %s", pod.Spec.NodeName, s.State.Terminated.Reason, s.State.Terminated.Message)}
	case s.State.Running != nil, s.State.Terminated != nil:
		return true, nil
	case s.State.Waiting == nil:
		return false, nil
	}
	w := s.State.Waiting
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable":
		return false, fmt.Errorf("the node %s cannot get the agent's image %s: %s, %s\nhint: name one that it can get with --agent-image; packaging/README.md says how to make and load it",
			pod.Spec.NodeName, image, w.Reason, w.Message)
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return false, refusal{fmt.Errorf("the node %s cannot start the agent: %s, %s", pod.Spec.NodeName, w.Reason, w.Message)}
	}
	return false, nil
}
