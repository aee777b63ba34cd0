package sip

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/machotest"
)

const small = `mac: {os: "15.5", arch: arm64, rosetta: true}
cwd: /Users/ann
env: {PATH: "/opt/bin:/bin"}
`

func describe(t testing.TB, text string) *Described {
	t.Helper()
	d, faults := parseHost([]byte(text), t.TempDir())
	if len(faults) > 0 {
		t.Fatal(&FileError{Path: "mac.yaml", Faults: faults})
	}
	return d
}

// TestFaults wants every fault of a file, at its place and in the order of the file.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "f:1:1: the file is empty"},
		{"no mapping", "- a\n", "f:1:1: the file must be a mapping, not a list"},
		{"syntax", "mac: {os: \"15\"\nfiles", "f:2:1: "},
		{"second document", small + "---\na: b\n", "f:5:1: a second document"},
		{"no version", "mac: {arch: arm64}\n", "f:1:1: the version of macOS is missing"},
		{"unknown keys", "mac: {os: \"15\", cpu: 1}\nfoo: 1\n", "f:1:17: unknown key \"cpu\" in mac\nf:2:1: unknown key \"foo\" in the file"},
		{"wrong values", "mac: {os: new, arch: ppc, sip: 1}\ncwd: here\n", "f:1:11: os must be a version\nf:1:22: unknown arch \"ppc\"\nf:1:32: sip must be true or false\nf:2:6: cwd must be an absolute path"},
		{"Rosetta on Intel", "mac: {os: \"15\", arch: x86_64, rosetta: true}\n", "f:1:6: a Mac of architecture x86_64 has no Rosetta"},
		{"anchors", small + "files:\n  /a: &x {script: \"\"}\n  /b: *x\n", "f:5:7: a file must be a mapping, not something that is not used here\nf:6:7: a file must be a mapping, not something"},
		{"two kinds", small + "files:\n  /a: {script: x, link: /b}\n", "f:5:3: /a must be one thing"},
		{"no kind", small + "files:\n  /a: {mode: 5}\n", "f:5:3: /a must be one thing"},
		{"relative path", small + "files:\n  a: {script: x}\n", "f:5:3: \"a\" is not an absolute path of a file"},
		{"twice", small + "files:\n  /var/a: {script: x}\n  /private/var/a: {script: x}\n", "f:6:3: /private/var/a is described twice"},
		{"below a file", small + "files:\n  /a: {script: x}\n  /a/b: {script: x}\n", "f:6:3: /a is not a folder"},
		{"above a file", small + "files:\n  /a/b: {script: x}\n  /a: {link: /c}\n", "f:5:3: /a is not a folder, so nothing can be below it"},
		{"mode", small + "files:\n  /a: {script: x, mode: \"0x10000\"}\n", "f:5:25: mode must be a number"},
		{"no slices", small + "files:\n  /a: {macho: {flags: [runtime]}}\n", "f:5:15: a Mach-O file has slices"},
		{"architecture", small + "files:\n  /a: {macho: {slices: [ppc]}}\n", "f:5:25: unknown architecture \"ppc\""},
		{"slice without one", small + "files:\n  /a: {macho: {slices: [{flags: []}]}}\n", "f:5:25: a slice has an arch"},
		{"flag", small + "files:\n  /a: {macho: {slices: [arm64], flags: [soft]}}\n", "f:5:41: unknown flag \"soft\""},
		{"unsigned with flags", small + "files:\n  /a: {macho: {slices: [{arch: arm64, unsigned: true}], flags: [runtime]}}\n", "f:5:15: what is unsigned has no flags"},
		{"probe", small + "probes: {ppc: true}\n", "f:4:10: unknown key \"ppc\" in probes"},
		{"twice but for the case", small + "files:\n  /opt/X: {script: x}\n  /OPT/x: {script: x}\n", "f:6:3: /OPT/x is described twice"},
		{"deep", strings.Repeat("[", 1000), "f:1:1: the file nests too deep"},
	} {
		_, faults := parseHost([]byte(tt.text), "/")
		var got strings.Builder
		for _, f := range faults {
			got.WriteString((&FileError{Path: "f", Faults: []Fault{{f.Line, f.Column, f.Message, ""}}}).Error() + "\n")
		}
		lines, want := strings.Split(strings.TrimSpace(got.String()), "\n"), strings.Split(tt.want, "\n")
		ok := len(lines) == len(want)
		for i := range want {
			ok = ok && strings.HasPrefix(lines[i], want[i])
		}
		if !ok {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got.String(), tt.want)
		}
	}
}

