package serve_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// benchLink serves a pod directory with files of these sizes in bytes, named by their size.
func benchLink(b *testing.B, files map[string]int) *links.Link {
	b.Helper()
	dir := b.TempDir()
	os.Mkdir(filepath.Join(dir, "rootfs"), 0o755)
	os.WriteFile(filepath.Join(dir, "pod.yaml"), []byte("name: x"), 0o644)
	for name, size := range files {
		os.WriteFile(filepath.Join(dir, "rootfs", name), []byte(strings.Repeat("x", size)), 0o644)
	}
	d, err := target.OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	requests, bulk, done, err := serve.Dir(b.Context(), d)
	if err != nil {
		b.Fatal(err)
	}
	link, err := links.New(b.Context(), requests, bulk, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { link.Close(); <-done; d.Close() })
	return link
}

func BenchmarkStat(b *testing.B) {
	link := benchLink(b, map[string]int{"1K": 1 << 10})
	for b.Loop() {
		if _, err := link.Do(b.Context(), &wire.Request{Op: wire.OpStat, Path: "/1K"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	files := map[string]int{"1K": 1 << 10, "100K": 100 << 10, "10M": 10 << 20}
	link := benchLink(b, files)
	for name, size := range files {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				_, body, err := link.Open(b.Context(), &wire.Request{Op: wire.OpOpen, Path: "/" + name})
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, body); n != int64(size) || err != nil {
					b.Fatal(n, err)
				}
				body.Close()
			}
		})
	}
}
