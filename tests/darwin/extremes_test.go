package darwin

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mirrord/sip"
)

// What is no program gives the error that it gives without the layer.
func TestLayerWrongPrograms(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s, extremes, dir := newSession(t, injected), layerProgram(t, "extremes", arch), t.TempDir()
		plain, loop := write(t, filepath.Join(dir, "plain"), []byte("text\n")), filepath.Join(dir, "loop")
		if err := os.Chmod(plain, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(loop, loop); err != nil {
			t.Fatal(err)
		}
		missing := write(t, filepath.Join(dir, "missing"), []byte("#!/not/there\n"))
		words := []string{extremes, "wrong", dir, dir + "/", plain, plain + "/below", loop, filepath.Join(dir, "none"), "none", "", "/" + strings.Repeat("long", 600),
			strings.Repeat("n", 300), missing}
		want := run(t, options, []string{"PATH=" + dir}, words...)
		if lines := strings.Count(want.out, "\n"); want.code != 0 || lines != len(words)-2 {
			t.Fatalf("exit %d\n%s%s", want.code, want.out, want.err)
		}
		run(t, options, append(s.env, "PATH="+dir), words...).want(t, want.out, 0)
	})
}

// Many words, and none, reach a program that is executed as it is and one that is a copy with more words.
func TestLayerWords(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		extremes, show := layerProgram(t, "extremes", arch), layerProgram(t, "show", arch)
		copied := write(t, filepath.Join(t.TempDir(), "show"), read(t, show))
		var words strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&words, "word number-%d\n", i)
		}
		run := func(s *session, how, want string) {
			t.Helper()
			r := run(t, options, s.env, extremes, how, show)
			if got, _, _ := strings.Cut(r.out, "env "); got != "hello from the pod\n"+want || r.code != 0 {
				t.Errorf("%s: exit %d, %d lines\n%.300s\n%s", how, r.code, strings.Count(got, "\n"), got, r.err)
			}
		}
		s := newSession(t, injected)
		run(s, "many", "word many\n"+words.String())
		run(s, "none", "")
		s = newSession(t, func(r sip.Request) sip.Verdict {
			if r.Args == nil {
				return sip.Verdict{Kind: sip.Fails, AskArgv: true}
			}
			return sip.Verdict{Kind: sip.Copy, Path: copied, Argv: append([]string{"other", "-u"}, r.Args...)}
		})
		run(s, "many", "word other\nword -u\n"+words.String())
		run(s, "none", "word other\nword -u\n")
	})
}

// An environment that is too large with what the layer puts back goes without it; one that is too large by itself is the error that it is.
func TestLayerLargeEnvironment(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		s, extremes, show := newSession(t, injected), layerProgram(t, "extremes", arch), layerProgram(t, "show", arch)
		for _, how := range []string{"execve", "posix_spawn"} {
			var seen []string
			for size := 1<<20 - 1200; size <= 1<<20; size += 100 {
				r := run(t, options, s.env, extremes, "big", show, strconv.Itoa(size), how)
				line, _, _ := strings.Cut(r.out, "\n")
				if len(seen) == 0 || seen[len(seen)-1] != line {
					seen = append(seen, line)
				}
			}
			if got := strings.Join(seen, ", "); got != "hello from the pod, not in the pod, errno 7" {
				t.Errorf("%s: %s", how, got)
			}
		}
	})
}

func TestLayerClosedDescriptors(t *testing.T) {
	t.Parallel()
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		run(t, options, newSession(t, injected).env, layerProgram(t, "extremes", arch), "closed").want(t, "ok\n", 0)
	})
}

// Threads are in the hooks at every moment of a fork, and the child uses them. MIRRORD_TEST_FORKS is how often; under qemu it is a hundredth of that, at least ten times.
func TestLayerForks(t *testing.T) {
	t.Parallel()
	forks := 200
	if text := os.Getenv("MIRRORD_TEST_FORKS"); text != "" {
		var err error
		if forks, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	forEachArch(t, func(t *testing.T, arch string, options []string) {
		n := forks
		if arch == "arm64" {
			n = max(n/100, 10)
		}
		run(t, append(options, "--forked=inserted"), newSession(t, injected).env, layerProgram(t, "forks", arch), strconv.Itoa(n)).want(t, "ok\n", 0)
	})
}