func TestClosedWorld(t *testing.T) {
	d := describe(t, small+`files:
  /bin/true: {script: "#!/bin/x\n"}
  /opt/bin/one: {link: ../lib/two}
  /opt/lib/two: {link: /private/tmp/three}
  /tmp/three: {script: "text"}
  /opt/dir: {link: lib}
  /opt/loop: {link: loop}
  /opt/out: {link: ../../../../bin/true}
  /opt/mine: {script: x, mode: "0600", uid: 501}
  /opt/others: {script: x, mode: "0754", uid: 7, gid: 7}
  /opt/group: {script: x, mode: "0710", uid: 7, gid: 20}
`)
	for _, tt := range []struct {
		path, real string
		errno      syscall.Errno
	}{
		{"/bin/true", "/bin/true", 0},
		{"/bin/sh", "", syscall.ENOENT}, // which this machine has
		{"/proc/self/exe", "", syscall.ENOENT},
		{"/opt/bin/one", "/private/tmp/three", 0},
		{"/opt/dir/two", "/private/tmp/three", 0},
		{"/opt/./bin/../bin//one", "/private/tmp/three", 0},
		{"/opt/dir/../bin/one", "/private/tmp/three", 0},
		{"/../../bin/true", "/bin/true", 0},
		{"/opt/out", "/bin/true", 0},
		{"/opt/loop", "", syscall.ELOOP},
		{"/opt/loop/x", "", syscall.ELOOP},
		{"/opt/bin", "", syscall.EACCES},
		{"/opt/dir", "", syscall.EACCES},
		{"/opt/dir/", "", syscall.EACCES},
		{"/bin/true/", "", syscall.ENOTDIR},
		{"/bin/true/x", "", syscall.ENOTDIR},
		{"/bin/true/../true", "", syscall.ENOTDIR},
		{"/opt/mine", "", syscall.EACCES},
		{"/opt/others", "", syscall.EACCES},
		{"/opt/group", "/opt/group", 0},
		{"bin/true", "", syscall.ENOENT},
		{"", "", syscall.ENOENT},
		{"/", "", syscall.EACCES},
		{"/" + strings.Repeat("a/", maxPath), "", syscall.ENAMETOOLONG},
	} {
		f, errno := d.look(tt.path)
		if errno != tt.errno || f != nil && f.real != tt.real {
			t.Errorf("%q: %+v, %v", tt.path, f, errno)
		}
	}
	if to, ok := d.readlink("/opt/bin/one"); !ok || to != "/opt/lib/two" {
		t.Errorf("link: %q, %v", to, ok)
	}
	if _, ok := d.readlink("/bin/true"); ok {
		t.Error("a script is no link")
	}
}

// TestCase: a volume of macOS keeps the case of names and does not look at it, unless it was made to.
func TestCase(t *testing.T) {
	const files = `files:
  /Applications/Shop.app/Contents/MacOS/Shop: {script: "#!/bin/x\n"}
  /opt/Link: {link: ../APPLICATIONS/shop.app/contents}
  /opt/Straße: {script: "#!/bin/x\n"}
`
	d := describe(t, small+files)
	for asked, want := range map[string]string{
		"/applications/SHOP.app/Contents/macos/shop": "/Applications/Shop.app/Contents/MacOS/Shop",
		"/OPT/LINK/MacOS/Shop":                       "/Applications/Shop.app/Contents/MacOS/Shop",
		"/OPT/link/../macos/../MACOS/shop":           "", // .. is that of the target
		"/opt/STRAßE":                                "/opt/Straße",
		"/TMP/../Private":                            "",
	} {
		f, errno := d.look(asked)
		if want != "" && (errno != 0 || f.real != want) || want == "" && errno == 0 {
			t.Errorf("%s: %+v, %v", asked, f, errno)
		}
	}
	strict := describe(t, strings.Replace(small, "rosetta: true", "rosetta: true, case_sensitive: true", 1)+files+"  /OPT/Link: {script: x}\n")
	if _, errno := strict.look("/opt/link/MacOS/Shop"); errno != syscall.ENOENT {
		t.Error(errno)
	}
	if f, errno := strict.look("/OPT/Link"); errno != 0 || f.real != "/OPT/Link" {
		t.Error(f, errno)
	}
}

