package loginenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxOutput is how much a shell may print, in bytes; start-up files that print without end are ended.
	maxOutput = 8 << 20
	// linger is how long output may come after the shell has ended or was killed, from what it has left.
	linger = 200 * time.Millisecond
)

// errEndless: another way to call the shell would only leave out the files that say what the user's environment is.
var errEndless = fmt.Errorf("its start-up files printed more than %d MiB", maxOutput>>20)

// ask starts the shell once. It is in a session of its own: no terminal stops it, and all that it starts without job control ends with its group.
func ask(ctx context.Context, path string, words, base []string) ([]string, error) {
	mark := "mirrord-" + rand.Text()
	c := exec.CommandContext(ctx, path)
	c.Args = append(words[:len(words)-1:len(words)-1], strings.Replace(words[len(words)-1], "%s", mark, 1))
	c.Env = append(base[:len(base):len(base)], guard+"=1")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.WaitDelay = linger
	kill := func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.Cancel = kill
	out := &output{mark: mark, enough: make(chan struct{})}
	c.Stdout = out
	if err := c.Start(); err != nil {
		return nil, err
	}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // what start-up files leave running, or do at their end, is not waited for
		select {
		case <-out.enough:
			_ = kill()
		case <-over:
		}
	})
	err := c.Wait()
	close(over)
	watch.Wait()
	_ = kill() // of the group that is left, if any
	env, ok, endless := out.env()
	switch {
	case ok:
		return env, nil
	case endless:
		return nil, errEndless
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		err = fmt.Errorf("it ended without an answer")
	}
	return nil, err
}

// output is what the shell prints.
type output struct {
	mark   string
	enough chan struct{} // closed when the answer is there, or there will be none

	mu   sync.Mutex
	text []byte
	full bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return len(p), nil
	}
	from := max(0, len(o.text)-len(o.mark)) // an answer ends with the mark, so most of what is written needs no look at all that came before
	o.text = append(o.text, p...)
	answered := false
	if bytes.Contains(o.text[from:], []byte(o.mark)) {
		_, answered = between(o.text, o.mark)
	}
	if o.full = answered || len(o.text) > maxOutput; o.full {
		close(o.enough)
	}
	return len(p), nil
}

// env is the answer, if there was one, and whether the shell was ended because it printed too much.
func (o *output) env() (env []string, ok, endless bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	env, ok = between(o.text, o.mark)
	return env, ok, o.full && !ok
}
