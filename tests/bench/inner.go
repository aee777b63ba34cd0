package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// inner is a running inner program, which works when it is asked to.
type inner struct {
	name   string // as the tables call it
	shown  string // the command that started it
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer // read only after the program has ended
}

// startInner starts an inner program with more variables, below a launcher when before is its command line.
func startInner(ctx context.Context, s *stage, name string, env []string, before ...string) (*inner, error) {
	argv := append(before, s.inner)
	i := &inner{name: name, shown: s.show(strings.Join(append(env, argv...), " ")), cmd: command(ctx, s.dir, argv...)}
	i.cmd.Env = append(i.cmd.Env, env...)
	i.cmd.Stderr = &i.stderr
	stdin, err := i.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := i.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	i.stdin, i.stdout = stdin, bufio.NewReader(stdout)
	return i, nil
}

// ask has the inner program do one piece of work; its errors are in the sample. An error means that the program is gone.
func (i *inner) ask(words ...string) (sample, error) {
	var one sample
	var ns int64
	_, err := fmt.Fprintln(i.stdin, strings.Join(words, "\t"))
	var line string
	if err == nil {
		line, err = i.stdout.ReadString('\n')
	}
	if err == nil {
		_, err = fmt.Sscan(line, &ns, &one.count, &one.errors, &one.least, &one.p50, &one.p99, &one.most)
	}
	if err != nil {
		i.stdin.Close()
		ended := i.cmd.Wait()
		return one, fmt.Errorf("the inner program (%s) at %q: %w, %v\n%s", i.shown, words, err, ended, &i.stderr)
	}
	one.took = time.Duration(ns)
	if f := strings.SplitN(strings.TrimSpace(line), " ", 8); len(f) == 8 {
		one.first = f[7]
	}
	return one, nil
}

// way is a way of measuring: ask with these words.
func (i *inner) way(words ...string) way {
	return way{do: func() (sample, error) { return i.ask(words...) }}
}

// Close ends the program and waits for it.
func (i *inner) Close() error {
	i.stdin.Close()
	return i.cmd.Wait()
}
