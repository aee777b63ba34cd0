//go:build amd64 || arm64

package supervise

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
)

// facts is what this package believes of the kernel of the machine that it is built for.
type facts struct {
	Calls   []uint32          // the table's
	Layouts map[string]layout // by their names in C
}

type layout struct {
	Size   uintptr
	Fields map[string]uintptr
}

// asFacts has TestFacts print them, and nothing else.
const asFacts = "MIRRORD_TEST_FACTS"

func ownFacts() facts {
	lower := func(prefix string) func(string) string {
		return func(field string) string { return prefix + strings.ToLower(field) }
	}
	return facts{slices.Sorted(maps.Keys(table)), map[string]layout{
		"struct stat": layoutOf[unix.Stat_t](func(field string) string { // its times are two fields there
			return "st_" + strings.Replace(strings.ToLower(field), "tim", "time", 1)
		}, "Dev", "Ino", "Nlink", "Mode", "Uid", "Gid", "Rdev", "Size", "Blksize", "Blocks", "Atim", "Mtim", "Ctim"),
		"struct statx": layoutOf[unix.Statx_t](lower("stx_"), "Mask", "Blksize", "Attributes", "Nlink", "Uid", "Gid", "Mode", "Ino", "Size", "Blocks", "Attributes_mask",
			"Atime", "Btime", "Ctime", "Mtime", "Rdev_major", "Rdev_minor", "Dev_major", "Dev_minor"),
		"struct statfs":   layoutOf[unix.Statfs_t](lower("f_"), "Type", "Bsize", "Blocks", "Bfree", "Bavail", "Files", "Ffree", "Fsid", "Namelen", "Frsize", "Flags"),
		"struct open_how": layoutOf[unix.OpenHow](lower(""), "Flags", "Mode", "Resolve"),
	}}
}

func layoutOf[T any](name func(string) string, fields ...string) layout {
	of := reflect.TypeFor[T]()
	l := layout{of.Size(), map[string]uintptr{}}
	for _, field := range fields {
		f, ok := of.FieldByName(field)
		if !ok {
			panic(of.String() + " has no " + field)
		}
		l.Fields[name(field)] = f.Offset
	}
	return l
}

func TestFacts(t *testing.T) {
	if os.Getenv(asFacts) == "" {
		t.Skip("TestHeaders has this test print what an arm64 program believes")
	}
	if err := json.NewEncoder(os.Stdout).Encode(ownFacts()); err != nil {
		t.Fatal(err)
	}
	os.Exit(0)
}

// runARM64 runs tests of this package as a program for arm64, and returns what that printed.
func runARM64(t *testing.T, tests string, env ...string) []byte {
	t.Helper()
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Skip("left out: qemu-aarch64-static is not installed")
	}
	program := filepath.Join(t.TempDir(), "supervise.test")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	cmd := exec.Command(qemu, program, "-test.v", "-test.run", tests)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return out
}

// TestARM64 runs what needs no kernel of that machine.
func TestARM64(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("only x86_64 has arm64 programs emulated")
	}
	tests := "^(TestVerdicts|TestFilterIsAsSmallAsItCanBe|TestTags|TestEntries|TestAddresses)$"
	out := string(runARM64(t, tests))
	if n := strings.Count(out, "\n--- PASS: "); n < strings.Count(tests, "|")+1 || strings.Contains(out, "--- SKIP") {
		t.Errorf("%d tests passed\n%s", n, out)
	}
}

