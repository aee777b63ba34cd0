package plan

import (
	"strings"

	"fyne.io/fyne/v2"

	"mirrord/app/cli"
	"mirrord/app/look"
)

// Findings fills a column with what doctor found: what is wrong first, then warnings, then what is good to know, then what is well. Of these two it tells only how many when it
// is to be brief.
func Findings(into *fyne.Container, findings []cli.Finding, err error, brief bool, copyText func(string)) {
	if err != nil {
		into.Add(banner(err))
		return
	}
	in := func(state string) (some []cli.Finding) {
		for _, f := range findings {
			if f.State == state {
				some = append(some, f)
			}
		}
		return some
	}
	for _, f := range append(in("wrong"), in("warning")...) {
		var fix []fyne.CanvasObject
		if command := Command(f.Hint); command != "" {
			fix = append(fix, look.NewButton("Copy fix", "copy", look.Plain, func() { copyText(command) }))
		}
		into.Add(look.NewBanner(f.State == "wrong", f.Message, f.Hint, fix...))
	}
	part := func(icon string, ink fyne.ThemeColorName, title string, all []cli.Finding) {
		if len(all) == 0 {
			return
		}
		into.Add(look.Inset(4, 0, 0, 0, look.Row(look.Step, nil, look.NewIcon(icon, 16, ink), look.Body(title).Bold())))
		for _, f := range all {
			about := look.Column(0, look.Body(f.Message).Soft().Wrapped().Coded())
			if f.Hint != "" {
				about.Add(look.Caption(f.Hint).Wrapped().Coded())
			}
			if !brief {
				into.Add(look.Inset(0, 0, 0, 24, about))
			}
		}
	}
	notes, well := in("note"), in("ok")
	part("alert", look.ColorSecondary, look.Many(len(notes), "thing", "things")+" to know of this machine", notes)
	part("check", look.ColorGood, look.Many(len(well), "thing is", "things are")+" well on this machine", well)
}

// Command is the command between backquotes that a hint tells to run; empty: there is none.
func Command(hint string) string {
	_, rest, found := strings.Cut(hint, "`")
	command, _, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return ""
	}
	return command
}
