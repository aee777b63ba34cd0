package darwin

import (
	"bytes"
	"context"
	"debug/macho"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/codesign"
	"mirrord/launcher/broker"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
)

var update = flag.Bool("update", false, "write the answers of layer/hooks.c's steps")

const answersFile = "layer/hooks/answers"

// unseen are hooks whose answer is the same without them, and why they are there. TestHooks fails when that is no longer so.
var unseen = map[string]string{
	"socket": "refuses IPv6 where the pod has none: TestHookSocket has such a pod",
}

// tuple is an entry of __DATA,__interpose: a pair of pointers, to the hook and to what it replaces.
type tuple struct {
	symbol string // what is replaced, without the underscore
	at     int    // of the pair, in the file
}

// tuples reads the entries of a thin file with chained fixups.
func tuples(t *testing.T, file []byte) (out []tuple) {
	t.Helper()
	const (
		bind    = 1 << 63   // dyld_chained_ptr_64_bind, mach-o/fixup-chains.h
		ordinal = 1<<24 - 1 // in it
	)
	var section, chains []byte
	start := 0
	commands(file, func(cmd uint32, command []byte) {
		switch cmd {
		case segment64:
			for s := command[72:]; len(s) >= 80; s = s[80:] {
				if name, _, _ := bytes.Cut(s[:16], []byte{0}); string(name) == "__interpose" {
					start = int(little.Uint32(s[48:]))
					section = file[start:][:little.Uint64(s[40:])]
				}
			}
		case chainedFixups:
			chains = file[little.Uint32(command[8:]):][:little.Uint32(command[12:])]
		}
	})
	if len(section) == 0 || chains == nil || little.Uint32(chains[20:]) != 1 {
		t.Fatalf("%d bytes of tuples, %d of fixups", len(section), len(chains))
	}
	imports, names := chains[little.Uint32(chains[8:]):], chains[little.Uint32(chains[12:]):]
	for at := 0; at < len(section); at += 16 {
		original := little.Uint64(section[at+8:])
		if original&bind == 0 {
			t.Fatalf("the tuple at %d replaces nothing of another library: %#x", at, original)
		}
		name, _, _ := bytes.Cut(names[little.Uint32(imports[4*(original&ordinal):])>>9:], []byte{0})
		out = append(out, tuple{strings.TrimPrefix(string(name), "_"), start + at})
	}
	return out
}

// step is the name of the step that is to see the hook.
func (h tuple) step() string { return strings.TrimSuffix(h.symbol, "$INODE64") }

// without is the library with the tuple's original in its place: dyld replaces the function by itself.
func without(t *testing.T, file []byte, h tuple) string {
	t.Helper()
	const next = 0xfff << 51 // where the chain goes on
	edited := slices.Clone(file)
	hook, original := little.Uint64(edited[h.at:]), little.Uint64(edited[h.at+8:])
	little.PutUint64(edited[h.at:], original&^next|hook&next)
	var out bytes.Buffer
	if err := codesign.Sign(&out, bytes.NewReader(edited), int64(len(edited)), codesign.Options{Identifier: "libmirrord"}); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), "libmirrord.dylib"), out.Bytes())
}

// slice is the library for one architecture.
func slice(t *testing.T, arch string) []byte {
	t.Helper()
	file := read(t, dylib(t))
	f, err := macho.NewFatFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range f.Arches {
		if a.Cpu == map[string]macho.Cpu{"x86_64": macho.CpuAmd64, "arm64": macho.CpuArm64}[arch] {
			return file[a.Offset:][:a.Size]
		}
	}
	t.Fatalf("no slice for %s", arch)
	return nil
}

// asker has programs take steps, one at a time.
type asker struct {
	*session
	options         []string
	program, folder string
	copied          string // takes itself for program
	heard           int    // events
}

func newAsker(t *testing.T, arch, program string) *asker {
	t.Helper()
	folder := t.TempDir()
	return &asker{
		session: newSession(t, injected), options: append(slices.Clone(archs[arch]), "--files", table(t, "/bin/sh - "+build(t, "sh", arch))), program: program,
		folder: folder, copied: write(t, filepath.Join(folder, "copy"), read(t, program)),
	}
}

