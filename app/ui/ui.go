// Package ui is the window: its pages, how one gets from one to another, and what is told while it is not looked at. It holds no knowledge of pods or programs: those are the
// mirrord command's, which package cli calls and package session reads.
package ui

import (
	"context"
	"time"

	"fyne.io/fyne/v2"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/proposals"
	"mirrord/app/ui/live"
	"mirrord/app/ui/plan"
)

// Tool is what is asked of the mirrord command; *cli.Tool is one.
type Tool interface {
	plan.Tool
	Sessions(ctx context.Context) ([]cli.Session, error)
	Stop(ctx context.Context, ids ...string) (stopped []string, err error)
}

// Store keeps launches; *launches.Store is one.
type Store interface {
	List() ([]launches.Launch, error)
	Save(l launches.Launch) (launches.Launch, error)
	Remove(id string) error
	Restore() (launches.Launch, error)
	Recent() []launches.Target
	Used(t launches.Target) error
	Ran(id string, r launches.Result) error
	AsCommand(l launches.Launch) string
}

// Run is a launch that was started.
type Run struct {
	Launch  launches.Launch
	Model   live.Model
	Output  live.Output
	Changed <-chan struct{} // closed at its end
	Stop    func()
	Input   func(text string) error // to the program
	Resize  func(columns, rows int) // its terminal
}

// Services are what the window needs of the rest of the world.
type Services struct {
	Tool     Tool
	Store    Store
	Start    func(l launches.Launch) (*Run, error)
	Terminal func(l launches.Launch) error // runs it in a terminal
	Read     func(folder string) (proposals.Folder, error)
	Version  string
	Trouble  error // what is wrong with the app itself, such as a folder that cannot be written; nil: nothing
	// Check looks for what would be in every run's way, such as a missing command, once at the start; it may wait. nil: nothing is looked for.
	Check func(ctx context.Context) error

	Now    func() time.Time
	Go     func(func()) // starts work that may wait; nil: a goroutine
	Notify func(title, text string)
	// Choose asks for a folder; nil: the toolkit's dialog.
	Choose func(parent fyne.Window, chosen func(folder string))
}

// patience is how long the window waits for an answer of the command.
const patience = 30 * time.Second
