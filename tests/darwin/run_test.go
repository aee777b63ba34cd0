package darwin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Apple's own cat, both slices of it: x86_64 with opcodes, arm64e with the chains of old, its signed pointers off.
func TestCat(t *testing.T) {
	t.Parallel()
	cat := sample(t, "apple-cat-11.4-fat")
	text := write(t, filepath.Join(t.TempDir(), "text"), []byte("one\ntwo\n"))
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		run(t, options, nil, cat, "-n", text).want(t, "     1\tone\n     2\ttwo\n", 0)
		r := run(t, options, nil, cat, "/not/there")
		r.want(t, "", 1)
		r.says(t, "cat-11.4-fat: /not/there: No such file or directory", 1)
		hooked := hook(t, "cat", arch)
		if arch == "x86_64" {
			r = run(t, options, []string{"DYLD_INSERT_LIBRARIES=" + hooked}, cat, text)
			r.want(t, "one\ntwo\n", 0)
			r.says(t, "cat: open "+text, 0)
		}
	})
}

// Apple's ls lists a folder as Linux sees it.
func TestLs(t *testing.T) {
	t.Parallel()
	above := t.TempDir()
	dir := filepath.Join(above, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", "c"} {
		write(t, filepath.Join(dir, name), []byte("12345"))
	}
	for _, name := range []string{"apple-ls-11.4-fat", "apple-ls-15.1-fat-x86_64-arm64e"} {
		ls := sample(t, name)
		forEachArch(t, func(t *testing.T, arch string, options []string) {
			run(t, options, nil, ls, "-1", dir).want(t, "a\nb\nc\n", 0)
			a := filepath.Join(dir, "a")
			run(t, options, nil, ls, a, dir).want(t, a+"\n\n"+dir+":\na\nb\nc\n", 0)
			run(t, options, nil, ls, "-R", above).want(t, "dir\n\n"+dir+":\na\nb\nc\n", 0)
			run(t, options, nil, ls, "/not/there").says(t, "ls-", 1)
			r := run(t, options, nil, ls, "-ln", dir)
			if ok, _ := regexp.MatchString(`(?m)^-rwxr-xr-x +1 \d+ +\d+ +5 .* a$`, r.out); !ok || r.code != 0 {
				t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
			}
		})
	}
}

// npm's spawn-helper for arm64 changes folder and execs the rest: here Apple's cat, of which the kernel takes the arm64e slice.
func TestSpawnHelper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text"), []byte("text\n"))
	run(t, arm, nil, sample(t, "npm-node-pty-spawn-helper-arm64"), dir, sample(t, "apple-cat-11.4-fat"), "text").want(t, "text\n", 0)
}

func TestFixups(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		for _, flag := range []string{"-fixup_chains", "-no_fixup_chains"} {
			run(t, options, nil, build(t, "pointers", arch, flag, "-pie")).want(t, "good\n", 0)
		}
	})
	chained := read(t, build(t, "pointers", "x86_64", "-fixup_chains"))
	for _, format := range []uint16{1, 2, 6, 9, 12} {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) {
			run(t, x86, nil, write(t, filepath.Join(t.TempDir(), "pointers"), rechain(t, chained, format))).want(t, "good\n", 0)
		})
	}
	run(t, x86, nil, write(t, filepath.Join(t.TempDir(), "pointers"), rechain(t, chained, 7))).says(t, "unknown format of chained pointers 7", 134)
}

