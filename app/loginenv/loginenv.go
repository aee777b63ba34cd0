// Package loginenv finds out the environment that the user's shell sets up. A program that is started from Finder or a desktop has a bare PATH, with which neither the
// user's tools nor the plugins of kubeconfigs are found.
package loginenv

import (
	"context"
	"io"
	"time"
)

// PrintFlag is the flag of the app's own program that makes it call Print with the flag's value, and do nothing else.
const PrintFlag = "--print-env"

// Print writes the environment between two lines that have mark, for Resolve to read.
func Print(w io.Writer, mark string) error { return nil }

// Options say how.
type Options struct {
	Self    string        // the program that has PrintFlag; empty: this one
	Shell   string        // empty: SHELL, else the user's entry in the system's list, else what is there of zsh, bash, sh
	Timeout time.Duration // 0: 10 s
	Base    []string      // what the shell is started with; nil: this process's environment
}

// Result is an environment, and how it was found.
type Result struct {
	Env     []string // never empty
	Shell   string   // that was asked; empty: none
	Took    time.Duration
	Problem string // why Env is not the shell's but a fallback's; empty: it is
}

// Resolve asks the login shell. It always has a result: when the shell fails, hangs or is unknown, it is this process's environment with the usual folders of programs
// added to PATH.
func Resolve(ctx context.Context, o Options) Result { return Result{} }

// Cached is Resolve, once for a process.
func Cached() Result { return Result{} }
