package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var programs []string
	for _, arch := range []string{"amd64", "arm64"} {
		path := filepath.Join(dir, arch)
		if err := os.WriteFile(path, []byte("program for "+arch), 0o755); err != nil {
			t.Fatal(err)
		}
		programs = append(programs, arch+"="+path)
	}
	var tars [2][]byte
	for i := range tars {
		out := filepath.Join(dir, "out", string(rune('a'+i)))
		if err := os.MkdirAll(out, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := run(out, "mirrord-agent:1", "7:8", programs); err != nil {
			t.Fatal(err)
		}
		var err error
		if tars[i], err = os.ReadFile(filepath.Join(out, "mirrord-agent.tar")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(tars[0], tars[1]) {
		t.Error("the same programs gave another image")
	}

	outer, err := layout.ImageIndexFromPath(filepath.Join(dir, "out/a/layout"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Error(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/library/mirrord-agent:1" {
		t.Fatalf("%+v, %v", manifest, err)
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, _ = index.IndexManifest()
	for i, arch := range []string{"amd64", "arm64"} {
		m := manifest.Manifests[i]
		image, err := index.Image(m.Digest)
		if err != nil || m.Platform.Architecture != arch {
			t.Fatalf("%+v, %v", m, err)
		}
		if got := programOf(t, image); got != "program for "+arch {
			t.Errorf("%s has %q", arch, got)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != arch || strings.Join(config.Config.Entrypoint, " ") != "/mirrord-agent" || config.Config.User != "7:8" {
			t.Errorf("%+v, %v", config, err)
		}
	}
}

// programOf is what the image's only file holds, if that can be executed.
func programOf(t *testing.T, image v1.Image) string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	r := tar.NewReader(content)
	h, err := r.Next()
	if err != nil || h.Name != "mirrord-agent" || h.Mode != 0o555 {
		t.Fatalf("%+v, %v", h, err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error("there is more in the image")
	}
	return string(raw)
}

func TestRunFaults(t *testing.T) {
	for _, c := range []struct {
		out, ref string
		programs []string
	}{
		{"", "x:1", []string{"amd64=/bin/true"}},
		{t.TempDir(), "UPPER:1", []string{"amd64=/bin/true"}},
		{t.TempDir(), "x:1", nil},
		{t.TempDir(), "x:1", []string{"amd64=/nowhere"}},
	} {
		if run(c.out, c.ref, "", c.programs) == nil {
			t.Errorf("%+v is fine", c)
		}
	}
}
