package darwin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/launcher/broker"
	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
	"mirrord/sip"
)

// session is the real broker with a pod directory behind it, as it serves programs on a Mac.
type session struct {
	*broker.Broker
	env  []string // of its programs
	port string   // where the pod's port 8080 is

	listens chan struct{} // closed when one of them listens

	mu     sync.Mutex
	events []events.Event
}

func (s *session) emitted(kind events.Type) (out []events.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// dylib is the layer as `make layer` built it.
func dylib(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../layer/lib/libmirrord.dylib")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("left out: %v (make layer)", err)
	}
	return path
}

// newSession serves a pod with these files until the test ends; decide says what becomes of what its programs execute.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newSession(t *testing.T, decide func(sip.Request) sip.Verdict) *session {
	t.Helper()
	library := dylib(t)
	s := &session{listens: make(chan struct{})}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the service") }))
	t.Cleanup(service.Close)
	pod, temp := t.TempDir(), t.TempDir()
	root := filepath.Join(pod, "rootfs")
	for name, text := range map[string]string{"motd": "hello from the pod\n", "a.txt": "a\n", "b.txt": "b\n", "c.log": "c\n", "empty": "", "sub/deep": "deep\n"} {
		path := filepath.Join(root, "srv/data", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(text))
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "etc/resolv.conf"), []byte("# of the cluster\nsearch none\nnameserver 10.96.0.10\nnameserver nonsense\n\nnameserver fd00::10\nsearch shop.svc\tsvc \noptions ndots:5\n"))
	sockets, err := net.Listen("unix", filepath.Join(pod, "web.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go service.Config.Serve(sockets) // until the service is closed
	if err := os.Symlink("data/motd", filepath.Join(root, "srv/link")); err != nil {
		t.Fatal(err)
	}

	describe := "name: cart-7d9f\nhosts: {inventory: 10.96.0.7}\nroutes: {\"10.96.0.7:80\": %q, \"udp://10.96.0.7:8125\": %q, \"unix:///run/web.sock\": web.sock}\nports: {8080: {listen: %q}}\n"
	there, back := strings.TrimPrefix(service.URL, "http://"), echo(t)
	ctx, stop := context.WithCancel(context.Background())
	var d *target.Dir
	var requests, bulk net.Conn
	var done <-chan struct{}
	for { // a port that was free a moment ago may be another session's now
		s.port = freePort(t)
		write(t, filepath.Join(pod, "pod.yaml"), fmt.Appendf(nil, describe, there, back, s.port))
		var err error
		if d, err = target.OpenDir(pod); err != nil {
			t.Fatal(err)
		}
		if requests, bulk, done, err = serve.Dir(ctx, d); err == nil {
			break
		}
		d.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		stop()
		<-done
		d.Close()
	})
	link, err := links.New(t.Context(), requests, bulk, "darwin")
	if err != nil {
		t.Fatal(err)
	}
	table, err := rules.Compile(rules.Input{Mode: string(config.FSRead), Home: temp, Cwd: temp, ProjectRoot: temp, TempDir: os.TempDir(), Hostname: "cart-7d9f",
		Names: true, Outgoing: true, Incoming: true, UDP: true, UnixStreams: []string{"^/run/"}})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Feature.Network.Incoming.Mode = traffic.Steal
	var listening sync.Once
	s.Broker, err = broker.Start(broker.Options{Link: link, Rules: table, Config: c, Decide: decide, TempDir: temp, Paths: true, Emit: func(e events.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
		if e.Type == events.Listen {
			listening.Do(func() { close(s.listens) })
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary folder: %v, %v", left, err)
		}
	})
	s.env = []string{"DYLD_INSERT_LIBRARIES=" + library, "MIRRORD_BROKER=" + s.Env(), "PATH=/usr/bin:/bin", "HOME=" + temp}
	return s
}

// echo serves datagrams until the test ends.
func echo(t *testing.T) string {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().String()
}

// has fails the test unless the program wrote those lines.
func (r result) has(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains("\n"+r.out, "\n"+want+"\n") {
			t.Errorf("without %q: exit %d\n%s%s", want, r.code, r.out, r.err)
		}
	}
}

func injected(r sip.Request) sip.Verdict { return sip.Verdict{Kind: sip.Inject, Path: r.Path} }

