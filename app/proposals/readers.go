package proposals

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// likely are names of scripts and targets that start a program, in the order in which one looks for them.
var likely = []string{"start", "dev", "serve", "run", "server", "start:dev", "develop", "watch", "test"}

// byLikelihood orders names: likely ones, then as they are.
func byLikelihood(names []string) []string {
	rank := func(name string) int {
		if i := slices.Index(likely, name); i >= 0 {
			return i
		}
		return len(likely)
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

// isWord says whether a name can be given to a program that would take it for a flag otherwise.
func isWord(name string) bool {
	return name != "" && !strings.HasPrefix(name, "-") && !strings.ContainsRune(name, 0)
}

// readPackage proposes the scripts of npm and its kin. The lock file, or the field packageManager, says which of them the project is for.
func readPackage(f *found, text string) error {
	var p struct {
		Name           string         `json:"name"`
		Scripts        map[string]any `json:"scripts"`
		PackageManager string         `json:"packageManager"`
		Main           string         `json:"main"`
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return errors.New("it is no package.json: " + err.Error())
	}
	f.call(p.Name)
	manager := "npm"
	for _, m := range []struct{ lock, manager string }{{"pnpm-lock.yaml", "pnpm"}, {"yarn.lock", "yarn"}, {"bun.lock", "bun"}, {"bun.lockb", "bun"}} {
		if f.names[m.lock] {
			manager = m.manager
		}
	}
	if name, _, _ := strings.Cut(p.PackageManager, "@"); slices.Contains([]string{"npm", "pnpm", "yarn", "bun"}, name) {
		manager = name
	}
	for _, name := range byLikelihood(slices.Sorted(maps.Keys(p.Scripts))) {
		script, ok := p.Scripts[name].(string)
		_, isHook := p.Scripts[strings.TrimPrefix(strings.TrimPrefix(name, "pre"), "post")]
		if !ok || !isWord(name) || isHook && (strings.HasPrefix(name, "pre") || strings.HasPrefix(name, "post")) {
			continue // npm runs a hook with its script
		}
		command := []string{manager, "run", name}
		if manager == "npm" && (name == "start" || name == "test") {
			command = []string{"npm", name}
		}
		f.add(strings.Join(command, " "), script, command...)
	}
	if len(p.Scripts) == 0 && isWord(p.Main) {
		f.add("node "+p.Main, "", "node", p.Main)
	}
	return nil
}

var procLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(\S.*)$`)

// readProcfile proposes process types. Their commands are lines of a shell.
func readProcfile(f *found, text string) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := procLine.FindStringSubmatch(line)
		if m == nil || strings.ContainsRune(line, 0) {
			return fmt.Errorf("it has a line that is no `name: command`: %s", line)
		}
		f.add(m[1], m[2], "sh", "-c", m[2])
	}
	return nil
}

var goModule = regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)`)

// readGoMod proposes the programs of a module: a package main at its top and those below cmd.
func readGoMod(f *found, text string) error {
	m := goModule.FindStringSubmatch(text)
	if m == nil {
		return errors.New("it has no line `module`")
	}
	f.call(m[1][strings.LastIndex(m[1], "/")+1:])
	if f.names["main.go"] {
		f.add("go run .", "", "go", "run", ".")
	}
	for _, name := range programsBelow(f.folder.Path, "cmd") {
		f.add("go run ./cmd/"+name, "", "go", "run", "./cmd/"+name)
	}
	f.add("go test ./...", "", "go", "test", "./...")
	return nil
}

// readPyproject proposes scripts of a project and of the tools that run it.
func readPyproject(f *found, text string) error {
	if deep(text) {
		return errors.New("it is nested too deeply")
	}
	var p struct {
		Project struct {
			Name    string
			Scripts map[string]any
		}
		Tool struct {
			Poetry struct {
				Name    string
				Scripts map[string]any
			}
			PDM struct {
				Scripts map[string]any
			}
		}
	}
	if err := decodeTOML(text, &p); err != nil {
		return err
	}
	f.call(p.Project.Name)
	f.call(p.Tool.Poetry.Name)
	runner := []string{}
	switch {
	case f.names["uv.lock"]:
		runner = []string{"uv", "run"}
	case f.names["poetry.lock"] || len(p.Tool.Poetry.Scripts) > 0:
		runner = []string{"poetry", "run"}
	case f.names["pdm.lock"] || len(p.Tool.PDM.Scripts) > 0:
		runner = []string{"pdm", "run"}
	}
	for _, scripts := range []map[string]any{p.Project.Scripts, p.Tool.Poetry.Scripts, p.Tool.PDM.Scripts} {
		for _, name := range byLikelihood(slices.Sorted(maps.Keys(scripts))) {
			if !isWord(name) || name == "_" {
				continue
			}
			command := append(slices.Clone(runner), name)
			detail, _ := scripts[name].(string)
			f.add(strings.Join(command, " "), detail, command...)
		}
	}
	for _, file := range []string{"main.py", "app.py"} {
		if f.names[file] {
			command := append(slices.Clone(runner), "python3", file)
			f.add(strings.Join(command, " "), "", command...)
		}
	}
	return nil
}

// readManage is for Django's projects.
func readManage(f *found, text string) error {
	if !strings.Contains(strings.ToLower(text), "django") {
		return nil
	}
	f.add("python3 manage.py runserver", "Django, without its reloader's second process", "python3", "manage.py", "runserver", "--noreload")
	f.add("python3 manage.py test", "", "python3", "manage.py", "test")
	return nil
}

// readCargo proposes the programs of a crate.
func readCargo(f *found, text string) error {
	if deep(text) {
		return errors.New("it is nested too deeply")
	}
	var p struct {
		Package struct{ Name string }
		Bin     []struct{ Name string }
	}
	if err := decodeTOML(text, &p); err != nil {
		return err
	}
	f.call(p.Package.Name)
	if p.Package.Name != "" {
		f.add("cargo run", "", "cargo", "run")
	}
	for _, bin := range p.Bin {
		if isWord(bin.Name) {
			f.add("cargo run --bin "+bin.Name, "", "cargo", "run", "--bin", bin.Name)
		}
	}
	f.add("cargo test", "", "cargo", "test")
	return nil
}

func decodeTOML(text string, into any) error {
	if _, err := toml.Decode(text, into); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New("it is no TOML: " + first)
	}
	return nil
}

