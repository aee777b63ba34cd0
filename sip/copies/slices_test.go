package copies

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign"
	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
	"mirrord/sip/patch"
)

// tree writes files, and links where the content begins with "-> ". Its folder has no symbolic links on the way.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = errors.Join(err, os.Symlink(to, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// image is a program that loads libraries.
func image(room bool, rpaths []string, libraries ...string) string {
	i := machotest.Image{NoRoom: !room, Rpaths: rpaths, Signature: &machotest.Signature{Flags: machotest.FlagRuntime, Team: "TEAM123456"}}
	for _, path := range libraries {
		i.Libraries = append(i.Libraries, machotest.Library{Path: path})
	}
	return string(i.Bytes())
}

func slice(t *testing.T, s *Store, file, arch string) (copied string, read *macho.Slice) {
	t.Helper()
	copied, err := s.Copy(file, arch)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	r, err := codesign.Verify(bytes.NewReader(b), int64(len(b)))
	if err != nil || !r.Valid() || !r.Slices[0].Signed || r.Slices[0].Team != "" {
		t.Errorf("%s: %+v, %v", copied, r, err)
	}
	rel, _ := filepath.Rel(s.dir, copied)
	if id := r.Slices[0].Identifier; id != "mirrord."+filepath.Base(copied)+"-"+rel[:16] {
		t.Errorf("%s: %s", copied, id)
	}
	f, err := macho.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return copied, f.Slices[0]
}

func TestSlice(t *testing.T) {
	arm, intel := image(true, nil, "@loader_path/../lib/a.dylib"), machotest.Image{Arch: machotest.X86_64}.Bytes()
	fat := string(machotest.Fat([]byte(arm), intel))
	dir := tree(t, map[string]string{"bin/tool": fat, "bin/link": "-> tool", "else/tool": fat, "arm64e": string(machotest.Image{Arch: machotest.ARM64e}.Bytes())})
	s, file := open(t), filepath.Join(dir, "bin", "tool")
	copied, read := slice(t, s, file, "arm64")
	if diff := cmp.Diff([]string{dir + "/lib/a.dylib"}, read.Libraries()); diff != "" || read.Arch != macho.ARM64 {
		t.Error(diff)
	}
	if origin, ok := s.Original(copied); !ok || origin != file || filepath.Dir(filepath.Dir(copied)) != s.dir {
		t.Errorf("%q is the copy of %q", copied, origin)
	}
	if link, _ := slice(t, s, filepath.Join(dir, "bin", "link"), "arm64"); link != copied {
		t.Errorf("a link has another copy: %s", link)
	}
	if again, _ := slice(t, s, file, "arm64"); again != copied {
		t.Errorf("another copy: %s", again)
	}
	if other, read := slice(t, s, file, "x86_64"); other == copied || read.Arch != macho.X86_64 {
		t.Errorf("%s: %s", other, read.Arch)
	}
	if other, read := slice(t, s, filepath.Join(dir, "else", "tool"), "arm64"); other == copied || read.Libraries()[0] != dir+"/lib/a.dylib" {
		t.Errorf("%s: %q", other, read.Libraries())
	}
	names := holds(t, s)
	for _, arch := range []string{"arm64", "arm64e"} {
		copied, err := s.Copy(filepath.Join(dir, "arm64e"), arch)
		if refused := (*patch.RefusedError)(nil); copied != "" || !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), dir+"/arm64e: its arm64e slice cannot be copied: ") {
			t.Errorf("%q: %v", copied, err)
		}
	}
	if diff := cmp.Diff(names, holds(t, s)); diff != "" {
		t.Error(diff)
	}
}

