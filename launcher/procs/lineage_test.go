package procs

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kin is a row of a table in which unique ids are pids plus 1000.
func kin(pid, ppid, parent int) relative {
	return relative{Process: Process{PID: pid, PPID: ppid}, id: uint64(pid + 1000), parent: uint64(parent + 1000)}
}

// below are the pids that adopt puts directly below pid.
func below(pid int, table []Process) (pids []int) {
	for _, p := range table {
		if p.PPID == pid {
			pids = append(pids, p.PID)
		}
	}
	slices.Sort(pids)
	return pids
}

func TestLineageAdoptsOrphans(t *testing.T) {
	var looked []int
	l := newLineage(kin(50, 40, 40), []relative{kin(1, 0, 0), kin(9, 1, 1), kin(50, 40, 40)}, func(p relative) bool {
		looked = append(looked, p.PID)
		return p.PID == 70 || p.PID == 9
	})
	for _, step := range []struct {
		name  string
		table []relative
		want  []int
	}{
		{"a child and a grandchild", []relative{kin(9, 1, 1), kin(52, 51, 51), kin(51, 50, 50), kin(50, 40, 40)}, []int{51}},
		{"the child has ended", []relative{kin(9, 1, 1), kin(52, 1, 51), kin(50, 40, 40)}, []int{52}},
		{"the grandchild has ended too, and left one", []relative{kin(9, 1, 1), kin(53, 1, 52), kin(50, 40, 40)}, []int{53}},
		{"one with the mark, of a parent that was never seen", []relative{kin(53, 1, 52), kin(70, 1, 69), kin(71, 70, 70), kin(50, 40, 40)}, []int{53, 70}},
		{"its child stays of the session", []relative{kin(71, 1, 70), kin(50, 40, 40)}, []int{71}},
		{"one of another session", []relative{kin(80, 1, 79), kin(50, 40, 40)}, nil},
		{"the same pid, but a later process", []relative{{Process: Process{PID: 71, PPID: 1}, id: 5000, parent: 1001}, kin(50, 40, 40)}, nil},
		{"nothing is known of it", []relative{{Process: Process{PID: 72, PPID: 1}}, kin(50, 40, 40)}, nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			for range 2 { // what was found is found again
				if got := below(50, l.adopt(step.table)); !slices.Equal(got, step.want) {
					t.Errorf("got %v, not %v", got, step.want)
				}
			}
		})
	}
	if want := []int{70, 80, 71}; !slices.Equal(looked, want) {
		t.Errorf("the environments of %v were read, not of %v", looked, want)
	}
}

func TestLineageOfASurvivor(t *testing.T) {
	l := newLineage(kin(50, 40, 40), nil, func(relative) bool { return false })
	l.add(1051) // a child that had children of its own before anybody looked
	if got := below(50, l.adopt([]relative{kin(52, 1, 51), kin(50, 1, 40)})); !slices.Equal(got, []int{52}) {
		t.Errorf("got %v", got)
	}
}

// procArgsText is kern.procargs2 as the kernel lays it out.
func procArgsText(count uint32, exe string, words ...string) []byte {
	raw := binary.NativeEndian.AppendUint32(nil, count)
	raw = append(append(raw, exe...), 0)
	for len(raw)%8 != 0 {
		raw = append(raw, 0)
	}
	for _, w := range words {
		raw = append(append(raw, w...), 0)
	}
	return raw
}

func TestParseProcArgs(t *testing.T) {
	for _, tt := range []struct {
		name string
		raw  []byte
		want procArgs
		ok   bool
	}{
		{"all", procArgsText(2, "/bin/echo", "echo", "", "A=1", "B=", "", "executable_path=/bin/echo"),
			procArgs{"/bin/echo", []string{"echo", ""}, []string{"A=1", "B="}}, true},
		{"a guarded program", procArgsText(3, "/bin/sh", "sh", "-c", "x"), procArgs{"/bin/sh", []string{"sh", "-c", "x"}, nil}, true},
		{"a relative path", procArgsText(1, "./x", "x"), procArgs{"./x", []string{"x"}, nil}, true},
		{"cut off", procArgsText(1, "/x", "x", "A=1", "B=22")[:17], procArgs{"/x", []string{"x"}, []string{"A=1", "B=2"}}, true},
		{"more arguments than there are", procArgsText(1<<31, "/x", "a", "b"), procArgs{"/x", []string{"a", "b"}, nil}, true},
		{"no path", procArgsText(1, "", "a"), procArgs{}, false},
		{"no end of the path", []byte("\x01\x00\x00\x00/x"), procArgs{}, false},
		{"too short", []byte{1, 0}, procArgs{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseProcArgs(tt.raw)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(procArgs{})); diff != "" || ok != tt.ok {
				t.Errorf("%v %s", ok, diff)
			}
		})
	}
}

func FuzzParseProcArgs(f *testing.F) {
	f.Add(procArgsText(2, "/bin/echo", "echo", "", "A=1", "", "executable_path=/bin/echo"))
	f.Add(procArgsText(1<<32-1, "/x", "", ""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, ok := parseProcArgs(raw)
		size := len(p.exe)
		for _, w := range slices.Concat(p.argv, p.env) {
			size += len(w)
		}
		if size > len(raw) || ok && p.exe == "" {
			t.Errorf("%d bytes of %d: %+v", size, len(raw), p)
		}
	})
}
