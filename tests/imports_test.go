package tests

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// rules say who may import whom. A rule holds for a folder and all below it, for its tests as well, directly and through others.
var rules = []struct {
	folder string
	never  []string // import paths and all below them
	except []string
}{
	{folder: "agent", never: []string{"k8s.io", "fyne.io/fyne", "mirrord/sip", "mirrord/launcher", "mirrord/layer", "mirrord/codesign", "mirrord/app"}},
	{folder: "agent/wire", never: []string{"mirrord"}, except: []string{"mirrord/agent/wire"}},
	{folder: "agent/links", never: []string{"mirrord"}, except: []string{"mirrord/agent/links", "mirrord/agent/wire"}},
	{folder: "agent/startup", never: []string{"mirrord"}, except: []string{"mirrord/agent/startup", "mirrord/agent/wire"}},
	{folder: "sip", never: []string{"mirrord", "k8s.io/client-go", "fyne.io/fyne"}, except: []string{"mirrord/sip", "mirrord/codesign"}},
	{folder: "codesign", never: []string{"mirrord"}, except: []string{"mirrord/codesign"}},
	{folder: "layer", never: []string{"mirrord"}, except: []string{"mirrord/layer"}},
	{folder: "launcher", never: []string{"fyne.io/fyne", "mirrord/app"}},
	{folder: "launcher/kube", never: []string{"mirrord/launcher", "mirrord/sip", "mirrord/layer"}, except: []string{"mirrord/launcher/kube"}},
	{folder: "launcher/events", never: []string{"mirrord"}, except: []string{"mirrord/launcher/events"}},
	{folder: "app", never: []string{"mirrord/launcher", "mirrord/agent", "k8s.io/client-go"}, except: []string{"mirrord/launcher/events"}},
	{folder: "app/cli", never: []string{"fyne.io/fyne"}},
	{folder: "app/console", never: []string{"fyne.io/fyne"}},
	{folder: "app/launches", never: []string{"fyne.io/fyne"}},
	{folder: "app/loginenv", never: []string{"fyne.io/fyne"}},
	{folder: "app/proposals", never: []string{"fyne.io/fyne"}},
	{folder: "app/runner", never: []string{"fyne.io/fyne"}},
	{folder: "app/session", never: []string{"fyne.io/fyne"}},
	{folder: "app/shell", never: []string{"fyne.io/fyne"}},
	{folder: "app/terminal", never: []string{"fyne.io/fyne"}},
}

// forTests are folders that no program may have in it.
var forTests = []string{"mirrord/codesign/machotest", "mirrord/sip/siptest", "mirrord/agent/redirect/nettest", "mirrord/launcher/kube/kubetest"}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Deps         []string // all, with those of others
	TestImports  []string
	XTestImports []string
}

func TestImports(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Deps,TestImports,XTestImports", "mirrord/...")
		cmd.Env = append(cmd.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for d := json.NewDecoder(out); ; seen++ {
			var p pkg
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range check(p) {
				t.Errorf("%s: %s", system, fault)
			}
		}
		if err := cmd.Wait(); err != nil || seen < 10 {
			t.Errorf("%s: go list: %v, %d packages", system, err, seen)
		}
	}
}

func check(p pkg) (faults []string) {
	for _, rule := range rules {
		if !below(p.ImportPath, "mirrord/"+rule.folder) {
			continue
		}
		for _, imports := range [][]string{p.Deps, p.TestImports, p.XTestImports} {
			for _, path := range imports {
				if belowAny(path, rule.never) && !belowAny(path, rule.except) {
					faults = append(faults, p.ImportPath+" imports "+path)
				}
			}
		}
	}
	for _, path := range p.Deps {
		if belowAny(path, forTests) && !belowAny(p.ImportPath, forTests) {
			faults = append(faults, p.ImportPath+" imports "+path)
		}
	}
	return faults
}

func belowAny(path string, folders []string) bool {
	for _, folder := range folders {
		if below(path, folder) {
			return true
		}
	}
	return false
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func TestCheckFindsFaults(t *testing.T) {
	for _, tt := range []struct {
		p      pkg
		faults int
	}{
		{pkg{ImportPath: "mirrord/agent/serve", Deps: []string{"fmt", "mirrord/agent/wire"}}, 0},
		{pkg{ImportPath: "mirrord/agent/serve", Deps: []string{"mirrord/launcher/events", "fyne.io/fyne/v2/app"}}, 2},
		{pkg{ImportPath: "mirrord/agent/wire", XTestImports: []string{"mirrord/agent/serve"}}, 1},
		{pkg{ImportPath: "mirrord/agent/wire", TestImports: []string{"mirrord/agent/wire"}}, 0},
		{pkg{ImportPath: "mirrord/sip", Deps: []string{"mirrord/codesign"}}, 0},
		{pkg{ImportPath: "mirrord/sip", Deps: []string{"mirrord/launcher/config"}}, 1},
		{pkg{ImportPath: "mirrord/sip", TestImports: []string{"mirrord/codesign/machotest"}}, 0},
		{pkg{ImportPath: "mirrord/sip", Deps: []string{"mirrord/codesign/machotest"}}, 1},
		{pkg{ImportPath: "mirrord/app/ui", Deps: []string{"mirrord/launcher/run", "mirrord/launcher/events"}}, 1},
		{pkg{ImportPath: "mirrord/applet", Deps: []string{"mirrord/launcher/run"}}, 0},
	} {
		if got := check(tt.p); len(got) != tt.faults {
			t.Errorf("%+v: %q", tt.p, got)
		}
	}
}
