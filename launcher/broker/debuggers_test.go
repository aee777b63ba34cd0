package broker

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

func TestDebuggerPorts(t *testing.T) {
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
		c := command{exe: test.exe, argv: strings.Fields(test.argv), readFile: func(name string) string {
			if name != "options" {
				t.Errorf("reads %q", name)
			}
			return test.file
		}}
		if test.env != "" {
			c.env = []string{"A=b", test.env}
		}
		var got []uint16
		for _, r := range debuggerPorts(c) {
			got = append(got, r.first)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", test.argv, test.env, diff)
		}
	}
}

func FuzzDebuggerPorts(f *testing.F) {
	f.Add("/usr/bin/node", "node\x00--inspect=[::1]:1", "NODE_OPTIONS=--inspect-port")
	f.Add("/usr/bin/python3", "python\x00/debugpy/launcher\x00:", "MIRRORD_IGNORE_DEBUGGER_PORTS=1-2,3")
	f.Add("/usr/bin/java", "java\x00@x\x00-agentlib:jdwp=address=", "JAVA_TOOL_OPTIONS=@y")
	f.Fuzz(func(t *testing.T, exe, argv, env string) {
		debuggerPorts(command{exe: exe, argv: strings.Split(argv, "\x00"), env: []string{env}, readFile: func(string) string { return argv }})
	})
}

// TestDebugger: a port that the process itself names (here by the variable) is not the pod's.
func TestDebugger(t *testing.T) {
	if commandOf(os.Getpid()).argv == nil {
		t.Skip("the system does not tell command lines")
	}
	s := start(t, echoAgent(t), nil)
	s.debuggers.ports = []portRange{{8080, 8080}, {9000, 9010}}
	s.program(t, "127.0.0.1:0", 8080)
	if s.agent.isSubscribed(8080) || len(s.emitted(events.Listen)) > 0 {
		t.Error("a debugger's port is the pod's")
	}
	s.expect(int32(unix.EADDRINUSE), frame.Bind, &frame.BindRequest{Errno: uint32(unix.EADDRINUSE), Requested: netip.MustParseAddrPort("127.0.0.1:9005")})
	for to, want := range map[string]int32{"127.0.0.1:9010": frame.StatusLocal, "[::1]:9000": frame.StatusLocal, "127.0.0.1:9011": frame.StatusOK, "10.0.0.1:9000": frame.StatusOK} {
		if status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort(to)}, new(frame.ConnectReply)); status != want {
			t.Errorf("connect to %s: status %d, want %d", to, status, want)
		}
	}
	looked := func() bool {
		s.debuggers.mu.Lock()
		defer s.debuggers.mu.Unlock()
		return s.debuggers.looked[os.Getpid()]
	}
	if !looked() {
		t.Error("the command line was not read")
	}
	if _, rules := s.ask(t, frame.Hello, &frame.HelloRequest{}, nil); rules != nil {
		rules.Close()
	}
	if looked() {
		t.Error("after an exec the command line is another")
	}
}