// TestFilesOfThisMachine gives real bytes to a described Mac.
func TestFilesOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	program := machotest.Image{}.With(machotest.Signature{}).Bytes()
	for name, content := range map[string]string{
		"script": "#!/bin/tool -x\n", "macho": string(program), "text": "hello", "cut": string(program[:100]),
		"dylib": string(machotest.Image{Kind: machotest.Dylib}.Bytes()), "class": "\xca\xfe\xba\xbe\x00\x00\x00\x41",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, faults := parseHost([]byte(small+`files:
  /bin/script: {file: script}
  /bin/macho: {file: macho}
  /bin/tool: {file: `+dir+`/macho}
  /bin/text: {file: text}
  /bin/gone: {file: gone}
  /bin/folder: {file: .}
  /bin/cut: {file: cut}
  /bin/dylib: {file: dylib}
  /bin/class: {file: class}
  /bin/sh: {file: macho}
`), dir)
	if faults != nil {
		t.Fatal(faults)
	}
	for _, tt := range []struct {
		name   string
		search bool // execvp's manner
		err    error
		why    string
	}{
		{"script", false, nil, ""},
		{"macho", false, nil, ""},
		{"text", false, syscall.ENOEXEC, ""},
		{"text", true, nil, ""},
		{"class", false, syscall.ENOEXEC, ""},
		{"gone", false, syscall.ENOENT, ""},
		{"folder", false, syscall.EACCES, ""},
		{"cut", false, syscall.ENOEXEC, "/bin/cut: malformed at byte 20: "},
		{"cut", true, syscall.ENOEXEC, "/bin/cut: malformed at byte 20: "}, // no shell gets what is broken
		{"dylib", false, syscall.ENOEXEC, "/bin/dylib: it is no program but a file of kind dylib"},
	} {
		v := For(d).Decide(Request{Path: "/bin/" + tt.name, Cwd: "/", Search: tt.search})
		if !errors.Is(v.Err, tt.err) || tt.err == nil && v.Kind != Inject || tt.why != "" && !strings.HasPrefix(v.Err.Error(), tt.why) {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestReadHost(t *testing.T) {
	if _, err := ReadHost(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "mac.yaml")
	if err := os.WriteFile(file, []byte("a: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadHost(file)
	want := file + ":1:1: unknown key \"a\" in the file\nhint: known are: cwd, developer_dir, env, files, mac, probes, user\n" +
		file + ":1:1: the version of macOS is missing\nhint: it is mac: {os: \"15.5\", …}"
	if err == nil || cmp.Diff(want, err.Error()) != "" {
		t.Errorf("%v", err)
	}
}

func FuzzHost(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || files == nil {
		f.Fatal(files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(small + "files:\n  /a: {link: b}\n  /b: {link: a}\n"))
	f.Add([]byte(small + "files:\n  /a: {macho: {slices: [arm64e, {arch: arm64, platform: ios}], entitlements: {x: false}}}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, faults := parseHost(raw, "/nonexistent")
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Message == "" || strings.Contains(fault.Message, "\n") {
				t.Errorf("%+v", fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		e := For(d)
		tried := 0
		for path := range d.entries {
			v := e.Decide(Request{Path: path, Argv0: path, Args: []string{"x"}, Cwd: d.system.Cwd, Env: d.system.Env, Search: true, Trace: true})
			if (v.Err == nil) != (v.Kind != Fails) {
				t.Errorf("%s: %+v", path, v)
			}
			if tried++; tried > 50 {
				break
			}
		}
	})
}
