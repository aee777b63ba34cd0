package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

const seeing = `
import socket, sys, urllib.request
def see(what, how):
    try: print(what, how())
    except OSError as e: print(what, e.errno or e.reason.errno)
for line in sys.stdin:
    see("file", lambda: open("/srv/data/file").read().strip())
    see("name", lambda: bool(socket.gethostbyname("db")))
    see("connection", lambda: socket.create_connection((sys.argv[1], 8080), 100).close())
    print("done", flush=True)
sys.exit(3)
`

// asker is a program in a session that does what it is told to.
type asker struct {
	t      *testing.T
	ask    func() []string // what the program saw
	finish func() result   // ends it
}

func startAsker(t *testing.T, target string) *asker {
	t.Helper()
	need(t, "python3")
	address := ask(t, "get", "pod", "db-0", "-o", "jsonpath={.status.podIP}")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := command(ctx, t, "exec", "-n", namespace, "-t", target, "--", "python3", "-c", seeing, address)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	return &asker{t,
		func() (saw []string) {
			t.Helper()
			fmt.Fprintln(in, "ask")
			for lines.Scan() && lines.Text() != "done" {
				saw = append(saw, lines.Text())
			}
			if lines.Text() != "done" {
				t.Fatal("the program is gone")
			}
			return saw
		},
		func() result {
			in.Close()
			cmd.Wait()
			return result{"", errs.String(), cmd.ProcessState.ExitCode()}
		},
	}
}

// A pod that goes while a session uses it leaves the program with errors, at once; one line says why, and its exit status stays its own.
func TestGone(t *testing.T) {
	needCluster(t)
	for name, c := range map[string]struct{ does, said string }{
		"deleted":   {"kubectl", "the pod deleted was deleted"},
		"restarted": {"quit", "the container app of the pod restarted has ended or was restarted, and the agent with it"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := strings.NewReplacer("NAME", name).Replace(`{apiVersion: v1, kind: Pod, metadata: {name: NAME}, spec: {terminationGracePeriodSeconds: 0, containers: [
				{name: app, image: "mirrord-test:dev", imagePullPolicy: IfNotPresent, env: [{name: WRITE, value: /srv/data/file}], volumeMounts: [{name: data, mountPath: /srv/data}]}],
				volumes: [{name: data, emptyDir: {}}]}}`)
			ask(t, "apply", "-f", write(t, "pod.yaml", pod))
			ask(t, "wait", "pod", name, "--for=condition=Ready", "--timeout=2m")
			a := startAsker(t, "pod/"+name)
			if got := fmt.Sprint(a.ask()); got != "[file written by the pod name True connection None]" {
				t.Fatal(got)
			}
			began := time.Now()
			switch c.does {
			case "kubectl":
				ask(t, "delete", "pod", name)
			case "quit":
				address := ask(t, "get", "pod", name, "-o", "jsonpath={.status.podIP}")
				inside(t, "pod/two", "sh", "-c", "curl -sS http://"+address+":8080/quit || true")
			}
			// EIO, EAI_AGAIN, ENETUNREACH; until the kubelet has ended the pod it goes on as before.
			eventually(t, "the program has errors", func() bool { return fmt.Sprint(a.ask()) == "[file 5 name -3 connection 101]" })
			t.Logf("the program had its errors %v after the order", time.Since(began).Round(100*time.Millisecond))
			r := a.finish()
			if r.status != 3 || strings.Count(r.err, "warning: the link to the agent is lost: "+c.said+"\n") != 1 {
				t.Errorf("status %d\n%s", r.status, r.err)
			}
		})
	}
}
