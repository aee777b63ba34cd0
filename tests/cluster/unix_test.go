package cluster

import (
	"strings"
	"testing"
)

// Unix sockets of a pod whose program is not root: by path and by abstract name, with the kernel's own refusals.
func TestUnixSockets(t *testing.T) {
	needCluster(t)
	conf := write(t, "mirrord.yaml", `feature: {network: {outgoing: {unix_streams: ["^/srv/data", "^@shop$"]}}}`)
	run := func(status int, words ...string) string {
		t.Helper()
		r := mirrord(t, append([]string{"exec", "-n", namespace, "-t", "pod/sockets", "-f", conf, "--"}, words...)...)
		if r.status != status {
			t.Errorf("%q: status %d\n%s%s", words, r.status, r.out, r.err)
		}
		return r.out
	}
	const want = "sockets  from @\n"
	t.Run("curl", func(t *testing.T) {
		need(t, "curl")
		for _, at := range [][]string{{"--unix-socket", "/srv/data/app.sock"}, {"--abstract-unix-socket", "shop"}} {
			if got := run(0, append([]string{"curl", "-sS", "http://pod/"}, at...)...); got != want {
				t.Errorf("%v: %q", at, got)
			}
		}
		run(7, "curl", "-sS", "http://pod/", "--unix-socket", "/srv/data/denied.sock")
	})
	t.Run("from the node", func(t *testing.T) { // through the target's root, and in its network
		need(t, "curl")
		t.Setenv("MIRRORD_AGENT_RIGHTS", "node")
		for _, at := range [][]string{{"--unix-socket", "/srv/data/app.sock"}, {"--abstract-unix-socket", "shop"}} {
			if got := run(0, append([]string{"curl", "-sS", "http://pod/"}, at...)...); got != want {
				t.Errorf("%v: %q", at, got)
			}
		}
	})
	t.Run("node", func(t *testing.T) {
		need(t, "node")
		if got := run(0, "node", "-e", `require("http").get({socketPath: "/srv/data/app.sock"}, (r) => r.pipe(process.stdout))`); got != want {
			t.Errorf("%q", got)
		}
	})
	t.Run("python3", func(t *testing.T) {
		need(t, "python3")
		got := run(0, "python3", "-c", `
import errno, socket
for at in "/srv/data/app.sock", "\0shop", "/srv/data/denied.sock", "/srv/data/none.sock", "/srv/data", "/tmp/none.sock":
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(at)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"sockets" in s.makefile("rb").read()
        print(s.getpeername())
    except OSError as e:
        print(errno.errorcode[e.errno])
`)
		if want := []string{"/srv/data/app.sock", `b'\x00shop'`, "EACCES", "ENOENT", "ECONNREFUSED", "ENOENT"}; !strings.HasPrefix(got, strings.Join(want, "\n")+"\n") {
			t.Errorf("%s", got)
		}
	})
}