// TestHeaders holds the numbers of calls and what their memory looks like to the kernel's headers for the machine.
func TestHeaders(t *testing.T) {
	for arch, compiler := range map[string]string{"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"} {
		t.Run(arch, func(t *testing.T) {
			if arch == runtime.GOARCH {
				compiler = "cc"
			}
			if out, err := exec.Command(compiler, "-include", "linux/openat2.h", "-E", "-x", "c", "/dev/null").CombinedOutput(); err != nil {
				t.Skipf("left out: no compiler with the kernel's headers for %s: %v\n%s", arch, err, out)
			}
			f := ownFacts()
			if arch != runtime.GOARCH {
				if arch != "arm64" {
					t.Skip("only x86_64 has arm64 programs emulated")
				}
				line, _, _ := strings.Cut(strings.TrimPrefix(string(runARM64(t, "^TestFacts$", asFacts+"=1")), "=== RUN   TestFacts\n"), "\n")
				f = facts{}
				if err := json.Unmarshal([]byte(line), &f); err != nil {
					t.Fatalf("%v: %q", err, line)
				}
			}
			numbers := callNumbers(t, arch)
			for _, number := range f.Calls {
				if !slices.Contains(slices.Collect(maps.Values(numbers)), number) {
					t.Errorf("the table has a call %d, which its source does not name", number)
				}
			}
			if len(numbers) != len(f.Calls) || len(numbers) < 50 {
				t.Errorf("the source names %d calls, the table has %d", len(numbers), len(f.Calls))
			}
			check := exec.Command(compiler, "-fsyntax-only", "-x", "c", "-")
			check.Stdin = strings.NewReader(assertions(numbers, f.Layouts))
			out, err := check.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, m := range regexp.MustCompile(`left out: \w+`).FindAllString(string(out), -1) {
				t.Logf("%s: these headers do not have it yet", m)
			}
		})
	}
}

// callNumbers are the calls that table.go and table_ARCH.go name, with the numbers that golang.org/x/sys has for that machine.
func callNumbers(t *testing.T, arch string) map[string]uint32 {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	known := map[string]uint32{}
	for _, m := range regexp.MustCompile(`SYS_(\w+)\s+= (\d+)`).FindAllStringSubmatch(read(filepath.Join(strings.TrimSpace(string(dir)), "zsysnum_linux_"+arch+".go")), -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		known[m[1]] = uint32(n)
	}
	numbers := map[string]uint32{}
	for _, m := range regexp.MustCompile(`unix\.SYS_(\w+)(?:\]|:)`).FindAllStringSubmatch(read("table.go")+read("table_"+arch+".go"), -1) {
		n, ok := known[m[1]]
		if !ok {
			t.Fatalf("%s has no %s", arch, m[1])
		}
		numbers[strings.ToLower(m[1])] = n
	}
	return numbers
}

// assertions is a C program that only compiles when the kernel's headers say the same.
func assertions(numbers map[string]uint32, layouts map[string]layout) string {
	var c strings.Builder
	c.WriteString("#include <stddef.h>\n#include <asm/unistd.h>\n#include <asm/stat.h>\n#include <linux/stat.h>\n#include <asm/statfs.h>\n#include <linux/openat2.h>\n")
	for name, n := range numbers {
		fmt.Fprintf(&c, "#ifdef __NR_%[1]s\n_Static_assert(__NR_%[1]s == %[2]d, \"%[1]s\");\n#else\n#warning left out: %[1]s\n#endif\n", name, n)
	}
	for name, l := range layouts {
		fmt.Fprintf(&c, "_Static_assert(sizeof(%[1]s) == %[2]d, \"%[1]s\");\n", name, l.Size)
		for field, offset := range l.Fields {
			fmt.Fprintf(&c, "_Static_assert(offsetof(%[1]s, %[2]s) == %[3]d, \"%[1]s.%[2]s\");\n", name, field, offset)
		}
	}
	return c.String()
}

// Of linux/seccomp.h and linux/audit.h.
const (
	allowed, notified, failing = 0x7fff0000, 0x7fc00000, 0x00050000

	auditX86, auditARM64, auditI386 = 0xc000003e, 0xc00000b7, 0x40000003
)

