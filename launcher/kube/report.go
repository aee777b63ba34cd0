package kube

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"mirrord/agent/wire"
)

// awaitReport waits for what a started agent reports. The log tells that, but a kubelet gives out logs of containers that it has seen running, for which it looks once
// a second. So the output itself is listened to as well, which the runtime passes on from the first moment, where the user may and the API server can.
func (c *Cluster) awaitReport(ctx context.Context, pod *corev1.Pod, name, image string) (wire.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan wire.Report, 1)
	go func() { // ends with ctx
		if report, ok := c.listen(ctx, pod.Name, name); ok {
			heard <- report
		}
	}()
	type result struct {
		report wire.Report
		err    error
	}
	read := make(chan result, 1)
	go func() { // ends with ctx
		err := c.awaitContainer(ctx, pod, name, image)
		if err != nil {
			read <- result{err: err}
			return
		}
		report, err := c.readReport(ctx, pod.Name, name)
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
func (c *Cluster) listen(ctx context.Context, pod, name string) (wire.Report, bool) {
	if c.config == nil {
		return wire.Report{}, false // a test's cluster
	}
	url := c.client.CoreV1().RESTClient().Get().Resource("pods").Namespace(c.namespace).Name(pod).SubResource("attach").
		Param("container", name).Param("stdout", "true").URL()
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		attached, detach := context.WithCancel(ctx)
		heard := make(chan wire.Report, 1)
		executor, err := remotecommand.NewWebSocketExecutor(c.config, "GET", url.String())
		if err == nil {
			err = executor.StreamWithContext(attached, remotecommand.StreamOptions{Stdout: &ear{heard: func(r wire.Report) {
				heard <- r
				detach()
			}}})
		}
		detach()
		if httpstream.IsUpgradeFailure(err) {
			return wire.Report{}, false // the user may not, or the API server (before 1.30) cannot
		}
		select {
		case report := <-heard:
			return report, true
		case <-time.After(pause):
		case <-ctx.Done():
			return wire.Report{}, false
		}
	}
}

// ear looks for the first report in an output, which comes in pieces.
type ear struct {
	heard func(wire.Report) // nil: it was called
	line  []byte            // without its end
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
		if report, ok := wire.ParseReport(e.line); ok {
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
func (c *Cluster) readReport(ctx context.Context, pod, name string) (wire.Report, error) {
	log, err := c.client.CoreV1().Pods(c.namespace).GetLogs(pod, &corev1.PodLogOptions{Container: name, Follow: true}).Stream(ctx)
	if err != nil {
		return wire.Report{}, c.explain(slow(ctx, err), "read the agent's log", "get", "pods/log")
	}
	defer log.Close()
	last := ""
	for lines := bufio.NewScanner(io.LimitReader(log, maxLog)); lines.Scan(); {
		if report, ok := wire.ParseReport(lines.Bytes()); ok {
			return report, nil
		}
		last = lines.Text()
	}
	if err := ctx.Err(); err != nil {
		return wire.Report{}, c.explain(slow(ctx, err), "read the agent's log", "get", "pods/log")
	}
	return wire.Report{}, fmt.Errorf("the agent ended without a report; the last line of its log: %q\nhint: `kubectl logs %s -c %s -n %s` shows all of it",
		last, pod, name, c.namespace)
}