// links lists a copy's folder: what is there, and where links lead.
func links(t *testing.T, s *Store, copied string) map[string]string {
	t.Helper()
	rel, _ := filepath.Rel(s.dir, copied)
	key, _, _ := strings.Cut(rel, "/")
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(s.dir, key), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(filepath.Join(s.dir, key), path)
		all[rel], _ = os.Readlink(path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A program of an application lies in one, which is the original's but for the program and its signature.
func TestApplication(t *testing.T) {
	const inside = "Applications/Shop.app/Contents/"
	dir := tree(t, map[string]string{
		inside + "MacOS/Shop":                       image(true, []string{"@executable_path/../Frameworks"}, "@rpath/Cart.framework/Cart"),
		inside + "MacOS/helper":                     "#!/bin/sh\n",
		inside + "Info.plist":                       "plist",
		inside + "PkgInfo":                          "APPL????",
		inside + "Resources/de.lproj/a":             "a",
		inside + "Frameworks/Cart.framework/Cart":   "-> Versions/A/Cart",
		inside + "_CodeSignature/CodeResources":     "hashes",
		"bin/shop":                                  "-> ../Applications/Shop.app/Contents/MacOS/Shop",
		"Applications/Other.app/Contents/MacOS/One": image(true, nil),
		"Applications/plain/Contents/MacOS/Plain":   image(true, nil),
	})
	s, app := open(t), filepath.Join(dir, inside)
	copied, read := slice(t, s, filepath.Join(dir, "bin", "shop"), "arm64")
	if !strings.HasSuffix(copied, "/Shop.app/Contents/MacOS/Shop") || read.Names[len(read.Names)-1].Text != app+"/Frameworks" {
		t.Errorf("%s: %+v", copied, read.Names)
	}
	if diff := cmp.Diff(map[string]string{
		"Shop.app/Contents/MacOS/Shop": "", "Shop.app/Contents/MacOS/helper": app + "/MacOS/helper", "Shop.app/Contents/Info.plist": app + "/Info.plist", "Shop.app/Contents/PkgInfo": app + "/PkgInfo",
		"Shop.app/Contents/Resources": app + "/Resources", "Shop.app/Contents/Frameworks": app + "/Frameworks",
	}, links(t, s, copied)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	contents := filepath.Dir(filepath.Dir(copied))
	for path, want := range map[string]string{
		copied: app + "/MacOS/Shop", contents: app, filepath.Dir(contents): dir + "/Applications/Shop.app", contents + "/Resources/de.lproj": app + "/Resources/de.lproj",
		filepath.Dir(filepath.Dir(contents)): "", contents + "/../x": "",
	} {
		if origin, ok := s.Original(path); origin != want || ok != (want != "") {
			t.Errorf("%s: %q", path, origin)
		}
	}
	if again, _ := slice(t, s, filepath.Join(app, "MacOS", "Shop"), "arm64"); again != copied {
		t.Errorf("another copy: %s", again)
	}
	if copied, _ := slice(t, s, dir+"/Applications/plain/Contents/MacOS/Plain", "arm64"); len(links(t, s, copied)) != 1 || filepath.Dir(filepath.Dir(copied)) != s.dir {
		t.Errorf("%s is no application", copied)
	}
	if copied, _ := slice(t, s, dir+"/Applications/Other.app/Contents/MacOS/One", "arm64"); len(links(t, s, copied)) != 1 {
		t.Errorf("%s: %v", copied, links(t, s, copied))
	}
}

// Where absolute paths have no room, relative ones lead to the original's libraries from the copy too.
func TestLinks(t *testing.T) {
	far := "far/" + strings.Repeat("far/", 40)
	dir := tree(t, map[string]string{
		far + "shop/bin/tool": image(false, []string{"@loader_path/../../plugins", "@executable_path", "/usr/lib/swift"}, "@executable_path/../lib/deep/a.dylib", "@loader_path/b.dylib",
			"@rpath/c.dylib", "@rpath/d.framework/d", "/usr/lib/libSystem.B.dylib"),
		far + "shop/lib/deep/a.dylib": "a", far + "shop/bin/b.dylib": "b", far + "plugins/c.dylib": "c", far + "shop/bin/d.framework/d": "d",
		far + "shop/App.app/Contents/MacOS/App": image(false, nil, "@executable_path/../../../lib/deep/a.dylib"), far + "shop/App.app/Contents/Info.plist": "plist",
	})
	s, shop := open(t), filepath.Join(dir, far, "shop")
	copied, read := slice(t, s, shop+"/bin/tool", "arm64")
	if !strings.HasSuffix(copied, "/shop/bin/tool") || read.Libraries()[0] != "@executable_path/../lib/deep/a.dylib" {
		t.Errorf("%s: %q", copied, read.Libraries())
	}
	if diff := cmp.Diff(map[string]string{
		"shop/bin/tool": "", "shop/lib": shop + "/lib", "shop/bin/b.dylib": shop + "/bin/b.dylib", "shop/bin/c.dylib": shop + "/bin/c.dylib", "shop/bin/d.framework": shop + "/bin/d.framework",
		"plugins": filepath.Dir(shop) + "/plugins",
	}, links(t, s, copied)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	bin := filepath.Dir(copied)
	for path, want := range map[string]string{bin + "/../lib/deep/a.dylib": "a", bin + "/b.dylib": "b", bin + "/../../plugins/c.dylib": "c", bin + "/d.framework/d": "d"} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if origin, ok := s.Original(filepath.Dir(bin) + "/lib"); !ok || origin != shop+"/lib" {
		t.Errorf("the original of a link: %q", origin)
	}

	copied, _ = slice(t, s, shop+"/App.app/Contents/MacOS/App", "arm64")
	if diff := cmp.Diff(map[string]string{
		"App.app/Contents/MacOS/App": "", "App.app/Contents/Info.plist": shop + "/App.app/Contents/Info.plist", "lib": shop + "/lib",
	}, links(t, s, copied)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if removed, err := s.Prune(-1); removed != 2 || err != nil {
		t.Errorf("%d, %v", removed, err)
	}
	if got, err := os.ReadFile(shop + "/lib/deep/a.dylib"); err != nil || string(got) != "a" {
		t.Errorf("pruning went through a link: %v", err)
	}
}
