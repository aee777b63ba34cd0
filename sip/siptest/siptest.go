// Package siptest makes described Macs real, for tests, which alone import it: the programs that a description describes become files.
package siptest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"

	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
)

// Mac writes each program of a description (package sip, ReadHost) into a folder of t, as bytes of Apple's formats, and gives the name of a description
// with those files in the programs' places. Nothing else of it changes.
func Mac(t testing.TB, description string) string {
	t.Helper()
	raw, err := os.ReadFile(description)
	if err != nil {
		t.Fatal(err)
	}
	var mac map[string]any
	if err := yaml.Unmarshal(raw, &mac); err != nil {
		t.Fatal(err)
	}
	dir, made := t.TempDir(), 0
	files, _ := mac["files"].(map[string]any)
	for path, of := range files {
		entry := of.(map[string]any)
		described, ok := entry["macho"].(map[string]any)
		if !ok {
			continue
		}
		made++
		name := fmt.Sprint("program-", made)
		b, err := Program(described)
		if err != nil {
			t.Fatalf("%s: %s: %v", description, path, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		delete(entry, "macho")
		entry["file"] = name
	}
	if made == 0 {
		t.Fatalf("%s describes no program", description)
	}
	out, err := yaml.Marshal(mac)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, filepath.Base(description))
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Program makes the file that an entry's macho describes: a thin one of one slice, a fat one of more.
func Program(whole map[string]any) ([]byte, error) {
	list, _ := whole["slices"].([]any)
	var files [][]byte
	for _, of := range list {
		said := maps.Clone(whole)
		if arch, ok := of.(string); ok {
			said["arch"] = arch
		} else {
			maps.Copy(said, of.(map[string]any))
		}
		image, err := slice(said)
		if err != nil {
			return nil, err
		}
		files = append(files, image.Bytes())
	}
	switch len(files) {
	case 0:
		return nil, fmt.Errorf("%v has no slices", whole)
	case 1:
		return files[0], nil
	}
	return machotest.Fat(files...), nil
}

var (
	platforms = map[string]uint32{"macos": 1, "ios": 2, "catalyst": 6}
	flags     = map[string]uint32{
		"adhoc": machotest.FlagAdHoc, "get-task-allow": 0x4, "hard": 0x100, "kill": 0x200, "restrict": machotest.FlagRestrict, "enforcement": 0x1000,
		"library-validation": machotest.FlagLibraryValidation, "runtime": machotest.FlagRuntime, "linker-signed": machotest.FlagLinkerSigned,
	}
)

func slice(said map[string]any) (machotest.Image, error) {
	i := machotest.Image{Code: 1000, Libraries: []machotest.Library{}}
	var s machotest.Signature
	unsigned := false
	for key, value := range said {
		ok := true
		switch key {
		case "slices":
		case "arch":
			var a macho.Arch
			a, ok = macho.Archs()[value.(string)]
			i.Arch = machotest.Arch(a)
		case "platform":
			i.Build.Platform, ok = platforms[value.(string)]
		case "platform_byte":
			s.Platform = uint8(value.(uint64))
		case "flags":
			for _, name := range value.([]any) {
				s.Flags |= flags[name.(string)]
				ok = ok && flags[name.(string)] != 0
			}
		case "entitlements":
			values := value.(map[string]any)
			s.Entitlements, s.DER = machotest.XML(values), machotest.DER(values)
		case "libraries":
			for _, path := range value.([]any) {
				i.Libraries = append(i.Libraries, machotest.Library{Path: path.(string)})
			}
		case "restrict_segment":
			i.Restrict = value.(bool)
		case "encrypted":
			i.Encrypted = value.(bool)
		case "unsigned":
			unsigned = value.(bool)
		default:
			ok = false
		}
		if !ok {
			return i, fmt.Errorf("no fixture for %s: %v", key, value)
		}
	}
	if !unsigned {
		i = i.With(s)
	}
	return i, nil
}
