package plan

import (
	"context"
	"fmt"
	"path"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/look"
)

// shared is the third step: how much of the pod the program gets.
type shared struct {
	v    *View
	body fyne.CanvasObject
	rows []*feature
}

// feature is a row: its levels, and what the chosen one means.
type feature struct {
	icon   *look.Icon
	effect *look.Text
	levels *look.Segmented
}

var featureIcons = map[launches.Feature]string{launches.Environment: "braces", launches.Files: "file", launches.NetworkOut: "out", launches.TrafficIn: "in"}

func newShared(v *View) *shared {
	s := &shared{v: v}
	all := look.Column(12)
	for _, f := range launches.Features {
		levels := f.Levels()
		words := make([]string, len(levels))
		chosen := 0
		for i, l := range levels {
			words[i] = l.String()
			if l == v.launch.Shared[f] {
				chosen = i
			}
		}
		row := &feature{icon: look.NewIcon(featureIcons[f], 20, look.ColorAccent), effect: look.Body("").Soft().Wrapped()}
		row.levels = look.NewSegmented(words, chosen, nil)
		set := func(i int) {
			v.launch.Shared[f] = levels[i]
			sentence, danger := f.Effect(levels[i])
			row.effect.Set(sentence)
			ink := look.ColorAccent
			switch {
			case danger:
				ink = look.ColorWarn
				row.effect.SetColor(look.ColorWarn)
			case levels[i] == launches.Off:
				ink = look.ColorSecondary
				row.effect.SetColor(look.ColorSecondary)
			default:
				row.effect.SetColor(look.ColorSecondary)
			}
			row.icon.Set(featureIcons[f], ink)
		}
		row.levels.Alarm = func(i int) bool { _, danger := f.Effect(levels[i]); return danger }
		row.levels.OnChoose = func(i int) { set(i); v.changed() }
		set(chosen)
		words2 := look.Column(2, look.Body(f.String()).Bold(), row.effect)
		all.Add(look.Card(look.Row(2*look.Step, words2, row.icon, words2, row.levels)))
		s.rows = append(s.rows, row)
	}
	s.body = page(all)
	return s
}

func (s *shared) turn() {}

// check is the last step: what the command leads to, and what is wrong with this machine.
type check struct {
	v        *View
	body     fyne.CanvasObject
	findings *fyne.Container
	chain    *fyne.Container
	serial   int
}

func newCheck(v *View) *check {
	c := &check{v: v, findings: look.Column(look.Step), chain: look.Column(0)}
	c.body = page(look.Column(3*look.Step, c.findings, c.chain))
	return c
}

func (c *check) turn() {
	c.serial++
	serial := c.serial
	c.findings.RemoveAll()
	c.chain.RemoveAll()
	c.chain.Add(look.Body("Looking at the program and at this machine…").Soft())
	var findings []cli.Finding
	var x cli.Explanation
	var ferr, xerr error
	launch := c.v.launch
	c.v.o.Async(func(ctx context.Context) {
		if len(launch.Command) > 0 {
			x, xerr = c.v.o.Tool.Explain(ctx, launch.Folder, launch.Command)
		}
		findings, ferr = c.v.o.Tool.Doctor(ctx, false)
	}, func() {
		if serial != c.serial {
			return
		}
		c.findings.RemoveAll()
		c.chain.RemoveAll()
		c.show(x, xerr, len(launch.Command) > 0)
		Findings(c.findings, findings, ferr, true, c.v.o.Copy)
		c.v.Content.Refresh()
	})
}

// show draws the chain: every file on the way to the program, and what becomes of it.
func (c *check) show(x cli.Explanation, err error, has bool) {
	c.chain.Add(look.Inset(0, 0, 12, 0, look.Lead("What runs")))
	switch {
	case !has:
		c.chain.Add(look.Body("There is no command yet.").Soft())
		return
	case err != nil:
		c.chain.Add(banner(err))
		return
	}
	if x.Error != "" {
		c.chain.Add(look.Inset(0, 0, 12, 0, look.NewBanner(true, x.Error, x.Hint)))
	}
	for at := &x; at != nil; at = at.Then {
		for i, h := range at.Hops {
			c.chain.Add(hop(h, i+1 == len(at.Hops) && at.Then == nil))
		}
	}
}

func hop(h cli.Hop, last bool) fyne.CanvasObject {
	words, ink := verdict(h)
	reason := h.Reason
	for _, n := range h.Notes {
		reason += "\n" + n
	}
	texts := look.Column(2, look.Row(10, nil, look.Body(path.Base(h.Path)).Bold().Short(400), look.NewBadge(words, ink)), look.NewText(h.Path, 12, look.ColorSecondary).Path(80))
	if reason != "" {
		texts.Add(look.Body(reason).Soft().Wrapped().Coded())
	}
	if h.Real != "" && h.Real != h.Path {
		texts.Objects[1].(*look.Text).Text = fmt.Sprintf("%s → %s", h.Path, h.Real)
	}
	return container.New(chainLink{last}, look.NewBox(look.Paint{Fill: look.ColorHairline, Stroke: look.ColorClear}, 1), look.NewDot(ink), look.Inset(0, 0, 20, 0, texts))
}

// chainLink puts a dot beside a hop, and a line from it to the next.
type chainLink struct{ last bool }

func (chainLink) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return objects[2].MinSize().AddWidthHeight(28, 0)
}

func (l chainLink) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[1].Move(fyne.NewPos(4, 5))
	objects[1].Resize(fyne.NewSize(8, 8))
	objects[0].Move(fyne.NewPos(7, 17))
	objects[0].Resize(fyne.NewSize(2, max(1, size.Height-16)))
	if l.last {
		objects[0].Resize(fyne.NewSize(2, 1))
		objects[0].Hide()
	}
	objects[2].Move(fyne.NewPos(28, 0))
	objects[2].Resize(fyne.NewSize(size.Width-28, size.Height))
}

// verdict is a hop's verdict in words, with the colour of what it means for the user.
func verdict(h cli.Hop) (string, fyne.ThemeColorName) {
	switch h.Verdict {
	case "resolve":
		return "resolved", look.ColorSecondary
	case "inject", "exec-only":
		return "native", look.ColorGood
	case "copy":
		if h.Slice != "" {
			return "copied, " + h.Slice, look.ColorGood
		}
		return "copied", look.ColorGood
	case "supervise":
		return "native, calls answered", look.ColorGood
	case "outside":
		return "outside the pod", look.ColorWarn
	case "fails":
		return "cannot run", look.ColorBad
	}
	return h.Verdict, look.ColorSecondary
}
