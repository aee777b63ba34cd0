package traffic

import "testing"

func TestPodPort(t *testing.T) {
	for _, test := range []struct {
		in   Incoming
		want [3]uint16 // of ports 80, 81 and 3000; 0: this machine's alone
	}{
		{Incoming{Mode: Steal}, [3]uint16{80, 81, 3000}},
		{Incoming{Mode: Mirror}, [3]uint16{80, 81, 3000}},
		{Incoming{Mode: Unset}, [3]uint16{80, 81, 3000}},
		{Incoming{Mode: Off}, [3]uint16{}},
		{Incoming{Mode: Steal, Ports: []uint16{80}}, [3]uint16{80}},
		{Incoming{Mode: Steal, IgnorePorts: []uint16{80}}, [3]uint16{0, 81, 3000}},
		// `ports` are the pod's, and a port of the pod that another stands for is not its own any more.
		{Incoming{Mode: Steal, PortMapping: [][2]uint16{{3000, 80}}}, [3]uint16{0, 81, 80}},
		{Incoming{Mode: Steal, PortMapping: [][2]uint16{{3000, 80}}, Ports: []uint16{80}}, [3]uint16{0, 0, 80}},
		{Incoming{Mode: Steal, PortMapping: [][2]uint16{{3000, 80}}, IgnorePorts: []uint16{80}}, [3]uint16{0, 81, 0}},
		{Incoming{Mode: Steal, PortMapping: [][2]uint16{{3000, 80}}, IgnorePorts: []uint16{3000}}, [3]uint16{0, 81, 0}},
		{Incoming{Mode: Steal, PortMapping: [][2]uint16{{80, 81}, {81, 80}}}, [3]uint16{81, 80, 3000}},
	} {
		for i, local := range []uint16{80, 81, 3000} {
			pod, ok := test.in.PodPort(local)
			if !ok {
				pod = 0
			}
			if pod != test.want[i] {
				t.Errorf("%+v: port %d stands for %d, want %d", test.in, local, pod, test.want[i])
			}
			if ok && test.in.LocalPort(pod) != local {
				t.Errorf("%+v: port %d of the pod is %d here", test.in, pod, test.in.LocalPort(pod))
			}
		}
		if _, ok := test.in.PodPort(0); ok {
			t.Error("any port stands for one of the pod")
		}
	}
}

func TestListenPort(t *testing.T) {
	in := Incoming{ListenPorts: [][2]uint16{{80, 8000}}}
	if got, ok := in.ListenPort(80); got != 8000 || !ok {
		t.Errorf("%d, %v", got, ok)
	}
	if _, ok := in.ListenPort(8000); ok {
		t.Error("a port that nobody asked for")
	}
}
