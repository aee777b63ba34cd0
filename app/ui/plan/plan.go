// Package plan is where a launch is made: what runs, in the context of what, what it shares with the pod, and whether that will work on this machine. Four steps of one page; one can
// go to any of them at any time.
package plan

import (
	"context"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/proposals"
	"mirrord/app/shell"
)

// Tool is what is asked of the mirrord command; *cli.Tool is one.
type Tool interface {
	Contexts(ctx context.Context) ([]cli.Context, error)
	Namespaces(ctx context.Context, kubeContext string) (cli.Namespaces, error)
	Targets(ctx context.Context, kubeContext, namespace string) (cli.Targets, error)
	Doctor(ctx context.Context, again bool) ([]cli.Finding, error)
	Explain(ctx context.Context, folder string, command []string) (cli.Explanation, error)
}

// Options are a launch and what may be done with it.
type Options struct {
	Launch launches.Launch
	Tool   Tool
	Recent []launches.Target
	Read   func(folder string) (proposals.Folder, error)
	// Async runs work, which may wait, elsewhere, and then done on the goroutine of the window.
	Async  func(work func(ctx context.Context), done func())
	Choose func(chosen func(folder string)) // asks for a folder
	Copy   func(text string)
	AsText func(l launches.Launch) string // the launch as one types it in a shell
	Save   func(l launches.Launch)
	Run    func(l launches.Launch) // saves it first
	Close  func()
}

// The steps.
const (
	Program = iota
	Target
	Shared
	Check
)

var steps = []string{"Program", "Target", "Shared", "Check"}

// View is a launch on the screen. It belongs to the goroutine of the window.
type View struct {
	Content fyne.CanvasObject

	o      Options
	launch launches.Launch
	title  *look.Text
	about  *look.Text
	steps  *look.Segmented
	bodies [4]fyne.CanvasObject
	turned [4]func()
	next   *look.Button
	fault  *fyne.Container
	target *targets
}

// New makes a view of a launch.
func New(o Options) *View {
	v := &View{o: o, launch: o.Launch, title: look.Title(""), about: look.NewText("", 12, look.ColorSecondary).Short(80), fault: look.Column(look.Step)}
	v.about.Style.Monospace = true
	v.steps = look.NewSegmented(steps, Program, func(int) { v.turn() })
	program, target, shared, check := newProgram(v), newTargets(v), newShared(v), newCheck(v)
	v.target = target
	v.bodies = [4]fyne.CanvasObject{program.body, target.body, shared.body, check.body}
	v.turned = [4]func(){program.turn, target.turn, shared.turn, check.turn}
	back := look.NewButton("", "left", look.Quiet, o.Close)
	back.Name = "Back to all launches"
	copyButton := look.NewButton("Copy as command", "copy", look.Plain, func() { o.Copy(o.AsText(v.launch)) })
	save := look.NewButton("Save", "", look.Plain, func() {
		if v.complete() {
			o.Save(v.launch)
		}
	})
	v.next = look.NewButton("Next", "right", look.Plain, v.forward)
	run := look.NewButton("Run", "play", look.Primary, v.Run)
	gap := look.Space(1, 1)
	titles := look.Column(4, v.title, v.about)
	bar := look.Row(look.Step, gap, v.steps, gap, v.next)
	stack := container.NewStack(v.bodies[0], v.bodies[1], v.bodies[2], v.bodies[3])
	head := look.Row(look.Step, titles, back, titles, copyButton, save, run)
	top := look.Inset(3*look.Step, 3*look.Step, 2*look.Step, 3*look.Step, look.Column(2*look.Step, head, v.fault, bar))
	v.Content = look.Fill(0, stack, top, stack)
	v.fault.Hide()
	v.turn()
	return v
}

// Show turns to a step.
func (v *View) Show(step int) { v.steps.Choose(step) }

// Next turns to the next step.
func (v *View) Next() { v.Show((v.steps.Chosen + 1) % len(steps)) }

// Find turns to the target and gives the keyboard to its search.
func (v *View) Find(c fyne.Canvas) {
	v.Show(Target)
	c.Focus(v.target.find)
}

// Launch is what the view has made of it so far.
func (v *View) Launch() launches.Launch { return v.launch }

// Run saves and runs the launch, or says what is missing.
func (v *View) Run() {
	if v.complete() {
		v.o.Run(v.launch)
	}
}

func (v *View) forward() {
	if v.steps.Chosen == Check {
		v.Run()
		return
	}
	v.Show(v.steps.Chosen + 1)
	if c := fyne.CurrentApp().Driver().CanvasForObject(v.Content); c != nil && v.steps.Chosen == Target {
		c.Focus(v.target.find)
	}
}

// complete says what is missing, where it is missing.
func (v *View) complete() bool {
	v.fault.RemoveAll()
	switch {
	case v.launch.Folder == "":
		v.Show(Program)
		v.say("The folder in which the program starts is missing", "choose the folder of your project")
	case len(v.launch.Command) == 0:
		v.Show(Program)
		v.say("The command is missing", "choose one that the folder proposes, or type it")
	case v.launch.Target.Path == "" && !v.launch.Plain:
		v.Show(Target)
		v.say("The target is missing", "choose a pod, or a pod directory, or nothing at all: Without a pod")
	default:
		v.fault.Hide()
		return true
	}
	return false
}

func (v *View) say(message, hint string) {
	v.fault.RemoveAll()
	v.fault.Add(look.NewBanner(true, message, hint).Brief())
	v.fault.Show()
	v.Content.Refresh()
}

