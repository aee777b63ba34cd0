package ui

import (
	"context"
	"fmt"
	"path"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/cli"
	"mirrord/app/look"
	"mirrord/app/ui/plan"
)

// sessions is the page of what runs on this machine, whoever started it.
type sessions struct {
	w     *Window
	body  fyne.CanvasObject
	below *fyne.Container
	panel fyne.CanvasObject
	list  *widget.List
	all   []cli.Session
	every *look.Button
}

func newSessions(w *Window) *sessions {
	s := &sessions{w: w, below: container.NewStack()}
	s.list = widget.NewList(func() int { return len(s.all) }, func() fyne.CanvasObject { return newSessionCell() }, func(i int, o fyne.CanvasObject) {
		if i < len(s.all) {
			o.(*sessionCell).show(s, s.all[i])
		}
	})
	s.list.OnSelected = func(int) { s.list.UnselectAll() }
	s.every = look.NewButton("Stop all", "stop", look.Danger, func() { s.stop() })
	again := look.NewButton("", "restart", look.Plain, s.turn)
	again.Name = "Look again"
	title := look.Title("Sessions")
	head := look.Inset(3*look.Step, 3*look.Step, 2*look.Step, 3*look.Step, look.Row(look.Step, title, title, again, s.every))
	s.panel = look.Inset(0, 3*look.Step, 3*look.Step, 3*look.Step, look.Panel(look.Tight(s.list)))
	s.body = look.Fill(0, s.below, head, s.below)
	s.every.Hide()
	return s
}

func (s *sessions) content() fyne.CanvasObject { return s.body }

func (s *sessions) turn() {
	var all []cli.Session
	var err error
	s.w.async(func(ctx context.Context) { all, err = s.w.s.Tool.Sessions(ctx) }, func() {
		if err != nil {
			s.w.say(err)
		}
		s.all = all
		s.show()
	})
}

func (s *sessions) show() {
	var content fyne.CanvasObject = s.panel
	if len(s.all) == 0 {
		content = look.Empty("activity", "Nothing runs in a pod’s context", "Sessions of this machine are listed here, those that were started in a terminal too.")
	}
	s.every.Hidden = len(s.all) == 0
	s.below.Objects = []fyne.CanvasObject{content}
	s.list.Refresh()
	s.body.Refresh()
}

// stop ends sessions; without ids all.
func (s *sessions) stop(ids ...string) {
	var err error
	s.w.async(func(ctx context.Context) { _, err = s.w.s.Tool.Stop(ctx, ids...) }, func() {
		if err != nil {
			s.w.say(err)
		}
		s.turn()
	})
}

// sessionCell is a session on the screen.
type sessionCell struct {
	widget.BaseWidget
	title, detail, since *look.Text
	dot                  *look.Dot
	badge                *look.Badge
	stop                 *look.Button
	body                 fyne.CanvasObject
}

func newSessionCell() *sessionCell {
	c := &sessionCell{title: look.Body("").Bold().Short(80), detail: look.Caption("").Short(80), since: look.Caption("").Short(90), dot: look.NewDot(look.ColorGood), badge: look.NewBadge("", look.ColorSecondary),
		stop: look.NewButton("Stop", "stop", look.Plain, nil)}
	c.since.Align = fyne.TextAlignTrailing
	texts := look.Column(2, c.title, c.detail)
	c.body = look.Sized(0, 56, look.Inset(0, 16, 0, 16, look.Row(12, texts, c.dot, texts, c.badge, look.Fixed(90, c.since), c.stop)))
	c.ExtendBaseWidget(c)
	return c
}

func (c *sessionCell) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(c.body) }

func (c *sessionCell) show(s *sessions, one cli.Session) {
	title := path.Base(one.Program)
	if one.Arguments > 0 {
		title += " with " + look.Many(one.Arguments, "argument", "arguments")
	}
	c.title.Text = title
	detail := plan.Short(one.Target) + "  from  " + one.Folder
	if len(one.Ports) > 0 {
		detail += "  port " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(one.Ports)), ", "), "[]")
	}
	c.detail.Text = detail
	c.dot.Color = look.ColorGood
	if one.State != "running" {
		c.dot.Color = look.ColorWarn
		c.detail.Text = "The program has ended, what it started has not.  " + detail
	}
	c.badge.Set("terminal", look.ColorSecondary)
	for _, r := range s.w.runs {
		if r.Model.Summary().ID == one.ID {
			c.badge.Set("this app", look.ColorAccent)
		}
	}
	c.since.Text = look.Duration(s.w.s.Now().Sub(one.Started))
	c.stop.OnTap = func() { s.stop(one.ID) }
	c.Refresh()
}

// machine is the page of what doctor finds.
type machine struct {
	w        *Window
	body     fyne.CanvasObject
	findings *fyne.Container
	again    *look.Button
	asked    bool
}

func newMachine(w *Window) *machine {
	m := &machine{w: w, findings: look.Column(look.Step)}
	m.again = look.NewButton("Look again", "restart", look.Plain, func() { m.look(true) })
	title := look.Title("This machine")
	head := look.Inset(3*look.Step, 3*look.Step, 2*look.Step, 3*look.Step, look.Row(look.Step, title, title, m.again))
	scroll := container.NewVScroll(look.Inset(0, 3*look.Step, 3*look.Step, 3*look.Step, m.findings))
	m.body = look.Fill(0, scroll, head, scroll)
	return m
}

func (m *machine) content() fyne.CanvasObject { return m.body }

func (m *machine) turn() {
	if !m.asked {
		m.look(false)
	}
}

func (m *machine) look(again bool) {
	m.asked = true
	m.again.Enabled(false)
	m.findings.Objects = []fyne.CanvasObject{look.Body("Looking whether programs can run in a pod’s context here…").Soft()}
	m.body.Refresh()
	var all []cli.Finding
	var err error
	m.w.async(func(ctx context.Context) { all, err = m.w.s.Tool.Doctor(ctx, again) }, func() {
		m.again.Enabled(true)
		m.findings.RemoveAll()
		plan.Findings(m.findings, all, err, false, m.w.copy)
		m.body.Refresh()
	})
}