// deep keeps from the library what takes it minutes: thousands of dotted keys or brackets in each other. Nothing real comes near.
func deep(text string) bool {
	open := 0
	for line := range strings.Lines(text) {
		if key, _, _ := strings.Cut(line, "="); strings.Count(key, ".") > 100 {
			return true
		}
		open += strings.Count(line, "[") + strings.Count(line, "{") - strings.Count(line, "]") - strings.Count(line, "}")
		if open = max(open, 0); open > 200 || strings.Count(line, "[")+strings.Count(line, "{") > 5000 {
			return true
		}
	}
	return false
}

// readPom proposes Maven's goals, by what the project is made with.
func readPom(f *found, text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // it is UTF-8 whatever it says
	var path []string
	project := false
	for {
		token, err := d.RawToken() // no entity is expanded
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(path) > 100 {
			return errors.New("it is no XML of Maven")
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			project = project || len(path) == 1 && token.Name.Local == "project"
		case xml.EndElement:
			path = path[:max(0, len(path)-1)]
		case xml.CharData:
			if slices.Equal(path, []string{"project", "artifactId"}) {
				f.call(string(token))
			}
		}
	}
	if !project {
		return errors.New("it is no XML of Maven")
	}
	maven := "mvn"
	if f.names["mvnw"] {
		maven = "./mvnw"
	}
	if strings.Contains(text, "spring-boot-maven-plugin") {
		f.add(maven+" spring-boot:run", "Spring Boot", maven, "spring-boot:run")
	}
	if strings.Contains(text, "quarkus-maven-plugin") {
		f.add(maven+" quarkus:dev", "Quarkus", maven, "quarkus:dev")
	}
	f.add(maven+" test", "", maven, "test")
	return nil
}

// readGradle proposes Gradle's tasks, by the plugins that the file names.
func readGradle(f *found, text string) error {
	gradle := "gradle"
	if f.names["gradlew"] {
		gradle = "./gradlew"
	}
	if strings.Contains(text, "org.springframework.boot") {
		f.add(gradle+" bootRun", "Spring Boot", gradle, "bootRun")
	}
	if strings.Contains(text, "io.quarkus") {
		f.add(gradle+" quarkusDev", "Quarkus", gradle, "quarkusDev")
	}
	if regexp.MustCompile(`(?m)(^|["'\s(])(application)\b`).MatchString(text) {
		f.add(gradle+" run", "", gradle, "run")
	}
	f.add(gradle+" test", "", gradle, "test")
	return nil
}

var gem = regexp.MustCompile(`(?m)^\s*gem\s+["']([A-Za-z0-9_.-]+)["']`)

// readGemfile proposes what the gems are for.
func readGemfile(f *found, text string) error {
	for _, m := range gem.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "rails":
			f.add("bundle exec rails server", "Rails", "bundle", "exec", "rails", "server")
		case "puma", "rackup", "sidekiq", "rspec":
			f.add("bundle exec "+m[1], "", "bundle", "exec", m[1])
		}
	}
	return nil
}

var target = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.-]*(?:\s+[A-Za-z0-9][A-Za-z0-9_.-]*)*)\s*:(?:[^=:]|$)`)

// readMakefile proposes targets: likely ones, then in the order of the file.
func readMakefile(f *found, text string) error {
	if strings.ContainsRune(text, 0) {
		return errors.New("it is no Makefile")
	}
	var names []string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		m := target.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		for _, name := range strings.Fields(m[1]) {
			if isFile := strings.Contains(name, "."); !seen[name] && !isFile && len(names) < maxOf {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	for _, name := range byLikelihood(names) {
		f.add("make "+name, "", "make", name)
	}
	return nil
}