// layerProgram builds one of layer/, with the headers that the layer itself is built with. The flags are the compiler's.
func layerProgram(t *testing.T, name, arch string, flags ...string) string {
	t.Helper()
	need(t)
	out := filepath.Join(t.TempDir(), name)
	command(t, "clang-19", append(flags, "-fuse-ld=lld", "-target", arch+"-apple-macos12.0", "-std=gnu17", "-O1", "-nostdlibinc", "-isystem", "../../layer/include",
		"-I../../layer/testprog", "-fno-stack-protector", "-nostdlib", "-Wall", "-Wextra", "-Werror", "-Wl,-undefined,dynamic_lookup,-fixup_chains,-adhoc_codesign",
		"-o", out, "layer/"+name+".c", "../../layer/libSystem.tbd")...)
	return out
}

func TestLayerFiles(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s, program := newSession(t, injected), layerProgram(t, "files", arch)
		if r := run(t, options, []string{"PATH=/bin"}, program, t.TempDir()); r.code == 0 {
			t.Fatal("the files are on this machine")
		}
		run(t, options, s.env, program, t.TempDir()).want(t, "ok\n", 0)
		if hello := s.emitted(events.ProcessInject); len(hello) != 1 || hello[0].Path != program {
			t.Errorf("hello: %+v", hello)
		}
	})
}

func TestLayerThreads(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s := newSession(t, injected)
		run(t, append(options, "--forked=inserted"), s.env, layerProgram(t, "threads", arch)).want(t, "ok\n", 0)
	})
}

func TestLayerNetwork(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s := newSession(t, injected)
		run(t, options, s.env, layerProgram(t, "network", arch)).want(t, "ok\n", 0)
	})
}

// Every way to start a program, with an environment that names nothing of the session: the child is of it all the same.
func TestLayerChildren(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s, parent, child := newSession(t, injected), layerProgram(t, "children", arch), layerProgram(t, "show", arch)
		options = append(options, "--files", table(t, "/bin/sh - "+build(t, "sh", arch)))
		for _, how := range []string{"execve", "execle", "execl", "execlp", "execv", "execvp", "execvP", "fork", "vfork", "posix_spawn", "empty", "posix_spawnp", "system", "popen"} {
			t.Run(how, func(t *testing.T) {
				r := run(t, options, append(s.env, "PATH="+filepath.Dir(child)+":/bin"), parent, how, child)
				if !strings.HasPrefix(r.out, "hello from the pod\nword ") || !strings.Contains(r.out, "\nword x\nenv ") || strings.Contains(r.out, "env HOME=") && how == "empty" || !strings.Contains(r.out, "\nenv DYLD_INSERT_LIBRARIES="+dylib(t)+"\n") || r.code != 0 {
					t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
				}
			})
		}
		run(t, options, s.env, parent, "actions", child).has(t, "hello from the pod", "env A=1", "input b", "cwd /srv/data")
	})
}

// A copy is executed in the place of a program, with other words and an edited environment, and takes itself for the original.
func TestLayerCopy(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		parent, original := layerProgram(t, "children", arch), layerProgram(t, "show", arch)
		link := filepath.Join(t.TempDir(), "asked")
		if err := os.Symlink(original, link); err != nil {
			t.Fatal(err)
		}
		copied := write(t, filepath.Join(t.TempDir(), "show"), read(t, original))
		s := newSession(t, func(r sip.Request) sip.Verdict {
			if r.Path != link {
				return injected(r)
			}
			if len(r.Args) == 0 {
				return sip.Verdict{Kind: sip.Fails, AskArgv: true}
			}
			return sip.Verdict{Kind: sip.Copy, Path: copied, Argv: append([]string{"other", "-u"}, r.Args...), Edits: []sip.Edit{
				{Name: sip.EnvCopy, Value: copied + "/" + original + "//" + link}, {Name: "TELL", Value: "1"}, {Name: "A", Value: "2"},
			}}
		})
		for _, how := range []string{"execve", "posix_spawn", "preferred"} {
			r := run(t, options, s.env, parent, how, link)
			r.has(t, "hello from the pod", "word other\nword -u\nword x", "env A=2", "apple executable_path="+link, "executable "+link, "image "+link, "pidpath "+original,
				"procargs "+link)
			if strings.Contains(r.out, "A=1") || strings.Count(r.out, "A=2") != 1 || strings.Contains(r.out, "MIRRORD_COPY") {
				t.Errorf("%s: the environment\n%s", how, r.out)
			}
		}
	})
}

