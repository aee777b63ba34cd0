package debuggers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/procs"
)

func TestNamed(t *testing.T) {
	for _, test := range []struct {
		exe, argv, env, file string
		want                 []uint16
	}{
		{"/usr/bin/node", "node app.js", "", "", []uint16{9229}},
		{"/usr/bin/node", "node --inspect app.js", "", "", []uint16{9229}},
		{"/usr/bin/node", "node --inspect-brk=9300 app.js", "", "", []uint16{9300}},
		{"/usr/bin/node", "node --inspect=0.0.0.0:9301 app.js", "", "", []uint16{9301}},
		{"/usr/bin/node", "node --inspect-wait=localhost app.js", "", "", []uint16{9229}},
		{"/usr/bin/node", "node --inspect --inspect-port 9302 worker.js", "", "", []uint16{9302}},
		{"/usr/bin/node", "node --inspect-port=[::1]:9303 worker.js", "", "", []uint16{9303}},
		{"/usr/bin/node", "node app.js", "NODE_OPTIONS=--max-old-space-size=100 --inspect-brk=127.0.0.1:9304", "", []uint16{9304}},
		{"/usr/bin/node", "node app.js", `NODE_INSPECTOR_INFO={"ipc":"x","inspectorURL":"ws://127.0.0.1:9305/abc"}`, "", []uint16{9229, 9305}},
		{"/usr/bin/node", "node --inspect=0 app.js", "", "", nil},
		{"/usr/bin/nodemon", "nodemon --inspect=9300", "", "", nil},

		{"/usr/bin/python3.11", "python3 -m debugpy --listen 5678 app.py --connect 1", "", "", []uint16{5678, 1}},
		{"/usr/bin/python3.11", "python3 -m debugpy --connect 127.0.0.1:5679 --wait-for-client app.py", "", "", []uint16{5679}},
		{"/v/bin/python", "python /x/debugpy/adapter --for-server 40001 --host 127.0.0.1 --port 5678", "", "", []uint16{5678, 40001}},
		{"/v/bin/python", "python /x/debugpy/launcher 127.0.0.1:45678 -- app.py", "", "", []uint16{45678}},
		{"/v/bin/python", "python /x/debugpy/__main__.py --connect=localhost:34567 app.py", "", "", []uint16{34567}},
		{"/v/bin/python", "python /x/pydevd.py --multiprocess --client 127.0.0.1 --port 55075 --file app.py --port 8080", "", "", []uint16{55075}},
		{"/v/bin/python", "python app.py --port 8080 --listen 80", "", "", nil},

		{"/root/go/bin/dlv", "dlv exec --headless --listen=127.0.0.1:2345 ./cart -- --listen=:8080", "", "", []uint16{2345}},
		{"/root/go/bin/dlv", "dlv debug --headless -l :2346 .", "", "", []uint16{2346}},
		{"/root/go/bin/dlv", "dlv dap --client-addr=127.0.0.1:2347", "", "", []uint16{2347}},
		{"/root/go/bin/dlv", "dlv exec ./cart -- -l 8080", "", "", nil},
		{"/v/bin/python", "python /x/debugpy/launcher", "", "", nil},
		{"/v/bin/pypy3", "pypy3 -m debugpy --listen", "", "", nil},

		{"/jdk/bin/java", "java -agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005 Main", "", "", []uint16{5005}},
		{"/jdk/bin/java", "java -Xdebug -Xrunjdwp:transport=dt_socket,address=127.0.0.1:5006 Main", "", "", []uint16{5006}},
		{"/jdk/bin/java", "java Main", "JAVA_TOOL_OPTIONS=-Xmx1g -agentlib:jdwp=transport=dt_socket,server=y,address=5007", "", []uint16{5007}},
		{"/jdk/bin/java", "java @options Main", "", "-cp /x\n\"-agentlib:jdwp=transport=dt_socket,address=5008\"", []uint16{5008}},
		{"/jdk/bin/java", "java -agentlib:jdwp=transport=dt_socket,server=y Main address=1", "", "", nil},
		{"/jdk/bin/java", "java @options", "", "@options", nil},

		{"/usr/bin/dotnet", "dotnet exec /r/JetBrains.Debugger.Worker.exe --mode=server --frontend-port=57000", "", "", []uint16{57000}},
		{"/usr/bin/dotnet", "dotnet run --frontend-port=57000", "", "", nil},

		{"/usr/bin/php", "php x.php", "MIRRORD_IGNORE_DEBUGGER_PORTS=9003, 9005,x,70000", "", []uint16{9003, 9005}},
		{"", "", "", "", nil},
	} {
		c := procs.Command{Exe: test.exe, Argv: strings.Fields(test.argv), ReadFile: func(name string) string {
			if name != "options" {
				t.Errorf("reads %q", name)
			}
			return test.file
		}}
		if test.env != "" {
			c.Env = []string{"A=b", test.env}
		}
		var got []uint16
		for _, r := range named(c) {
			got = append(got, r.first)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", test.argv, test.env, diff)
		}
	}
}

func FuzzNamed(f *testing.F) {
	f.Add("/usr/bin/node", "node\x00--inspect=[::1]:1", "NODE_OPTIONS=--inspect-port")
	f.Add("/usr/bin/python3", "python\x00/debugpy/launcher\x00:", "MIRRORD_IGNORE_DEBUGGER_PORTS=1-2,3")
	f.Add("/usr/bin/java", "java\x00@x\x00-agentlib:jdwp=address=", "JAVA_TOOL_OPTIONS=@y")
	f.Fuzz(func(t *testing.T, exe, argv, env string) {
		named(procs.Command{Exe: exe, Argv: strings.Split(argv, "\x00"), Env: []string{env}, ReadFile: func(string) string { return argv }})
	})
}

func TestHas(t *testing.T) {
	reads := 0
	p := Ports{Read: func(pid int) procs.Command {
		reads++
		return procs.Command{Env: []string{"MIRRORD_IGNORE_DEBUGGER_PORTS=" + []string{"", "8080,9000-9010", "7000"}[pid]}}
	}}
	for i, c := range []struct {
		pid   int
		port  uint16
		anew  bool
		want  bool
		reads int
	}{
		{0, 8080, true, false, 0},
		{1, 8080, false, true, 1},
		{1, 9005, false, true, 1},
		{1, 9011, false, false, 1},
		{1, 8080, true, true, 2},
		{0, 8080, false, true, 2},
		{2, 8080, false, true, 3},
		{2, 7000, false, true, 3},
	} {
		if got := p.Has(c.pid, c.port, c.anew); got != c.want || reads != c.reads {
			t.Errorf("%d: %v after %d reads, want %v after %d", i, got, reads, c.want, c.reads)
		}
	}
	p.Forget(2)
	if p.Has(2, 1, false); reads != 4 {
		t.Errorf("after an exec the command line is another, and was read %d times", reads)
	}
}
