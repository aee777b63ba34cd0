// Command image makes an image of one static program in an empty root, for each architecture, as an OCI layout and as a tar of it that containerd, podman and
// docker can load. The same programs give the same bytes.
//
//	go run . -o ../../bin/image -ref mirrord-agent:dev amd64=../../bin/agent/amd64 arm64=../../bin/agent/arm64
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	out := flag.String("o", "", "folder to write to: layout/, and a tar with the image's name")
	ref := flag.String("ref", "mirrord-agent:dev", "the image's name, which is the program's in it too")
	user := flag.String("user", "", "as whom the program runs, UID or UID:GID, where nobody says otherwise")
	flag.Parse()
	if err := run(*out, *ref, *user, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(out, ref, user string, programs []string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	if out == "" || len(programs) == 0 {
		return fmt.Errorf("usage: image -o FOLDER [-ref NAME] [-user UID] ARCHITECTURE=PROGRAM...")
	}
	program := path.Base(tag.RepositoryStr())
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		arch, file, _ := strings.Cut(p, "=")
		image, err := imageOf(arch, file, program, user)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	folder := filepath.Join(out, "layout")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	written, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	// docker reads the first of the names, containerd's import the second, where the kubelet looks for Docker Hub's under their older host.
	names := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag.TagStr(),
		"io.containerd.image.name":          strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1),
	})
	if err := written.AppendIndex(index, names); err != nil {
		return err
	}
	return tarOf(folder, filepath.Join(out, program+".tar"))
}

// imageOf is the image for one architecture.
func imageOf(arch, from, program, user string) (v1.Image, error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	header := &tar.Header{Name: program, Mode: 0o555, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: types.OCILayer}); err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", arch, v1.Time{Time: time.Unix(0, 0).UTC()}
	file.Config.Entrypoint, file.Config.User = []string{"/" + program}, user
	file.History = nil
	return mutate.ConfigFile(image, file)
}

// tarOf packs a folder, in the order of names and without times or owners.
func tarOf(folder, path string) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	w := tar.NewWriter(out)
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}); err != nil {
		return err
	}
	return w.Close()
}