// A library that is not there any more would end the program before its main.
func TestLayerWithoutLibrary(t *testing.T) {
	t.Parallel()
	s := newSession(t, injected)
	library := write(t, filepath.Join(t.TempDir(), "libmirrord.dylib"), read(t, dylib(t)))
	r := run(t, x86, append(s.env, "DYLD_INSERT_LIBRARIES="+library), layerProgram(t, "children", "x86_64"), "unlinked", layerProgram(t, "show", "x86_64"))
	if !strings.HasPrefix(r.out, "not in the pod\nword show\n") || strings.Contains(r.out, "DYLD_") || r.code != 0 {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// In a program that is only followed nothing is the pod's, and what it starts is.
func TestLayerLight(t *testing.T) {
	t.Parallel()
	parent, child := layerProgram(t, "children", "x86_64"), layerProgram(t, "show", "x86_64")
	s := newSession(t, func(r sip.Request) sip.Verdict {
		if r.Path == parent {
			return sip.Verdict{Kind: sip.ExecOnly, Path: r.Path}
		}
		return injected(r)
	})
	light := append(s.env, "MIRRORD_LIGHT=1")
	run(t, x86, light, child).has(t, "not in the pod", "env MIRRORD_LIGHT=1")
	r := run(t, x86, light, parent, "execve", child)
	r.has(t, "hello from the pod")
	if strings.Contains(r.out, "MIRRORD_LIGHT") {
		t.Errorf("its child is only followed, too\n%s", r.out)
	}
	run(t, x86, s.env, parent, "again", parent, "execve", child).has(t, "hello from the pod")
}

// Programs with pointer authentication end where the plain library is to be loaded. They get the variant, and what they execute gets the plain one again.
func TestLayerVariant(t *testing.T) {
	t.Parallel()
	apple := signing{notAdhoc: true, cms: true, platform: 15, identifier: "com.apple.test"}
	plain, parent := layerProgram(t, "show", "arm64"), layerProgram(t, "children", "arm64")
	child := write(t, filepath.Join(t.TempDir(), "show"), as(t, read(t, plain), arm64e, apple))
	signed := write(t, filepath.Join(t.TempDir(), "children"), as(t, read(t, parent), arm64e, apple))
	mac := fmt.Sprintf("mac: {os: \"15.5\", arch: arm64}\nfiles:\n  %s: {file: %s}\n  %s: {file: %s}\n", child, child, plain, plain)
	host, err := sip.ReadHost(write(t, filepath.Join(t.TempDir(), "mac.yaml"), []byte(mac)))
	if err != nil {
		t.Fatal(err)
	}
	var verdict sip.Verdict
	s := newSession(t, func(r sip.Request) sip.Verdict {
		r.Env = nil
		verdict = sip.For(host).Decide(r)
		return verdict
	})
	variant := strings.TrimSuffix(dylib(t), ".dylib") + "-arm64e.dylib"
	run(t, arm, s.env, child).says(t, "have 'x86_64,arm64', need 'arm64e'", 134)
	run(t, arm, append(s.env, "DYLD_INSERT_LIBRARIES="+variant), child).has(t, "hello from the pod")
	for _, how := range []string{"execve", "posix_spawn", "keep"} {
		for _, test := range []struct{ parent, own, child, library string }{
			{parent, dylib(t), child, variant}, {signed, variant, child, variant}, {signed, variant, plain, dylib(t)}, {parent, dylib(t), plain, dylib(t)},
		} {
			r := run(t, arm, append(s.env, "DYLD_INSERT_LIBRARIES="+test.own), test.parent, how, test.child)
			if r.has(t, "hello from the pod", "env DYLD_INSERT_LIBRARIES="+test.library); r.code != 0 {
				t.Errorf("%s of %s by %s: %+v", how, test.child, test.parent, verdict)
			}
		}
	}
}

// An x86_64 copy on Apple silicon answers as the native program would, and what it starts runs natively where it can.
func TestLayerTranslatedCopy(t *testing.T) {
	t.Parallel()
	original, children := layerProgram(t, "show", "x86_64"), layerProgram(t, "children", "x86_64")
	universal := filepath.Join(t.TempDir(), "universal")
	command(t, "llvm-lipo-19", "-create", "-output", universal, original, layerProgram(t, "show", "arm64"))
	copies := map[string]string{}
	for _, program := range []string{original, children} {
		copies[program] = write(t, filepath.Join(t.TempDir(), filepath.Base(program)), read(t, program))
	}
	s := newSession(t, func(r sip.Request) sip.Verdict {
		copied := copies[r.Path]
		if copied == "" {
			return injected(r)
		}
		return sip.Verdict{Kind: sip.Copy, Path: copied, Edits: []sip.Edit{{Name: sip.EnvCopy, Value: copied + "/" + r.Path + "//" + r.Path}, {Name: "TELL", Value: "1"}}}
	})
	// A native program executes the copy of a translated one, which executes a universal one.
	native := layerProgram(t, "children", "arm64")
	for _, how := range []string{"execv", "posix_spawn", "fork"} {
		run(t, arm, s.env, native, how, original).has(t, "hello from the pod", "machine arm64 arm64 0")
		r := run(t, arm, append(s.env, sip.EnvCopy+"="+copies[children]+"/"+children+"//"+children, "TELL=1"), copies[children], how, universal)
		r.has(t, "hello from the pod")
		if strings.Contains(r.out, "machine x86_64") {
			t.Errorf("%s: a universal program was translated\n%s", how, r.out)
		}
	}
}

// Apple's own programs in the pod.
func TestLayerApple(t *testing.T) {
	t.Parallel()
	s := newSession(t, injected)
	cat, ls := sample(t, "apple-cat-11.4-fat"), sample(t, "apple-ls-11.4-fat")
	run(t, x86, s.env, cat, "/srv/data/motd", "/srv/data/b.txt").want(t, "hello from the pod\nb\n", 0)
	run(t, x86, s.env, cat, "/srv/data/none").says(t, "cat-11.4-fat: /srv/data/none: No such file or directory", 1)
	run(t, x86, s.env, ls, "/srv/data").want(t, "a.txt\nb.txt\nc.log\nempty\nmotd\nsub\n", 0)
	run(t, x86, s.env, ls, "-R", "/srv/data").has(t, "/srv/data/sub:", "deep")
	if r := run(t, x86, s.env, ls, "-ln", "/srv/data/motd"); !strings.HasPrefix(r.out, "-rw-r-----  1 ") || !strings.Contains(r.out, "  19 ") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// Without a broker what is the pod's is an error, never this machine's.
func TestLayerSevered(t *testing.T) {
	t.Parallel()
	s := newSession(t, injected)
	s.Close()
	file := write(t, filepath.Join(t.TempDir(), "file"), []byte("of this machine\n"))
	cat := sample(t, "apple-cat-11.4-fat")
	run(t, x86, s.env, cat, file).want(t, "of this machine\n", 0)
	run(t, x86, s.env, cat, "/srv/data/motd").says(t, "Input/output error", 1)
}

// The pod's connections to a port come to a program that listens there.
func TestLayerIncoming(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s, program := newSession(t, injected), layerProgram(t, "network", arch)
		ended := make(chan result, 1)
		go func() { ended <- run(t, options, s.env, program, "listen") }()
		select {
		case r := <-ended:
			t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
		case <-s.listens:
		}
		reply, err := http.Get("http://" + s.port + "/")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		if string(text) != "from macOS\n" {
			t.Errorf("answer %q", text)
		}
		r := <-ended
		r.want(t, "listening\nok\n", 0)
	})
}

// What runs outside is not given the library, and keeps the user's own.
func TestLayerOutside(t *testing.T) {
	t.Parallel()
	parent, child := layerProgram(t, "children", "x86_64"), layerProgram(t, "show", "x86_64")
	s := newSession(t, func(r sip.Request) sip.Verdict {
		return sip.Verdict{Kind: sip.Outside, Path: r.Path, Reason: "for a test"}
	})
	own, link := hook(t, "own", "x86_64"), filepath.Join(t.TempDir(), "libmirrord.dylib")
	if err := os.Symlink(dylib(t), link); err != nil {
		t.Fatal(err)
	}
	for _, library := range []string{dylib(t), link} {
		env := append(s.env, "DYLD_INSERT_LIBRARIES="+library+":"+own)
		r := run(t, x86, env, parent, "execve", child)
		if !strings.HasPrefix(r.out, "not in the pod\n") || strings.Contains(r.out, "DYLD_") || strings.Contains(r.out, "libmirrord") {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
		r = run(t, x86, env, parent, "keep", child)
		if !strings.HasPrefix(r.out, "not in the pod\n") || !strings.Contains(r.out, "env DYLD_INSERT_LIBRARIES="+own+"\n") {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	}
	if e := s.emitted(events.ProcessOutside); len(e) != 4 || e[0].Path != child {
		t.Errorf("told: %+v", e)
	}
}
