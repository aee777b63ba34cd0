package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// taking answers what comes to the pod's port, one after the other, until its standard input ends. It writes each request's path, and knows nothing at /ready. When it is told
// so it closes the port, and opens it again. What waits in its queue when it closes the port is the pod's own program's.
const taking = `
import os, select, socket, sys
def listen():
    server = socket.create_server(("", 8080), backlog=1024)
    print("began", flush=True)
    return server
server = listen()
def answer():
    c, _ = server.accept()
    c.settimeout(20)
    try:
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = c.recv(4096)
            if not more: return
            asked += more
        path = asked.split()[1].decode()
        print("asked for", path, flush=True)
        status = b"404 Not Found" if path == "/ready" else b"200 OK"
        c.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 16\r\nConnection: close\r\n\r\nsession took it\n")
    except OSError: pass
    finally: c.close()
while True:
    ready, _, _ = select.select([server, 0], [], [])
    if 0 in ready:
        if not os.read(0, 1): break
        server.close()
        if not os.read(0, 1): break
        server = listen()
    else: answer()
`

// taker is a session whose program listens on its pod's port 8080.
type taker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said chan string // lines of the program; closed when it has ended
	errs bytes.Buffer
}

func startTaker(t *testing.T, args ...string) *taker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	k := &taker{said: make(chan string, 1<<16)}
	k.cmd = command(ctx, t, append(append([]string{"exec", "-n", namespace}, args...), "--", "python3", "-c", taking)...)
	k.cmd.Stderr = &k.errs
	in, err := k.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.in = in
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(k.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			k.said <- lines.Text()
		}
	}()
	k.begins(t)
	return k
}

// begins waits until the program listens.
func (k *taker) begins(t *testing.T) {
	t.Helper()
	for line := range k.said {
		if line == "began" {
			return
		}
	}
	t.Fatal(k.end())
}

// again closes the port, or opens it again.
func (k *taker) again() { io.WriteString(k.in, "a") }

// end lets the program end, and returns what the session has said.
func (k *taker) end() string {
	k.in.Close()
	for range k.said {
	}
	k.cmd.Wait()
	return k.errs.String()
}

// saw says whether the program has been asked for a path that begins so.
func (k *taker) saw(path string) bool {
	for {
		select {
		case line, ok := <-k.said:
			if strings.HasPrefix(line, "asked for "+path) {
				return true
			}
			if !ok {
				return false
			}
		default:
			return false
		}
	}
}

// TestLoad takes and gives back a port to which 500 connections a second are made. None of the requests fails, whoever answers it; of a program that is killed only the
// one that it was answering may. Each session does so ten times, unless its program is killed.
func TestLoad(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	needIncoming(t)
	for _, c := range []struct {
		name   string
		args   []string
		config string
		killed bool
	}{
		{name: "stolen", args: []string{"--steal"}},
		{name: "stolen and killed", args: []string{"--steal"}, killed: true},
		{name: "stolen from the node", args: []string{"--steal"}, config: `{"agent": {"rights": "node"}}`},
		{name: "mirrored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rate = 500
			faulty(t, "loaded")
			faulty(t, "loader")
			seen := func(query string) (saw map[string]int) {
				t.Helper()
				text, err := answered("loader", "/load"+query)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(text), &saw); err != nil {
					t.Fatal(err, text)
				}
				return saw
			}
			args := append([]string{"-t", "pod/loaded"}, c.args...)
			if c.config != "" {
				args = append(args, "-f", write(t, "m.json", c.config))
			}
			began := time.Now()
			seen(fmt.Sprintf("?rate=%d&to=http://%s:8080/", rate, ask(t, "get", "pod", "loaded", "-o", "jsonpath={.status.podIP}")))
			cycles := count(t, "MIRRORD_TEST_CYCLES", 3)
			var k *taker
			for i := range cycles {
				before := seen("")["session"]
				if k == nil {
					k = startTaker(t, args...)
				} else {
					k.again()
					k.begins(t)
				}
				if c.args == nil {
					eventually(t, "a request that the mirror saw", func() bool { return k.saw("/") })
				} else {
					eventually(t, "a request that the session took", func() bool { return seen("")["session"] > before+rate/10 })
				}
				switch {
				case c.killed:
					k.cmd.Process.Signal(syscall.SIGTERM)
					k.end()
					k = nil
				case i%10 == 9 || i == cycles-1:
					if said := k.end(); strings.Contains(said, "warning") {
						t.Log(said)
					}
					k = nil
				default:
					k.again()
				}
				before = seen("")["loaded"]
				eventually(t, "a request that the pod's own program took", func() bool { return seen("")["loaded"] > before })
			}
			took := time.Since(began)
			saw := seen("?stop")
			all := 0
			for what, n := range saw {
				all += n
				if what != "loaded" && what != "session" {
					t.Logf("%d times %s", n, what)
				}
			}
			failed, allowed := all-saw["loaded"]-saw["session"], 0
			if c.killed {
				allowed = cycles // the program answers one at a time
			}
			if failed > allowed {
				t.Errorf("%d requests failed, %d may", failed, allowed)
			}
			t.Logf("%s: %d requests in %v, %.0f a second, through %d cycles: %d answered by the pod's program, %d by the session's, %d by nobody",
				c.name, all, took.Round(time.Second), float64(all)/took.Seconds(), cycles, saw["loaded"], saw["session"], failed)
			kubectl("delete", "pod", "-n", namespace, "loaded", "loader", "--wait")
		})
	}
}

// Two mirrors see every request, and the pod's own program answers; of two thieves of one port the second is told who has it.
func TestTwoLaunchers(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	needIncoming(t)
	faulty(t, "crowded")
	one, two := startTaker(t, "-t", "pod/crowded"), startTaker(t, "-t", "pod/crowded")
	request := func(path string) {
		t.Helper()
		if answer, err := answered("crowded", path+"?close"); err != nil || !strings.HasPrefix(answer, "crowded ") {
			t.Errorf("%s: %q, %v", path, answer, err)
		}
	}
	for _, k := range []*taker{one, two} {
		eventually(t, "a request that the mirror sees", func() bool { request("/begun"); return k.saw("/begun") })
	}
	for i := range 10 {
		path := fmt.Sprintf("/mirror-%d.", i)
		request(path)
		for _, k := range []*taker{one, two} {
			eventually(t, path, func() bool { return k.saw(path) })
		}
	}
	one.end()
	two.end()

	thief := startTaker(t, "-t", "pod/crowded", "--steal")
	eventually(t, "a request that the thief takes", func() bool { answer, _ := answered("crowded", "/steal?close"); return answer == "session took it\n" })
	late := startTaker(t, "-t", "pod/crowded", "--steal")
	for range 10 {
		if answer, err := answered("crowded", "/steal?close"); answer != "session took it\n" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	if said := late.end(); !strings.Contains(said, "stolen by") || late.saw("/steal") {
		t.Errorf("the second thief is told\n%s", said)
	}
	thief.end()
	eventually(t, "an answer of the pod's own", func() bool {
		answer, _ := answered("crowded", "/own?close")
		return strings.HasPrefix(answer, "crowded ")
	})
}

// needIncoming leaves a test out where an agent cannot take a pod's connections.
func needIncoming(t *testing.T) {
	t.Helper()
	r := mirrord(t, "exec", "-n", namespace, "-t", "deployment/web", "--steal", "--", "true")
	if r.status != 0 || strings.Contains(r.err, "the agent cannot serve incoming") {
		t.Skipf("needs incoming connections:\n%s", r.err)
	}
}
