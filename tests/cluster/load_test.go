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
	"testing"
	"time"
)

// taking answers what comes to the pod's port until its standard input ends, then what has come until then. It writes each request's path, and
// knows nothing at /ready.
const taking = `
import select, socket, sys
server = socket.create_server(("", 8080), backlog=1024)
print("began", flush=True)
def answer(wait):
    server.setblocking(wait)
    try: c, _ = server.accept()
    except BlockingIOError: return False
    c.setblocking(True)
    c.settimeout(20)
    try:
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = c.recv(4096)
            if not more: return True
            asked += more
        path = asked.split()[1].decode()
        print("asked for", path, flush=True)
        status = b"404 Not Found" if path == "/ready" else b"200 OK"
        c.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 16\r\nConnection: close\r\n\r\nsession took it\n")
    except OSError: pass
    finally: c.close()
    return True
while True:
    ready, _, _ = select.select([server, sys.stdin], [], [])
    if server in ready: answer(True)
    if sys.stdin in ready: break
while answer(False): pass
server.close() # at once: what comes while the interpreter ends would be lost with it
`

// taker is a session whose program listens on its pod's port 8080.
type taker struct {
	cmd  *exec.Cmd
	in   io.Closer
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
	if line := <-k.said; line != "began" {
		t.Fatalf("%q\n%s", line, k.end())
	}
	return k
}

// end lets the program end, and returns what the session has said.
func (k *taker) end() string {
	k.in.Close()
	for range k.said {
	}
	k.cmd.Wait()
	return k.errs.String()
}

// saw says whether the program has been asked for a path.
func (k *taker) saw(path string) bool {
	for {
		select {
		case line, ok := <-k.said:
			if line == "asked for "+path {
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

// TestLoad begins and ends sessions that steal a port to which 500 connections a second are made: none of the requests fails, whoever answers it.
func TestLoad(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	needIncoming(t)
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
	began := time.Now()
	seen(fmt.Sprintf("?rate=%d&to=http://%s:8080/", rate, ask(t, "get", "pod", "loaded", "-o", "jsonpath={.status.podIP}")))
	cycles := count(t, "MIRRORD_TEST_CYCLES", 3)
	for range cycles {
		before := seen("")["session"]
		k := startTaker(t, "-t", "pod/loaded", "--steal")
		eventually(t, "a request that the session took", func() bool { return seen("")["session"] > before+rate/10 })
		if said := k.end(); strings.Contains(said, "warning") {
			t.Log(said)
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
			t.Errorf("%d times %s", n, what)
		}
	}
	t.Logf("%d requests in %v, %.0f a second, through %d cycles of stealing: %d answered by the pod's program, %d by the session's, %d by nobody",
		all, took.Round(time.Second), float64(all)/took.Seconds(), cycles, saw["loaded"], saw["session"], all-saw["loaded"]-saw["session"])
}

// Two mirrors see every request, and the pod's own program answers; of two thieves of one port the second is told who has it.
func TestTwoLaunchers(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	needIncoming(t)
	faulty(t, "crowded")
	one, two := startTaker(t, "-t", "pod/crowded"), startTaker(t, "-t", "pod/crowded")
	i, both := 0, map[*taker]bool{}
	eventually(t, "a request that both mirrors see", func() bool {
		i++
		path := fmt.Sprintf("/mirror-%d", i)
		if answer, err := answered("crowded", path); err != nil || !strings.HasPrefix(answer, "crowded ") {
			t.Errorf("%s: %q, %v", path, answer, err)
		}
		for _, k := range []*taker{one, two} {
			both[k] = both[k] || k.saw(path)
		}
		return both[one] && both[two]
	})
	one.end()
	two.end()

	thief := startTaker(t, "-t", "pod/crowded", "--steal")
	eventually(t, "a request that the thief takes", func() bool { answer, _ := answered("crowded", "/steal"); return answer == "session took it\n" })
	late := startTaker(t, "-t", "pod/crowded", "--steal")
	for range 10 {
		if answer, err := answered("crowded", "/steal"); answer != "session took it\n" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	if said := late.end(); !strings.Contains(said, "stolen by") || late.saw("/steal") {
		t.Errorf("the second thief is told\n%s", said)
	}
	thief.end()
	eventually(t, "an answer of the pod's own", func() bool { answer, _ := answered("crowded", "/own"); return strings.HasPrefix(answer, "crowded ") })
}

// needIncoming leaves a test out where an agent cannot take a pod's connections.
func needIncoming(t *testing.T) {
	t.Helper()
	r := mirrord(t, "exec", "-n", namespace, "-t", "deployment/web", "--steal", "--", "true")
	if r.status != 0 || strings.Contains(r.err, "the agent cannot serve incoming") {
		t.Skipf("needs incoming connections:\n%s", r.err)
	}
}
