package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	podName    = "bench.pod"
	podAddr    = "10.96.0.7" // of podName; routes lead from its ports to the peers
	serverPort = "9001"      // the server closes first
	clientPort = "9002"      // the client closes first
	httpPort   = "80"
	bulkPort   = "9003"
	distance   = 20 * time.Millisecond // the far pod's round trip
	modules    = 1500                  // that node requires
	bigFile    = "/data/big"           // fetched while something else is measured
)

// fileSizes are the sizes of the pod's files, in bytes; a file is named by its size.
var fileSizes = []int{1 << 10, 100 << 10, 10 << 20}

// stage is a temporary directory with all that the benchmarks need, and the inner programs.
type stage struct {
	dir     string
	inner   string // path of the inner program
	mirrord string
	peers   *peers

	plain, empty *inner // without a layer: plainly, and below an empty preload library
	near, far    *inner // in a session whose pod is at no distance, and at distance
}

func newStage(ctx context.Context, mirrord string, p *peers) (s *stage, err error) {
	dir, err := os.MkdirTemp("", "mirrord-bench-")
	if err != nil {
		return nil, err
	}
	s = &stage{dir: dir, inner: filepath.Join(dir, "inner"), mirrord: mirrord, peers: p}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.compile(ctx); err != nil {
		return nil, err
	}
	if err := s.writeFiles(); err != nil {
		return nil, err
	}
	if s.plain, err = startInner(ctx, s, "plain", nil); err != nil {
		return nil, err
	}
	if s.empty, err = startInner(ctx, s, "empty preload", []string{"LD_PRELOAD=" + filepath.Join(dir, "empty.so")}); err != nil {
		return nil, err
	}
	if s.near, err = startInner(ctx, s, "mirrord", nil, s.session("near", "--progress", "off")...); err != nil {
		return nil, err
	}
	s.far, err = startInner(ctx, s, "mirrord", nil, s.session("far", "--progress", "off")...)
	return s, err
}

// session is the beginning of a command line that runs something in the context of a pod.
func (s *stage) session(pod string, flags ...string) []string {
	argv := append([]string{s.mirrord, "exec", "-t", "dir:" + filepath.Join(s.dir, pod)}, flags...)
	return append(argv, "--")
}

// show is a command line as the results print it.
func (s *stage) show(line string) string {
	return strings.NewReplacer(s.mirrord, "mirrord", s.dir, "$D").Replace(line)
}

// compile makes the inner program and a preload library with nothing in it.
func (s *stage) compile(ctx context.Context) error {
	source := filepath.Join(s.dir, "empty.c")
	if err := os.WriteFile(source, nil, 0o600); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"cc", "-std=gnu17", "-O2", "-pthread", "-o", s.inner, "tests/bench/inner/inner.c", "tests/bench/inner/load.c"},
		{"cc", "-shared", "-fPIC", "-o", filepath.Join(s.dir, "empty.so"), source},
	} {
		if out, err := command(ctx, ".", argv...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
}

// writeFiles writes the pod directories and node's modules.
func (s *stage) writeFiles() error {
	files := map[string][]byte{}
	var main bytes.Buffer
	for i := range modules {
		fmt.Fprintf(&main, "n += require('./m%d').value\n", i)
		files[fmt.Sprintf("modules/m%d.js", i)] = fmt.Appendf(nil, "exports.value = %d\n", i)
	}
	files["modules/main.js"] = append([]byte("let n = 0\n"), main.Bytes()...)
	for pod, latency := range map[string]time.Duration{"near": 0, "far": distance} {
		files[pod+"/pod.yaml"] = fmt.Appendf(nil, `name: bench
latency: %s
hosts: {%s: %s}
routes:
  "%s": "%s"
  "%s": "%s"
  "%s": "%s"
  "%s": "%s"
`, latency, podName, podAddr,
			net.JoinHostPort(podAddr, serverPort), s.peers.server.Addr(),
			net.JoinHostPort(podAddr, clientPort), s.peers.client.Addr(),
			net.JoinHostPort(podAddr, httpPort), s.peers.http.Addr(),
			net.JoinHostPort(podAddr, bulkPort), s.peers.bulk.Addr())
	}
	for _, size := range fileSizes {
		files[fmt.Sprintf("near/rootfs/data/%d", size)] = bytes.Repeat([]byte("0123456789abcdef"), size/16)
	}
	files["near/rootfs"+bigFile] = make([]byte, 64<<20)
	for name, content := range files {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return os.Symlink("../near/rootfs", filepath.Join(s.dir, "far", "rootfs"))
}

// Close ends the inner programs and removes the directory.
func (s *stage) Close() {
	for _, i := range []*inner{s.plain, s.empty, s.near, s.far} {
		if i != nil {
			i.Close()
		}
	}
	os.RemoveAll(s.dir)
}
