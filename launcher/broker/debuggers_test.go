package broker

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
	"mirrord/launcher/procs"
	"mirrord/layer/frame"
)

// TestDebugger: a port that the process itself names (here by the variable) is not the pod's.
func TestDebugger(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	reads := 0
	s.debuggers.Read = func(int) procs.Command {
		reads++
		return procs.Command{Env: []string{"MIRRORD_IGNORE_DEBUGGER_PORTS=8080,9000-9010"}}
	}
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
	before := reads
	if _, rules := s.ask(t, frame.Hello, &frame.HelloRequest{}, nil); rules != nil {
		rules.Close()
	}
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort("127.0.0.1:9010")}, new(frame.ConnectReply))
	if reads != before+1 {
		t.Errorf("after an exec the command line is another, and was read %d times", reads-before)
	}
}