// Two libraries: the later one's replacement is what the program calls, and its own call goes to the earlier one's, whose own goes to the system.
func TestInterpose(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		first, second := hook(t, "first", arch), hook(t, "second", arch)
		calls, late := build(t, "calls", arch), library(t, "late", arch)
		r := run(t, options, []string{"DYLD_INSERT_LIBRARIES=" + first + ":" + second}, calls, late)
		r.want(t, "main\nabsent\n", 0)
		want := fmt.Sprintf("first: begins, 2 words, %[2]s, %[1]s\nsecond: begins, 2 words, %[2]s, %[1]s\n", calls, late) +
			"second: open /direct\nfirst: open /direct\n" + // not /nocancel: another address
			"second: open /dlsym\nfirst: open /dlsym\n" +
			"second: open /late\nfirst: open /late\n" // late's own tuple came too late
		if r.err != want {
			t.Errorf("got:\n%s\nwant:\n%s", r.err, want)
		}
		r = run(t, options, []string{"DYLD_INSERT_LIBRARIES=" + second + ":" + first + ":" + second}, calls)
		if !strings.Contains(r.err, "first: open /direct\nsecond: open /direct\n") || strings.Count(r.err, "begins") != 2 {
			t.Errorf("in the other order:\n%s", r.err)
		}
	})
}

// Initialisers in a list of pointers, and as offsets, which is how newer linkers write them.
func TestInitialisers(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		for _, flags := range [][]string{{"-init_offsets"}, {"-no_fixup_chains"}} {
			lib := library(t, "hook", arch, append(flags, "--", `-DNAME="`+flags[0]+`"`)...)
			run(t, options, []string{"DYLD_INSERT_LIBRARIES=" + lib}, build(t, "pointers", arch)).says(t, flags[0]+": begins, 1 words", 0)
		}
	})
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	page := map[string]string{"x86_64": "page 4096 aligned 1\nprotect at 4096 0\n", "arm64": "page 16384 aligned 1\nprotect at 4096 22\n"}
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		dir := t.TempDir()
		run(t, options, nil, build(t, "layouts", arch), dir).want(t, `printf 1 two 3.25 4 5   6.5
fstat size 5 mode 100640 flags 0 links 1 time 1
stat size 5 mode 100640 flags 0
getfl 2 getfd 0
getpath 1 dup 50
cloexec 1
fionread 3
dirent file 4 8 1
enoent 2 No such file or directory
badfd -1 9
family -1 47
refused -1 61
eagain 22
in6 len 28 family 30 port 1 length 28
type 1
nosigpipe 0
connect 0
accept 1 family 30 len 28
sendmsg 1 recvmsg 1 control 16 16 ffff 1 flags 0 read 7 through another 1
unix bind 0 connect 0 unnamed len 16 family 1 length 16
getaddrinfo 0 127.0.0.1 len 16 family 2 port 80
noname 8
signal 30
handler 1 flags 2
status 31
`+page[arch], 0)
		if fi, err := os.Stat(filepath.Join(dir, "file")); err != nil || fi.Mode() != 0o640 {
			t.Errorf("the mode came as a variadic argument: %v %v", fi.Mode(), err)
		}
	})
}

func TestThreads(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		run(t, options, nil, build(t, "threads", arch)).want(t, "4000\n", 0)
	})
}

// What has no shim ends the process by name, but only when it is used.
func TestUnknownImport(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		program := build(t, "unknown", arch)
		run(t, options, nil, program).want(t, "not used\n", 0)
		run(t, options, nil, program, "call").says(t, "not modelled: no shim for _no_shim_for_this", 134)
		run(t, append(options, "--unknown"), nil, program).says(t, "no shim: _no_shim_for_this\n", 0)
	})
}

// Programs made by Go's own linker: another way to begin, thread data without calls, kqueue, registers in signal handlers, apple behind envp.
func TestGo(t *testing.T) {
	t.Parallel()
	for arch, goarch := range map[string]string{"x86_64": "amd64", "arm64": "arm64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			need(t)
			program, dir := filepath.Join(t.TempDir(), "golang"), t.TempDir()
			cmd := exec.Command("go", "build", "-o", program, "./programs/golang")
			cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+goarch, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			run(t, archs[arch], nil, program, dir).want(t, fmt.Sprintf(`darwin %[1]s %[2]s
1 file 4 -rw-r-----
true no such file or directory
true
echo <nil>
[127.0.0.1] <nil>
child: darwin %[1]s %[2]s
user defined signal 1
`, goarch, program), 0)
		})
	}
}