func (v *View) turn() {
	look.LetGo(v.Content)
	for i, b := range v.bodies {
		if i == v.steps.Chosen {
			b.Show()
		} else {
			b.Hide()
		}
	}
	v.next.Hidden = v.steps.Chosen == Check
	v.turned[v.steps.Chosen]()
	v.changed()
}

// changed shows the launch where it is named.
func (v *View) changed() {
	name := v.launch.Name
	if name == "" {
		name = "New launch"
	}
	v.title.Set(name)
	about := strings.Join(v.launch.Command, " ")
	if v.launch.Plain {
		about += "  plain, without a pod"
	} else if v.launch.Target.Path != "" {
		about += "  in  " + v.launch.Target.Path
	}
	if about == "" {
		about = "a program, and the pod in whose context it runs"
	}
	v.about.Set(about)
	v.Content.Refresh()
}

// page is the body of a step: it reaches to the window's edges, where the scroll bar is.
func page(content fyne.CanvasObject) fyne.CanvasObject {
	return container.NewVScroll(look.Inset(0, 3*look.Step, 3*look.Step, 3*look.Step, content))
}

// program is the first step: a folder, and what to run there.
type program struct {
	v        *View
	body     fyne.CanvasObject
	folder   *look.Text
	name     *look.Input
	command  *look.Input
	mode     *look.Segmented
	list     *fyne.Container
	problems *fyne.Container
	read     string
}

func newProgram(v *View) *program {
	p := &program{v: v, folder: look.Mono("").Path(80), name: look.NewInput("What you call it"), command: look.NewInput("npm start"), list: look.Column(2), problems: look.Column(look.Step)}
	p.name.SetText(v.launch.Name)
	p.name.OnChanged = func(s string) { v.launch.Name = s; v.changed() }
	p.command.SetText(shell.Command(v.launch.Command))
	p.command.TextStyle.Monospace = true
	p.command.OnChanged = func(s string) { v.launch.Command = shell.Split(s); v.changed() }
	p.command.OnSubmitted = func(string) { v.forward() }
	p.name.OnSubmitted = p.command.OnSubmitted
	chosen := 0
	if v.launch.Plain {
		chosen = 1
	}
	p.mode = look.NewSegmented([]string{"In the pod", "Plain"}, chosen, func(i int) { v.launch.Plain = i == 1; v.changed() })
	choose := look.NewButton("Choose…", "folder", look.Plain, func() {
		v.o.Choose(func(folder string) { p.set(folder) })
	})
	label := func(text string) fyne.CanvasObject { return look.Fixed(88, look.Body(text).Soft().Short(60)) }
	gap, command, name := look.Space(1, 1), look.Field(p.command), look.Field(p.name)
	fields := look.Card(look.Column(12,
		look.Row(12, p.folder, label("Folder"), p.folder, choose),
		look.Row(12, command, label("Command"), command),
		look.Row(12, name, label("Name"), name),
		look.Row(12, gap, label("Runs"), p.mode, gap)))
	p.problems.Hide()
	p.body = page(look.Column(2*look.Step, fields, p.problems, p.list))
	return p
}

func (p *program) set(folder string) {
	p.v.launch.Folder = folder
	p.turn()
	p.v.changed()
}

// turn reads the folder if it is another than the last time.
func (p *program) turn() {
	folder := p.v.launch.Folder
	if p.folder.Set(folder); folder == "" {
		p.folder.Set("none yet")
	}
	if p.read == folder {
		return
	}
	p.read = folder
	var found proposals.Folder
	var err error
	p.v.o.Async(func(context.Context) { found, err = p.v.o.Read(folder) }, func() {
		if p.read == folder {
			p.show(found, err)
		}
	})
}

func (p *program) show(found proposals.Folder, err error) {
	p.problems.RemoveAll()
	p.list.RemoveAll()
	switch {
	case err != nil:
		p.problems.Add(banner(err))
	case found.Pod:
		p.problems.Add(look.NewBanner(false, "This folder is a pod directory: a target, not a program", "choose it under Target, and the folder of your project here"))
	case len(found.Proposals) == 0:
		p.problems.Add(look.NewBanner(false, "Nothing to run was found in this folder", "type the command; it starts there"))
	}
	for _, problem := range found.Problems {
		p.problems.Add(look.NewBanner(false, problem.File+" cannot be read", problem.Error).Brief())
	}
	if p.v.launch.Name == "" && found.Name != "" {
		p.name.SetText(found.Name)
	}
	if len(found.Proposals) > 0 {
		p.list.Add(look.Inset(0, 0, 4, 0, look.Caption("The folder proposes").Short(80)))
	}
	for _, one := range found.Proposals {
		name, detail, source := look.Mono(one.Name).Short(120), look.Caption(one.Detail).Short(80), look.NewBadge(one.Source, look.ColorSecondary)
		icon := look.NewIcon("terminal", 16, look.ColorSecondary)
		row := look.Sized(0, 36, look.Inset(0, 12, 0, 12, look.Row(12, detail, icon, look.Fixed(180, name), detail, source)))
		p.list.Add(look.NewTile(one.Name, row, func() {
			p.command.SetText(shell.Command(one.Command))
			p.v.launch.Command = one.Command
			p.v.changed()
		}))
	}
	p.problems.Hidden = len(p.problems.Objects) == 0
	p.v.Content.Refresh()
}

// banner is an error with what to do about it.
func banner(err error, actions ...fyne.CanvasObject) fyne.CanvasObject {
	message, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	return look.NewBanner(true, message, hint, actions...).Brief()
}
