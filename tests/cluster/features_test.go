package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	needCluster(t)
	node := strings.TrimSpace(ask(t, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}"))
	webPod := strings.TrimSpace(ask(t, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"))
	for _, c := range []struct{ target, variable, want string }{
		{"deployment/web", "NODE", node},
		{"deploy/web/container/istio-proxy", "SIDECAR", "yes"},
		{"pod/" + webPod, "PASSWORD", "hunter2"},
		{"service/web", "GREETING", "hello"},
		{"label/tests/part=web", "GREETING", "hello"},
		{"statefulset/db", "WHO", "db"},
		{"service/db", "WHO", "db"},
		{"daemonset/everywhere", "WHO", "everywhere"},
		{"replicaset/copies", "WHO", "copies"},
		{"job/work", "WHO", "work"},
		{"pod/two", "WHO", "two-second"},
		{"pod/two/container/first", "WHO", "two-first"},
		{"pod/native", "WHO", "native-app"},
		{"pod/native/container/logs", "WHO", "native-logs"},
		{"pod/shared", "WHO", "shared-first"},
		{"pod/shared/container/second", "WHO", "shared-second"},
		{"pod/hostnet", "WHO", "hostnet"},
		{"pod/more-rights", "WHO", "more-rights"},
	} {
		t.Run(c.target, func(t *testing.T) {
			if got := inside(t, c.target, "printenv", c.variable); strings.TrimSpace(got) != c.want {
				t.Errorf("%s is %q, not %q", c.variable, got, c.want)
			}
		})
	}
}

// The target's user is the pod's, the image's, or one that only the agent can find out; a file that nobody else may read is read.
func TestUsers(t *testing.T) {
	needCluster(t)
	for where, who := range map[[2]string]string{
		{namespace, "pod/by-pod"}:    "by-pod",
		{namespace, "pod/by-image"}:  "by-image",
		{restricted, "pod/by-pod"}:   "restricted-by-pod",
		{restricted, "pod/by-image"}: "restricted-by-image",
	} {
		t.Run(who, func(t *testing.T) {
			got := insideOf(t, where[0], where[1], "sh", "-c", "printenv WHO; cat /srv/data/file; cat /etc/hostname")
			name := strings.TrimPrefix(where[1], "pod/")
			if want := who + "\nwritten by the pod\n" + name + "\n"; got != want {
				t.Errorf("%q, not %q", got, want)
			}
		})
	}
}

const pythonProgram = `
import os, socket, urllib.request
print(os.environ["GREETING"], os.environ["PASSWORD"])
print(open("/srv/config/colour.txt").read().strip(), open("/srv/secret/PASSWORD").read(), open("/srv/data/file").read().strip())
print(sorted(n for n in os.listdir("/srv/config") if n[0] != "."))
print(socket.gethostname())
print(socket.gethostbyname("web") == socket.gethostbyname("web.%NS%.svc") == os.environ["WEB_SERVICE_HOST"])
print(urllib.request.urlopen("http://web/").read().decode().split()[1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("web", 7000))
s.settimeout(20)
s.send(b"ping")
print(s.recv(100))
try: socket.gethostbyname("nowhere.%NS%.svc.cluster.local"); print("found")
except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)
try: socket.create_connection(("127.0.0.1", 9), 20); print("connected")
except ConnectionRefusedError: print("refused")
`

func TestPython(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	got := strings.Split(inside(t, "deployment/web", "python3", "-c", strings.ReplaceAll(pythonProgram, "%NS%", namespace)), "\n")
	want := []string{"hello hunter2", "blue hunter2 written by the pod", "['GREETING', 'colour.txt']", "web-", "True", "hello", "b'echo ping'", "True", "refused", ""}
	compare(t, got, want)
}

const nodeProgram = `
const fs = require('fs'), os = require('os'), dns = require('dns').promises, http = require('http'), dgram = require('dgram');
const get = url => new Promise((done, fail) => http.get(url, r => { let s = ''; r.on('data', d => s += d).on('end', () => done(s)); }).on('error', fail));
(async () => {
  console.log(process.env.GREETING, process.env.PASSWORD);
  console.log(fs.readFileSync('/srv/config/colour.txt', 'utf8').trim(), fs.readFileSync('/srv/data/file', 'utf8').trim());
  console.log(os.hostname());
  console.log((await dns.lookup('web')).address === process.env.WEB_SERVICE_HOST, (await dns.resolve4('web.%NS%.svc.cluster.local'))[0] === process.env.WEB_SERVICE_HOST);
  console.log((await dns.resolveSrv('_http._tcp.web.%NS%.svc.cluster.local'))[0].port);
  console.log((await get('http://web/')).split(' ')[1], (await get('http://db-0.db:8080/')).split(' ')[0]);
  await get('http://127.0.0.1:9/').catch(e => console.log(e.code));
  const s = dgram.createSocket('udp4');
  s.connect(7000, process.env.WEB_SERVICE_HOST, () => s.send('ping'));
  s.on('message', m => { console.log(String(m)); s.close(); });
})();
`

func TestNode(t *testing.T) {
	needCluster(t)
	need(t, "node")
	got := strings.Split(inside(t, "deployment/web", "node", "-e", strings.ReplaceAll(nodeProgram, "%NS%", namespace)), "\n")
	compare(t, got, []string{"hello hunter2", "blue written by the pod", "web-", "true true", "80", "hello db-0", "ECONNREFUSED", "echo ping", ""})
}

func TestCurl(t *testing.T) {
	needCluster(t)
	need(t, "curl")
	got := inside(t, "deployment/web", "sh", "-c", `curl -sS http://web http://web."$1".svc.cluster.local http://db:8080 http://127.0.0.1:15000 file:///srv/secret/PASSWORD`, "sh", namespace)
	compare(t, strings.Split(got, "\n"), []string{"web-", "web-", "db-0  from", "web-", "hunter2"})
	// The pod itself is where the connection comes from.
	address := strings.TrimSpace(inside(t, "pod/two", "sh", "-c", `curl -sS http://db:8080 | sed 's/.*from //; s/:.*//'`))
	if want := ask(t, "get", "pod", "two", "-o", "jsonpath={.status.podIP}"); address != want {
		t.Errorf("the connection comes from %s, not from %s", address, want)
	}
}

// compare wants each line to begin as it should.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s\nwant lines that begin with\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			return
		}
	}
}