// answer has a new process take a step, and returns what the program saw and the session told of it.
func (a *asker) answer(t *testing.T, library, step string) string {
	t.Helper()
	_, port, _ := strings.Cut(a.port, ":")
	env := append(slices.Clone(a.env), "DYLD_INSERT_LIBRARIES="+library, "MIRRORD_COPY="+a.copied+"/"+a.program+"//"+a.program)
	r := run(t, a.options, env, a.copied, a.program, a.folder, port, step)
	text := strings.TrimPrefix(strings.TrimSuffix(r.out, "\n"), step+": ")
	if r.code != 0 {
		text += fmt.Sprintf(" (exit %d: %s)", r.code, strings.TrimSpace(r.err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events[a.heard:] {
		switch e.Type {
		case events.FileLocal:
			text += "; this machine's: " + e.Op
		case events.Listen:
			text += fmt.Sprint("; listens on ", e.Port)
		}
	}
	a.heard = len(a.events)
	return strings.NewReplacer(a.copied, "COPY", a.program, "PROGRAM", a.folder, "FOLDER").Replace(text)
}

func knownAnswers(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{}
	for line := range strings.Lines(string(read(t, answersFile))) {
		step, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		known[step] = text
	}
	return known
}

// chosen are the hooks to disable: a sample of MIRRORD_HOOKS for each architecture, with the seed MIRRORD_HOOKS_SEED, and those that cannot be seen.
func chosen(t *testing.T, arch string, all []tuple) []tuple {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("MIRRORD_HOOKS"))
	if err != nil {
		n = map[string]int{"x86_64": 12, "arm64": 4}[arch]
	}
	if n >= len(all) {
		return all
	}
	seed, err := strconv.ParseUint(os.Getenv("MIRRORD_HOOKS_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	fmt.Printf("%s: %d of %d hooks, MIRRORD_HOOKS_SEED=%d\n", arch, n, len(all), seed)
	var out []tuple
	for i, at := range rand.New(rand.NewPCG(seed, 0)).Perm(len(all)) {
		if _, ok := unseen[all[at].step()]; ok || i < n {
			out = append(out, all[at])
		}
	}
	return out
}

// notHere: what a step does without its hook, it does to this machine.
func notHere(t *testing.T) {
	t.Helper()
	if _, err := os.Lstat("/srv/data"); err == nil {
		t.Fatal("/srv/data, which is the pod's, is also on this machine")
	}
}

// Each hook is seen by a program: with it the answer is the pod's, and with its tuple alone disabled it is another.
func TestHooks(t *testing.T) {
	t.Parallel()
	notHere(t)
	t.Cleanup(func() { notHere(t) })
	known := map[string]string{}
	if !*update {
		known = knownAnswers(t)
	}
	forEachArch(t, func(t *testing.T, arch string, _ []string) {
		program, file := layerProgram(t, "hooks", arch), slice(t, arch)
		all := tuples(t, file)
		library := write(t, filepath.Join(t.TempDir(), "libmirrord.dylib"), file)
		var hooks []string
		for _, h := range all {
			hooks = append(hooks, h.step())
		}
		steps := strings.Fields(run(t, archs[arch], nil, program).out)
		slices.Sort(hooks)
		slices.Sort(steps)
		if !slices.Equal(hooks, steps) {
			t.Fatalf("hooks:\n%v\nsteps of layer/hooks.c:\n%v", hooks, steps)
		}
		for step := range unseen {
			if !slices.Contains(hooks, step) {
				t.Errorf("there is no hook %s", step)
			}
		}
		a := newAsker(t, arch, program)
		if *update {
			if arch == "x86_64" {
				writeAnswers(t, a, library, steps)
			}
			return
		}
		for _, h := range chosen(t, arch, all) {
			t.Run(h.symbol, func(t *testing.T) {
				step := h.step()
				with := a.answer(t, library, step)
				if with != known[step] {
					t.Fatalf("%s\nwant: %s", with, known[step])
				}
				disabled := a.answer(t, without(t, file, h), step)
				t.Logf("without it: %s", disabled)
				if reason := unseen[step]; (disabled == with) != (reason != "") {
					t.Errorf("with the hook: %s\nwithout it: %s\nnot to be seen: %q", with, disabled, reason)
				}
			})
		}
	})
}

// The hook of socket acts only for a pod that has no IPv6.
func TestHookSocket(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		program, file, temp := layerProgram(t, "hooks", arch), slice(t, arch), t.TempDir()
		write(t, filepath.Join(temp, "pod.yaml"), []byte("name: cart\n"))
		d, err := target.OpenDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		ctx, stop := context.WithCancel(t.Context())
		requests, bulk, done, err := serve.Dir(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			stop()
			<-done
		}()
		link, err := links.New(t.Context(), requests, bulk, "darwin")
		if err != nil {
			t.Fatal(err)
		}
		table, err := rules.Compile(rules.Input{Mode: string(config.FSLocal), NoIPv6: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := broker.Start(broker.Options{Link: link, Rules: table, Config: config.Default(), Decide: injected, TempDir: temp, Paths: true, Emit: func(events.Event) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for _, h := range tuples(t, file) {
			if h.symbol != "socket" {
				continue
			}
			whole := write(t, filepath.Join(temp, "libmirrord.dylib"), file)
			for library, want := range map[string]string{whole: "socket: -1, errno 47\n", without(t, file, h): "socket: 0, errno 0\n"} {
				env := []string{"DYLD_INSERT_LIBRARIES=" + library, "MIRRORD_BROKER=" + b.Env()}
				run(t, options, env, program, program, temp, "1", "socket").want(t, want, 0)
			}
			return
		}
		t.Error("there is no such hook")
	})
}

func writeAnswers(t *testing.T, a *asker, library string, steps []string) {
	t.Helper()
	var out strings.Builder
	for _, step := range steps {
		fmt.Fprintf(&out, "%s: %s\n", step, a.answer(t, library, step))
	}
	if err := os.WriteFile(answersFile, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
