package snapshot

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
	"mirrord/launcher/kube/origins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// podDir makes a pod directory: paths below rootfs with their content, links as "-> target", folders with a final slash.
func podDir(t *testing.T, pod string, rootfs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if target, ok := strings.CutPrefix(text, "-> "); ok && err == nil {
			err = os.Symlink(target, name)
		} else if err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(podFile, pod)
	for name, text := range rootfs {
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(filepath.Join(dir, "rootfs", name), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write("rootfs"+name, text)
	}
	return dir
}

// linkTo serves a pod directory until the test ends.
func linkTo(t *testing.T, dir string) *links.Link {
	t.Helper()
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	requests, bulk, done, err := serve.Dir(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	link, err := links.New(t.Context(), requests, bulk, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		link.Close()
		stop()
		<-done
		d.Close()
	})
	return link
}

func globs(t *testing.T, texts ...string) (all []Glob) {
	t.Helper()
	for _, text := range texts {
		g, err := ParseGlob(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func options(t *testing.T, link Link) Options {
	return Options{Link: link, Target: "pod/x", Dir: filepath.Join(t.TempDir(), "out"), MaxSize: 1 << 20,
		Phase: func(_ string, step func() (string, error)) error { _, err := step(); return err }}
}

func take(t *testing.T, o Options) *Result {
	t.Helper()
	result, err := Take(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// tree is all of a snapshot's rootfs: files with content, links with "-> target", folders with "/".
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	root := filepath.Join(dir, "rootfs")
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(p, root)
		switch {
		case err != nil || name == "":
		case e.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			all[name] = "-> " + to
		case e.IsDir():
			all[name] = "/"
		default:
			text, err := os.ReadFile(p)
			all[name] = string(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func lefts(r *Result) (all []string) {
	for _, l := range r.Left {
		all = append(all, l.String())
	}
	slices.Sort(all)
	return all
}

var configMap = map[string]string{
	"/etc/": "", "/srv/config/..1/colour": "blue", "/srv/config/..data": "-> ..1", "/srv/config/colour": "-> ..data/colour",
	"/srv/data/a": "A", "/srv/data/sub/b.txt": "B", "/srv/data/sub/c": "C", "/srv/other": "O", "/opt/link": "-> /srv/data/a", "/opt/dir": "-> ../srv/data",
	"/opt/loop": "-> loop", "/opt/gone": "-> nowhere", "/opt/up": "-> ../../../../../../etc/passwd",
}

func TestFiles(t *testing.T) {
	link := linkTo(t, podDir(t, "name: x", configMap))
	config := map[string]string{"/srv": "/", "/srv/config": "/", "/srv/config/..1": "/", "/srv/config/..1/colour": "blue", "/srv/config/..data": "-> ..1", "/srv/config/colour": "-> ..data/colour"}
	data := map[string]string{"/srv": "/", "/srv/data": "/", "/srv/data/a": "A", "/srv/data/sub": "/", "/srv/data/sub/b.txt": "B", "/srv/data/sub/c": "C"}
	for _, c := range []struct {
		globs []string
		used  []string
		want  map[string]string
		left  []string
	}{
		{},
		{globs: []string{"/srv/config/colour"}, want: config},
		{globs: []string{"/srv/config"}, want: config},
		{globs: []string{"/srv/config/**"}, want: config},
		{globs: []string{"/srv/c*"}, want: config},
		{used: []string{"/srv/config/colour"}, want: config},
		{globs: []string{"/srv/data/", "/srv/data/a", "/srv/data/**"}, want: data},
		{globs: []string{"/**/*.txt"}, want: map[string]string{"/srv": "/", "/srv/data": "/", "/srv/data/sub": "/", "/srv/data/sub/b.txt": "B"}},
		{globs: []string{"/srv/**/sub/**/[ab]*"}, want: map[string]string{"/srv": "/", "/srv/data": "/", "/srv/data/sub": "/", "/srv/data/sub/b.txt": "B"}},
		{globs: []string{"/opt/link"}, want: map[string]string{"/opt": "/", "/opt/link": "-> /srv/data/a", "/srv": "/", "/srv/data": "/", "/srv/data/a": "A"}},
		{globs: []string{"/opt/dir/sub/c"}, want: map[string]string{"/opt": "/", "/opt/dir": "-> ../srv/data", "/srv": "/", "/srv/data": "/", "/srv/data/sub": "/", "/srv/data/sub/c": "C"}},
		{used: []string{"/srv/data", "/srv/nothing"}, want: map[string]string{"/srv": "/", "/srv/data": "/", "/srv/data/a": "A", "/srv/data/sub": "/"},
			left: []string{"/srv/nothing: it is not there any more"}},
		{globs: []string{"/opt"}, want: map[string]string{"/opt": "/", "/opt/link": "-> /srv/data/a", "/opt/dir": "-> ../srv/data", "/opt/loop": "-> loop", "/opt/gone": "-> nowhere",
			"/opt/up": "-> ../../../../../../etc/passwd", "/srv": "/", "/srv/data": "/", "/srv/data/a": "A"}, left: []string{"/opt/dir: leads to the folder /srv/data, which was not asked for"}},
		{globs: []string{"/none", "/srv/*.pdf", "/srv/other/x", "/srv/**/none"}, left: []string{"/none: the pod has nothing of that name", "/srv/**/none: the pod has nothing of that name",
			"/srv/*.pdf: the pod has nothing of that name", "/srv/other/x: the pod has nothing of that name"}},
	} {
		t.Run(fmt.Sprint(c.globs, c.used), func(t *testing.T) {
			o := options(t, link)
			o.Globs, o.Used = globs(t, c.globs...), &Used{Paths: c.used}
			result := take(t, o)
			got := tree(t, o.Dir)
			maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, "/etc") })
			if d := cmp.Diff(c.want, got, equateEmpty); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.left, lefts(result), equateEmpty); d != "" {
				t.Error(d)
			}
			listed, err := os.ReadFile(filepath.Join(o.Dir, leftFile))
			if err != nil || strings.Count(string(listed), "\n") != len(c.left) {
				t.Errorf("%v, %q", err, listed)
			}
		})
	}
}

var equateEmpty = cmp.FilterValues(func(a, b any) bool { return length(a) == 0 && length(b) == 0 }, cmp.Ignore())

func length(v any) int {
	switch v := v.(type) {
	case map[string]string:
		return len(v)
	case []string:
		return len(v)
	}
	return 1
}

// A snapshot of a snapshot is the same again, and only its owner can read it.
func TestAgain(t *testing.T) {
	dir := podDir(t, "name: web-1\nenv: {A: '1', DB_MAIN_SERVICE_HOST: 10.96.0.7, HOST: db}\nhosts: {db-main: 10.96.0.7, db: [10.96.0.9, 'fd00::9'], elsewhere: 127.0.0.1}", configMap)
	when := time.Unix(1e9, 7)
	for name, mode := range map[string]os.FileMode{"srv/data/a": 0o640, "srv/data/sub/c": 0o444, "srv/data/sub/b.txt": 0o4755, "srv/data/sub": 0o500} {
		name = filepath.Join(dir, "rootfs", name)
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "rootfs/srv/data/sub"), 0o700) })
	first := options(t, linkTo(t, dir))
	first.Globs, first.Used = globs(t, "/srv"), &Used{Names: []string{"db", "elsewhere"}, Addresses: map[string]string{"10.96.0.9:5432": "db\nports: {}", "unix:///run/d\nb.sock": ""}}
	result := take(t, first)
	if result.Variables != 3 || result.Names != 2 || result.Files != 7 || len(result.Left) != 0 {
		t.Errorf("%+v", result)
	}
	second := options(t, linkTo(t, first.Dir))
	second.Globs, second.Used = first.Globs, first.Used
	take(t, second)
	if d := cmp.Diff(tree(t, first.Dir), tree(t, second.Dir)); d != "" {
		t.Error(d)
	}
	for _, at := range []string{first.Dir, second.Dir} {
		for name, want := range map[string]os.FileMode{".": 0o700, podFile: 0o600, leftFile: 0o600, ".gitignore": 0o600, "rootfs": 0o700,
			"rootfs/srv/data/a": 0o640, "rootfs/srv/data/sub/c": 0o644, "rootfs/srv/data/sub/b.txt": 0o755, "rootfs/srv/data/sub": 0o700} {
			info, err := os.Stat(filepath.Join(at, name))
			if err != nil || info.Mode().Perm() != want || info.Mode()&os.ModeSetuid != 0 {
				t.Errorf("%s: %v, %v, want %v", name, err, info.Mode(), want)
			}
			if strings.HasPrefix(name, "rootfs/srv/data/") && !info.ModTime().Equal(when) {
				t.Errorf("%s is of %v, want %v", name, info.ModTime(), when)
			}
		}
	}
	a, _ := os.ReadFile(filepath.Join(first.Dir, podFile))
	b, _ := os.ReadFile(filepath.Join(second.Dir, podFile))
	_, a2, _ := strings.Cut(string(a), "\n")
	_, b2, _ := strings.Cut(string(b), "\n")
	if a2 != b2 || !strings.Contains(a2, `# "10.96.0.9:5432": "127.0.0.1:PORT" # "db\nports: {}"`) || !strings.Contains(a2, `# "unix:///run/d\nb.sock": "SOCKET"`) {
		t.Errorf("%s\n%s", a, b)
	}
	reply, err := second.Link.Do(t.Context(), &wire.Request{Op: wire.OpLookup, Name: "unknown.example.com"})
	if err == nil || !strings.Contains(err.Error(), "offline") {
		t.Errorf("%+v, %v", reply, err)
	}
}

// A name is found by programs that ask name servers by themselves, too: these ask for what a resolver makes of it.
func TestSearchDomains(t *testing.T) {
	o := options(t, linkTo(t, podDir(t, "name: x\nhosts: {web: 10.96.0.7, web.shop.svc: 10.96.0.7, web.svc: 10.96.0.8, db.shop.svc: 10.96.0.9}",
		map[string]string{"/etc/resolv.conf": "nameserver 10.96.0.10\nsearch shop.svc svc # those of the namespace\n"})))
	o.Used = &Used{Names: []string{"web"}}
	take(t, o)
	text, err := os.ReadFile(filepath.Join(o.Dir, podFile))
	if err != nil || !strings.Contains(string(text), "hosts:\n  \"web\": [\"10.96.0.7\"]\n  \"web.shop.svc\": [\"10.96.0.7\"]\n  \"web.svc\": [\"10.96.0.8\"]\nroutes:") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSecrets(t *testing.T) {
	link := linkTo(t, podDir(t, "name: x", map[string]string{
		"/var/run": "-> /run", "/run/secrets/kubernetes.io/serviceaccount/token": "TOKEN", "/run/mine": "M", "/run/credentials/own": "TOKEN",
		"/srv/secret/..1/PASSWORD": "hunter2", "/srv/secret/PASSWORD": "-> ..1/PASSWORD", "/srv/file": "hunter2", "/srv/way": "-> secret/..1/PASSWORD", "/srv/plain": "P",
		"/srv/config/c": "C", "/srv/secrets": "S",
		"/node/pods/1/volumes/kubernetes.io~secret/x/PASSWORD": "hunter2", "/node/run/secrets/kubernetes.io/serviceaccount/token": "TOKEN", "/proc/1/environ": "PASSWORD=hunter2",
	}))
	known := &origins.Origins{Mounts: []origins.Mount{
		{Path: "/srv/secret", Kind: origins.SecretMount, From: "the Secret web"},
		{Path: "/srv/file", Kind: origins.SecretMount, From: "the Secret file"},
		{Path: "/srv/config", Kind: origins.ConfigMount, From: "the ConfigMap web"},
		{Path: "/var/run/credentials", Kind: origins.TokenMount, From: "the volume own"},
	}}
	for _, secrets := range []bool{false, true} {
		o := options(t, link)
		o.Origins, o.Secrets = known, secrets
		o.Used = &Used{Paths: []string{"/srv/secret/PASSWORD", "/srv/way", "/var/run/secrets/kubernetes.io/serviceaccount/token"}}
		result := take(t, o)
		got := tree(t, o.Dir)
		if got["/srv/config/c"] != "C" || len(got["/srv/plain"]) != 0 {
			t.Errorf("what every snapshot has: %q", got)
		}
		o = options(t, link)
		o.Origins, o.Secrets, o.Globs = known, secrets, globs(t, "/", "/srv/secret/PASSWORD", "/srv/way", "/proc/1/environ", "/var/run/**/token", "/run/credentials/*")
		result = take(t, o)
		got = tree(t, o.Dir)
		all := fmt.Sprint(got)
		if strings.Contains(all, "TOKEN") || strings.Contains(all, "PASSWORD=") || got["/srv/plain"] != "P" || got["/srv/secrets"] != "S" || got["/run/mine"] != "M" {
			t.Errorf("%q", got)
		}
		if strings.Contains(all, "hunter2") != secrets || secrets && got["/srv/file"] != "hunter2" {
			t.Errorf("secrets %v: %q", secrets, got)
		}
		want := []string{
			"/node/pods/1/volumes/kubernetes.io~secret: secrets of the node's pods",
			"/node/run/secrets/kubernetes.io/serviceaccount: credentials of a service account",
			"/proc: the kernel's, no files",
			"/run/credentials: the volume own",
			"/run/secrets/kubernetes.io: credentials of the pod's service account",
			"/var/run/**/token: the pod has nothing of that name",
		}
		if !secrets {
			want = append(want, "/srv/file: the Secret file", "/srv/secret: the Secret web")
		}
		slices.Sort(want)
		if d := cmp.Diff(want, lefts(result)); d != "" {
			t.Error(d)
		}
	}
}