func TestList(t *testing.T) {
	needCluster(t)
	r := mirrord(t, "ls", "-n", namespace, "-o", "json")
	var list struct {
		Namespace string
		Targets   []struct {
			Target      string
			Containers  []string
			Ports       []int
			Ready, Pods int
		}
	}
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || list.Namespace != namespace {
		t.Fatalf("%v\n%s%s", err, r.out, r.err)
	}
	got := map[string]string{}
	for _, l := range list.Targets {
		got[l.Target] = fmt.Sprint(l.Containers, l.Ports, l.Ready, "/", l.Pods)
	}
	for target, want := range map[string]string{
		"deployment/web": "[web][8080]2/2", "service/web": "[web][8080]2/2", "statefulset/db": "[db][]1/1", "job/work": "[app][]1/1", "cronjob/never": "[][]0/0",
		"pod/unready": "[app][]0/1", "pod/imageless": "[app][]0/1", "pod/two": "[first second][8080 8081]1/1", "replicaset/copies": "[app][]1/1",
	} {
		if strings.ReplaceAll(got[target], " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %s, not %s", target, got[target], want)
		}
	}
	table := mirrord(t, "ls", "-n", namespace, "-t", "deployment")
	compare(t, strings.Split(table.out, "\n"), []string{"TARGET           READY   CONTAINERS   PORTS", "deployment/web   2/2     web          8080", ""})
}
