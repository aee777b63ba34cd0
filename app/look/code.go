package look

import (
	"strings"
	"unicode/utf8"

	"fyne.io/fyne/v2"
)

// Sentences of mirrord have commands, keys and files between backquotes. A Text with Code shows these in the face of code, without the backquotes. While lines are made of it each
// letter of code is one of a private plane of Unicode, so lines may be broken anywhere and a letter still says how it is drawn. Spaces stay what they are, and lie in code when
// both their neighbours do.
const (
	codePlane = 0xF0000
	codeEnd   = codePlane + 0x10000
)

// encoded is a text with its code in the private plane. A backquote without another one in its line stays, and so does a pair with nothing between them.
func encoded(s string) string {
	if !strings.Contains(s, "`") {
		return s
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "`")
		code, after, closed := strings.Cut(rest, "`")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if !closed || strings.TrimSpace(code) == "" || strings.Contains(code, "\n") {
			b.WriteByte('`')
			s = rest
			continue
		}
		for _, r := range code {
			if r > ' ' && r < codeEnd-codePlane {
				r += codePlane
			}
			b.WriteRune(r)
		}
		s = after
	}
}

// piece is a part of a line that is drawn in one face.
type piece struct {
	text string
	code bool
}

// pieces takes an encoded line apart.
func pieces(line string) (all []piece) {
	var b strings.Builder
	code, spaces := false, 0
	end := func() {
		if b.Len() > 0 {
			all = append(all, piece{b.String(), code})
			b.Reset()
		}
	}
	for _, r := range line {
		if code && r == ' ' {
			spaces++
			continue
		}
		is := r >= codePlane && r < codeEnd
		if is != code {
			end()
			code = is
		}
		b.WriteString(strings.Repeat(" ", spaces)) // before more code, or after it
		spaces = 0
		if is {
			r -= codePlane
		}
		b.WriteRune(r)
	}
	end()
	if spaces > 0 {
		all = append(all, piece{strings.Repeat(" ", spaces), false})
	}
	return all
}

// Uncoded is a sentence of mirrord for where there is one face only: without the backquotes around code.
func Uncoded(s string) string {
	var b strings.Builder
	for _, p := range pieces(encoded(s)) {
		b.WriteString(p.text)
	}
	return b.String()
}

// face is how a piece is drawn. The face of code is a little larger than the other of the same size.
func (t *Text) face(code bool) (float32, fyne.TextStyle) {
	if !code || t.Style.Monospace {
		return t.Point, t.Style
	}
	return t.Point - 1, fyne.TextStyle{Monospace: true, Bold: t.Style.Bold}
}

// pieces are the parts of one of its lines.
func (t *Text) pieces(line string) []piece {
	if t.Code {
		return pieces(line)
	}
	return []piece{{text: line}}
}

// measure is the width of a line, encoded or not.
func (t *Text) measure(s string) (width float32) {
	if !t.Code || !strings.ContainsFunc(s, func(r rune) bool { return r >= codePlane }) {
		return fyne.MeasureText(s, t.Point, t.Style).Width
	}
	for _, p := range pieces(s) {
		size, style := t.face(p.code)
		width += fyne.MeasureText(p.text, size, style).Width
	}
	return width
}

// wider says that a text has too many letters for a width, so that it need not be measured.
func wider(s string, width float32) bool {
	return len(s) > int(width/narrowest) && utf8.RuneCountInString(s) > int(width/narrowest)
}
