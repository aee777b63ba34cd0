package proposals

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// project makes a folder.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	os.Mkdir(dir, 0o700)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatFoldersPropose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		title string
		want  []string // commands, with "|" between words
	}{
		{"nothing", nil, "shop", nil},
		{"npm", map[string]string{"package.json": `{"name": "cart", "scripts": {"build": "tsc", "start": "node .", "prestart": "x", "dev": "vite", "predict": "y", "odd": 7, "-x": "z", "": "z"}}`}, "cart",
			[]string{"npm|start", "npm|run|dev", "npm|run|build", "npm|run|predict"}},
		{"pnpm by its lock", map[string]string{"package.json": `{"scripts": {"start": "x"}}`, "pnpm-lock.yaml": ""}, "shop", []string{"pnpm|run|start"}},
		{"yarn by its field", map[string]string{"package.json": `{"scripts": {"a b": "x"}, "packageManager": "yarn@4.1.0"}`}, "shop", []string{"yarn|run|a b"}},
		{"no scripts", map[string]string{"package.json": `{"main": "server.js"}`}, "shop", []string{"node|server.js"}},
		{"go", map[string]string{"go.mod": "// x\nmodule example.org/team/cart\n\ngo 1.26\n", "main.go": "", "cmd/b/main.go": "", "cmd/a/a.go": "", "cmd/c/readme": "", "cmd/file": ""}, "cart",
			[]string{"go|run|.", "go|run|./cmd/a", "go|run|./cmd/b", "go|test|./..."}},
		{"python", map[string]string{"pyproject.toml": "[project]\nname = 'cart'\n[project.scripts]\ncart = 'cart:main'\nserve = 'cart:serve'\n", "app.py": ""}, "cart", []string{"serve", "cart", "python3|app.py"}},
		{"uv", map[string]string{"pyproject.toml": "[project]\nscripts.cart = 'cart:main'", "uv.lock": ""}, "shop", []string{"uv|run|cart"}},
		{"poetry", map[string]string{"pyproject.toml": "[tool.poetry]\nname = 'c'\nscripts = {cart = 'cart:main', '--help' = 'x'}\n"}, "c", []string{"poetry|run|cart"}},
		{"django", map[string]string{"manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')"}, "shop", []string{"python3|manage.py|runserver|--noreload", "python3|manage.py|test"}},
		{"another manage.py", map[string]string{"manage.py": "print(1)"}, "shop", nil},
		{"procfile first", map[string]string{"Procfile": "# x\nweb: bundle exec puma -p $PORT\n\nworker:  sidekiq \n", "package.json": `{"scripts": {"start": "x"}}`}, "shop",
			[]string{"sh|-c|bundle exec puma -p $PORT", "sh|-c|sidekiq", "npm|start"}},
		{"make", map[string]string{"Makefile": ".PHONY: all\nX := 1\nY ?= a:b\nall: x.o\n\tcc\nx.o: x.c\nrun test: all\n%.o: %.c\n$(A): b\nall::\nlong-name_1 :\n"}, "shop",
			[]string{"make|run", "make|test", "make|all", "make|long-name_1"}},
		{"cargo", map[string]string{"Cargo.toml": "[package]\nname = 'cart'\n[[bin]]\nname = 'one'\n"}, "cart", []string{"cargo|run", "cargo|run|--bin|one", "cargo|test"}},
		{"maven", map[string]string{"pom.xml": "<?xml version='1.0' encoding='ISO-8859-1'?><project><parent><artifactId>p</artifactId></parent><artifactId> cart </artifactId><build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build></project>", "mvnw": ""}, "cart",
			[]string{"./mvnw|spring-boot:run", "./mvnw|test"}},
		{"gradle", map[string]string{"build.gradle": "plugins {\n id 'application'\n id 'org.springframework.boot' version '3'\n}", "gradlew": ""}, "shop", []string{"./gradlew|bootRun", "./gradlew|run", "./gradlew|test"}},
		{"kotlin", map[string]string{"build.gradle.kts": "plugins {\n application\n}"}, "shop", []string{"gradle|run", "gradle|test"}},
		{"ruby", map[string]string{"Gemfile": "source 'x'\ngem 'rails', '~> 8'\ngem \"puma\"\n# gem 'sidekiq'\n"}, "shop", []string{"bundle|exec|rails|server", "bundle|exec|puma"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Read(project(t, tt.files))
			if err != nil || len(f.Problems) > 0 {
				t.Fatal(err, f.Problems)
			}
			var got []string
			for _, p := range f.Proposals {
				got = append(got, strings.Join(p.Command, "|"))
				if p.Name == "" || p.Source == "" {
					t.Errorf("%+v", p)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || f.Name != tt.title {
				t.Errorf("named %q (-want +got):\n%s", f.Name, diff)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	pod := project(t, map[string]string{"pod.yaml": "name: x"})
	if f, err := Read(pod); err != nil || !f.Pod || f.Config != "" {
		t.Errorf("%+v, %v", f, err)
	}
	with := project(t, map[string]string{".mirrord/mirrord.yaml": "", "package.json": `{"scripts": {"start": "x"}}`, "pod.yaml": ""})
	f, err := Read(filepath.Join(with, "package.json")) // dropped as a file
	if err != nil || f.Path != with || f.Config != filepath.Join(".mirrord", "mirrord.yaml") || f.Pod || f.Proposals[0].Detail != "x" || f.Proposals[0].Source != "package.json" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := Read(filepath.Join(with, "missing")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// Files that mean no good are problems of their own; the others are read.
func TestHostileFiles(t *testing.T) {
	dir := project(t, map[string]string{
		"package.json":     strings.Repeat("[", 100000),
		"pyproject.toml":   strings.Repeat("a.", 50000) + "a = 1",
		"Cargo.toml":       "a = " + strings.Repeat("[", 50000),
		"Makefile":         strings.Repeat("x", maxFile+1),
		"go.mod":           "modul x",
		"Procfile":         "web: ok\nnonsense\n",
		"build.gradle":     "\xff\xfe",
		"build.gradle.kts": "application\x00",
		"pom.xml":          "<!DOCTYPE project [<!ENTITY a 'aaaa'>]>" + strings.Repeat("<project>", 1000),
		"GNUmakefile":      "a:\x00b",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "Gemfile"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/does/not/exist", filepath.Join(dir, "manage.py")); err != nil {
		t.Fatal(err)
	}
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, p := range f.Problems {
		files = append(files, p.File)
		if p.Error == "" || len(p.Error) > maxText+len("…") {
			t.Errorf("%+v", p)
		}
	}
	want := []string{"Procfile", "package.json", "manage.py", "pyproject.toml", "go.mod", "Cargo.toml", "pom.xml", "build.gradle", "Gemfile", "Makefile", "GNUmakefile"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	if len(f.Proposals) != 3 { // web, and what Gradle runs
		t.Errorf("%+v", f.Proposals)
	}
}

func TestMuchIsCut(t *testing.T) {
	var scripts []string
	for i := range 5000 {
		scripts = append(scripts, fmt.Sprintf(`"s%d": "%s\u001b[31m\n"`, i, strings.Repeat("ä", 500)))
	}
	f, err := Read(project(t, map[string]string{"package.json": `{"scripts": {` + strings.Join(scripts[:900], ",") + `}}`}))
	if err != nil || len(f.Proposals) != maxOf || len(f.Proposals[0].Detail) > maxText+len("…") || strings.ContainsAny(f.Proposals[0].Detail, "\x1b\n") {
		t.Errorf("%d proposals, %v, %v", len(f.Proposals), f.Problems, err)
	}
}

func FuzzReaders(f *testing.F) {
	for i, seed := range []string{"web: x", `{"scripts":{"a":"b"}}`, "django", "[project]\nname='a'", "module a", "[package]\nname='a'", "<project><artifactId>a</artifactId></project>", "application", "application", "gem 'rails'", "all:", "a b: c", "x::"} {
		f.Add(i, seed)
	}
	f.Fuzz(func(t *testing.T, n int, text string) {
		r := readers[uint(n)%uint(len(readers))]
		folder := Folder{Path: "/shop", Name: "shop"}
		_ = r.read(&found{folder: &folder, source: r.file, names: map[string]bool{}}, text)
		if len(folder.Proposals) > maxOf {
			t.Fatalf("%d proposals", len(folder.Proposals))
		}
		for _, p := range folder.Proposals {
			for _, w := range p.Command {
				if w == "" || strings.ContainsRune(w, 0) {
					t.Fatalf("%q", p.Command)
				}
			}
		}
	})
}
