// Package cli calls the mirrord command that belongs to the app, and returns what it says: lists of a cluster, sessions, findings, explanations. The app knows nothing of
// these by itself. Every error is an *Error, in words for people.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Tool is the mirrord command. The zero value is none; Find makes one. Its methods may be called concurrently.
type Tool struct {
	Path string   // absolute
	Env  []string // what it is started with, usually the login shell's; nil: this process's
	Dir  string   // where it is started; empty: this process's folder
}

// Error is what went wrong and what to do about it, each a sentence; Hint may be empty.
type Error struct {
	Message string `json:"error"`
	Hint    string `json:"hint"`
	Said    string `json:"-"` // what others have to say of it, such as the login plugin of a kubeconfig: its last lines, or empty
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\nhint: " + e.Hint
}

// maxAnswer bounds what an answer may have, in bytes; a cluster of 10,000 targets takes 2 MiB.
const maxAnswer = 32 << 20

// patience is how long the command may take by itself after it was told to end.
const patience = 2 * time.Second

// ask runs the command with words and decodes what it prints. Statuses other than 0 are all right when there is an object that is no error.
func (t *Tool) ask(ctx context.Context, answer any, words ...string) error {
	what := "mirrord " + strings.Join(words[:min(2, len(words))], " ")
	c := exec.CommandContext(ctx, t.Path, words...)
	c.Env, c.Dir, c.WaitDelay = t.Env, t.Dir, patience
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, said := bounded{left: maxAnswer, stops: true}, bounded{left: 64 << 10}
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return &Error{Message: what + " took too long, and was ended", Hint: "is the cluster reachable? try the command in a terminal"}
	case ctx.Err() != nil:
		return ctx.Err()
	case out.cut:
		return &Error{Message: fmt.Sprintf("%s printed more than %d MiB", what, maxAnswer>>20)}
	case err != nil && !errors.As(err, &status):
		return &Error{Message: fmt.Sprintf("cannot start %s: %v", t.Path, err), Hint: "the app needs the mirrord command beside it"}
	}
	var failed Error
	if json.Unmarshal(out.text.Bytes(), &failed) == nil && failed.Message != "" && status != nil && status.ExitCode() == ownFailure {
		failed.Said = others(said.text.String())
		return &failed
	}
	if json.Unmarshal(out.text.Bytes(), answer) == nil {
		return nil
	}
	if e := Spoken(said.text.String()); e != nil {
		return e
	}
	if status != nil {
		return &Error{Message: fmt.Sprintf("%s ended with %s and said nothing", what, status), Hint: "run it in a terminal"}
	}
	return &Error{Message: what + " printed what is no JSON", Hint: "is " + t.Path + " the mirrord command of this version?"}
}

// ownFailure is the status of failures of mirrord itself.
const ownFailure = 125

// Spoken finds the command's own error in what it printed for people; nil when there is none.
func Spoken(text string) *Error {
	var e *Error
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if message, ok := strings.CutPrefix(line, "error: "); ok && e == nil {
			e = &Error{Message: message}
		} else if hint, ok := strings.CutPrefix(line, "hint: "); ok && e != nil && e.Hint == "" {
			e.Hint = hint
		}
	}
	return e
}

// others is what stands in the command's standard error beside its own error and hint, the last lines of it.
func others(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "hint: ") && !strings.HasPrefix(line, "warning: ") {
			lines = append(lines, line)
		}
		if strings.HasPrefix(line, "error: ") { // what follows is its own
			lines = lines[:len(lines)-1]
			break
		}
	}
	return strings.Join(lines[max(0, len(lines)-maxSaid):], "\n")
}

// maxSaid is how many lines of others are kept.
const maxSaid = 5

// bounded keeps the first bytes of what is written.
type bounded struct {
	text  bytes.Buffer // not embedded: its ReadFrom knows no bound
	left  int
	cut   bool
	stops bool // who writes more gets an error, and whoever it comes from a closed pipe
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.cut = b.cut || n < len(p)
	_, _ = b.text.Write(p[:n])
	if b.cut && b.stops {
		return n, io.ErrShortWrite
	}
	return len(p), nil
}