// TestVerdicts runs the filter in a machine of its own: for each call it says what the table does, and nothing about calls of other kinds of programs.
func TestVerdicts(t *testing.T) {
	own := map[string]uint32{"amd64": auditX86, "arm64": auditARM64}[runtime.GOARCH]
	for name, in := range map[string]rules.Input{
		"nothing": {Mode: "local"},
		"names":   {Mode: "local", Names: true},
		"network": {Mode: "local", Names: true, Outgoing: true, Incoming: true, UDP: true},
		"files":   {Mode: "read"},
		"all":     {Mode: "read", Names: true, Outgoing: true, Incoming: true, UDP: true, NoIPv6: true, Hostname: "h", UnixStreams: []string{"^/run/"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := compiled(t, in)
			verdict := machineOf(t, r)
			reported := 0
			for number := range uint32(1024) {
				e := table[number]
				for _, args := range arguments(e.when) {
					want := uint32(allowed)
					switch {
					case number == unix.SYS_IO_URING_SETUP:
						want = failing | uint32(unix.ENOSYS)
					case e.handle != nil && (e.needs == 0 || r.Has(e.needs)) && all(e.when, args):
						want = notified
						reported++
					}
					if got := verdict(own, number, args); got != want {
						t.Errorf("call %d%v: %#x, want %#x", number, args, got, want)
					}
					for _, arch := range []uint32{auditX86, auditARM64, auditI386} {
						if got := verdict(arch, number, args); arch != own && got != allowed {
							t.Errorf("call %d%v of %#x: %#x", number, args, arch, got)
						}
					}
					if got := verdict(own, number|1<<30, args); got != allowed { // x32
						t.Errorf("call %#x%v: %#x", number|1<<30, args, got)
					}
				}
			}
			if v := verdict(own, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6}); (v == failing|uint32(unix.EAFNOSUPPORT)) != r.Has(rules.NoIPv6) {
				t.Errorf("a socket of IPv6: %#x", v)
			}
			if reported < 2 {
				t.Errorf("%d calls are reported", reported)
			}
		})
	}
}

func all(conditions []seccomp.Condition, args [6]uint64) bool {
	for _, c := range conditions {
		if (args[c.Arg] == c.Value || slices.Contains(c.Or, args[c.Arg])) == c.Not {
			return false
		}
	}
	return true
}

// arguments are those that the conditions could confuse: the value itself, and with another half.
func arguments(conditions []seccomp.Condition) [][6]uint64 {
	list := [][6]uint64{{}, {1, 1, 1, 1, 1, 1}}
	for _, c := range conditions {
		for _, args := range list {
			for _, value := range append([]uint64{c.Value}, c.Or...) {
				for _, value := range []uint64{value, value + 1, value | 1<<32, value | 1<<63} {
					args[c.Arg] = value
					list = append(list, args)
				}
			}
		}
	}
	return list
}

// machineOf runs the filter for these rules on a call of a program for that kind of machine.
func machineOf(t *testing.T, r rules.File) func(arch, number uint32, args [6]uint64) uint32 {
	t.Helper()
	code, err := Filter(r)
	if err != nil {
		t.Fatal(err)
	}
	var raw []bpf.RawInstruction
	for at := 0; at < len(code); at += 8 {
		raw = append(raw, bpf.RawInstruction{Op: binary.LittleEndian.Uint16(code[at:]), Jt: code[at+2], Jf: code[at+3], K: binary.LittleEndian.Uint32(code[at+4:])})
	}
	program, understood := bpf.Disassemble(raw)
	if !understood {
		t.Fatalf("not understood: %v", program)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, number uint32, args [6]uint64) uint32 {
		// struct seccomp_data in the kernel's order of bytes, but the words of packets are read as big-endian.
		var data [64]byte
		binary.BigEndian.PutUint32(data[0:], number)
		binary.BigEndian.PutUint32(data[4:], arch)
		for i, arg := range args {
			binary.BigEndian.PutUint32(data[16+8*i:], uint32(arg))
			binary.BigEndian.PutUint32(data[20+8*i:], uint32(arg>>32))
		}
		verdict, err := vm.Run(data[:])
		if err != nil {
			t.Fatal(err)
		}
		return uint32(verdict)
	}
}
