//go:build desktop

// Command mirrord-app is the desktop window. It needs cgo, OpenGL and, on Linux, the headers of X11 and Wayland, so it is built with -tags desktop only (`make app`).
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"
	"fyne.io/fyne/v2/driver/desktop"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/loginenv"
	"mirrord/app/look"
	"mirrord/app/proposals"
	"mirrord/app/runner"
	"mirrord/app/shell"
	"mirrord/app/terminal"
	"mirrord/app/ui"
)

// version is the release's; the build sets it.
var version string

func main() {
	if len(os.Args) == 3 && os.Args[1] == loginenv.PrintFlag {
		if err := loginenv.Print(os.Stdout, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	app.SetMetadata(fyne.AppMetadata{ID: "io.mirrord.app", Name: "mirrord", Version: version, Migrations: map[string]bool{"fyneDo": true}})
	a := app.NewWithID("io.mirrord.app")
	a.Settings().SetTheme(look.Theme{})
	a.SetIcon(look.Logo())
	w := ui.New(a, services(a))
	w.OnClose(a.Quit)
	if d, ok := a.(desktop.App); ok && hasTray() {
		d.SetSystemTrayIcon(look.Logo())
		w.Tray(d.SetSystemTrayMenu)
	}
	if len(os.Args) == 2 { // a folder that was dropped onto the app's icon, or named in a terminal
		w.Open(os.Args[1])
	}
	w.ShowAndRun()
}

// services joins the window to the command, the saved launches and the login shell.
func services(a fyne.App) ui.Services {
	s := ui.Services{Version: version, Read: proposals.Read}
	store, err := launches.Open("")
	if err != nil {
		s.Trouble = err
	}
	s.Store = store
	c := &command{tool: &cli.Tool{}, ready: make(chan struct{})}
	go func() { // the window does not wait for the shell, what is asked of the command does
		defer close(c.ready)
		c.find()
	}()
	s.Tool, s.Check = c, c.check
	launch := func(l launches.Launch) runner.Launch {
		one := runner.Launch{Command: l.Command, Folder: l.Folder, Plain: l.Plain, Values: true}
		if l.ID != "" {
			one.Config = store.File(l.ID)
		} else if !l.Plain {
			if file, err := store.Draft(l); err == nil {
				one.Config = file
			} else {
				one.Target = l.Target.Path
			}
		}
		return one
	}
	s.Start = func(l launches.Launch) (*ui.Run, error) {
		started, err := runner.Start(c.get(), launch(l), runner.Options{})
		if err != nil {
			return nil, err
		}
		return &ui.Run{Launch: l, Model: started.Model, Output: started.Console, Changed: started.Changed(), Stop: started.Stop, Input: started.Input, Resize: started.Resize}, nil
	}
	s.Terminal = func(l launches.Launch) error {
		one := launch(l)
		script, err := one.Script(c.get(), os.TempDir())
		if err != nil {
			return err
		}
		words, err := terminal.Command(script)
		if err != nil {
			return err
		}
		return exec.Command(words[0], words[1:]...).Start()
	}
	return s
}

// command is the mirrord command, which is ready when the login shell has told its environment.
type command struct {
	tool    *cli.Tool
	problem error // of the command, else of the shell; nil: none
	ready   chan struct{}
}

// find looks for the command as the login shell would, and keeps what is wrong.
func (c *command) find() {
	shells := loginenv.Cached()
	if c.tool.Env = shells.Env; shells.Problem != "" {
		c.problem = &cli.Error{Message: shells.Problem, Hint: shells.Hint}
	}
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	var found *cli.Tool
	if err == nil {
		found, err = cli.Find(cli.Where{Executable: self, Getenv: func(name string) string { return shell.Lookup(shells.Env, name) }})
	}
	if err != nil {
		c.problem = err
		return
	}
	c.tool.Path = found.Path
}

func (c *command) get() *cli.Tool { <-c.ready; return c.tool }

// check finds what is wrong before anything is run: the command is missing or of another version, or the login shell did not tell its environment.
func (c *command) check(ctx context.Context) error {
	if c.get().Path == "" {
		return c.problem
	}
	v, err := c.tool.Version(ctx)
	if err != nil {
		return err
	}
	if wrong := v.Mismatch(version); wrong != nil {
		return wrong
	}
	return c.problem
}

func (c *command) Contexts(ctx context.Context) ([]cli.Context, error) { return c.get().Contexts(ctx) }
func (c *command) Namespaces(ctx context.Context, kube string) (cli.Namespaces, error) {
	return c.get().Namespaces(ctx, kube)
}
func (c *command) Targets(ctx context.Context, kube, namespace string) (cli.Targets, error) {
	return c.get().Targets(ctx, kube, namespace)
}
func (c *command) Doctor(ctx context.Context, again bool) ([]cli.Finding, error) {
	return c.get().Doctor(ctx, again)
}
func (c *command) Explain(ctx context.Context, folder string, words []string) (cli.Explanation, error) {
	return c.get().Explain(ctx, folder, words)
}
func (c *command) Sessions(ctx context.Context) ([]cli.Session, error) { return c.get().Sessions(ctx) }
func (c *command) Stop(ctx context.Context, ids ...string) ([]string, error) {
	return c.get().Stop(ctx, ids...)
}
