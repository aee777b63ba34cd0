package codesign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/machotest/judge"
)

// samples is a folder of real programs, which are not ours to give away.
func samples(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MIRRORD_SAMPLES")
	if dir == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real programs")
	}
	return dir
}

// facts are what is known of the samples from those who made or collected them.
var facts = []struct{ name, want string }{
	{"apple-cat-11.4-fat", "x86_64 com.apple.cat platform=12 cms bad=0\narm64e com.apple.cat platform=12 cms bad=0"},
	{"apple-ls-11.4-fat", "x86_64 com.apple.ls platform=12 cms bad=0\narm64e com.apple.ls platform=12 cms bad=0"},
	{"apple-ls-15.1-fat-x86_64-arm64e", "x86_64 com.apple.ls platform=16 cms bad=0\narm64e com.apple.ls platform=16 cms bad=0"},
	{"devid-hardened-arm64e-badpages", "arm64e com.supermorte.TestMacos runtime team=7JJ26R4EJS cms bad=3 allow-dyld=<nil>"},
	{"fat-arm64-arm64e-chained", "arm64 main-arm64.out adhoc,linker-signed bad=0\narm64e main-arm64e.out adhoc,linker-signed bad=0"},
	{"hardened-allow-dyld-env-arm64", "arm64 dev.iamevan.flow runtime team=LP64XSF5PS cms bad=0 allow-dyld=true"},
	{"hardened-x86_64-objc", "x86_64 TestSwiftObjc runtime team=7JJ26R4EJS cms bad=0 allow-dyld=<nil>"},
	{"malformed-cputype-apple-cal-fat", "x86_64 com.apple.cal platform=4 cms bad=0\ni386 unsigned"},
	{"npm-node-pty-spawn-helper-arm64", "arm64 spawn-helper adhoc,linker-signed bad=0"},
	{"npm-terminal-notifier-x86_64-unsigned", "x86_64 unsigned"},
	{"samply_mac_preload_fat3.dylib", "x86_64 unsigned\narm64 libsamply_mac_preload.dylib adhoc,linker-signed bad=0\narm64e libsamply_mac_preload.dylib adhoc,linker-signed bad=0"},
	{"thin-arm64e-userland24-hello", "arm64e hello-macos-arm64e-userland24 adhoc,linker-signed bad=0"},
}

func factsOf(r *Report) string {
	var lines []string
	for _, s := range r.Slices {
		words := []string{s.Arch, s.Identifier}
		if !s.Signed {
			lines = append(lines, s.Arch+" unsigned")
			continue
		}
		if s.Flags != 0 {
			words = append(words, strings.Join(s.FlagNames, ","))
		}
		if s.Team != "" {
			words = append(words, "team="+s.Team)
		}
		if s.Platform != 0 {
			words = append(words, fmt.Sprintf("platform=%d", s.Platform))
		}
		if s.CMS > 0 {
			words = append(words, "cms")
		}
		for _, d := range s.Directories {
			words = append(words, fmt.Sprintf("bad=%d", len(d.BadPages)))
		}
		if s.Entitlements != nil {
			words = append(words, fmt.Sprintf("allow-dyld=%v", s.Entitlements["com.apple.security.cs.allow-dyld-environment-variables"]))
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

func TestSamples(t *testing.T) {
	dir := samples(t)
	for _, tt := range facts {
		t.Run(tt.name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, tt.name))
			if err != nil {
				t.Fatal(err)
			}
			r := verify(t, b)
			if diff := cmp.Diff(tt.want, factsOf(r)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			wrong := strings.Contains(tt.name, "badpages") || strings.Contains(tt.name, "malformed")
			if r.Valid() == wrong {
				t.Errorf("valid: %v\n%s", r.Valid(), sketch(r))
			}
			for _, s := range r.Slices {
				if s.Signed {
					if pages, ok := judge.WrongPages(t, b[s.Offset:][:s.Size]); ok && pages != len(s.Directories[0].BadPages) {
						t.Errorf("rcodesign finds %d wrong pages, we %v", pages, s.Directories[0].BadPages)
					}
				}
			}
			out, err := sign(b)
			if strings.Contains(tt.name, "malformed") {
				if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
					t.Errorf("signing a file that no kernel takes: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkSigned(t, b, out)
		})
	}
}

// What was made to break readers of Mach-O files gets an answer or an error, and little memory.
func TestMalformed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(samples(t), "malformed", "*"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	answers, signed := 0, 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Verify(bytes.NewReader(b), int64(len(b))); err == nil {
			answers++
		}
		err = Sign(io.Discard, bytes.NewReader(b), int64(len(b)), Options{Identifier: "x"})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s: %d bytes were allocated", filepath.Base(name), used)
		}
		if err == nil {
			signed++
			out, err := sign(b)
			if err != nil {
				t.Fatal(err)
			}
			if r := verify(t, out); !r.Valid() {
				t.Errorf("the signed copy: %s", sketch(r))
			}
		}
	}
	t.Logf("%d files: %d reports, %d errors; %d were signed", len(files), answers, len(files)-answers, signed)
}
