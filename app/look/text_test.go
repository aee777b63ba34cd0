package look

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/google/go-cmp/cmp"
)

// each measures as if every letter were 10 wide.
func each(s string) float32 { return 10 * float32(utf8.RuneCountInString(s)) }

func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width float32
		head  bool
		want  string
	}{
		{"short", 50, false, "short"}, {"longer", 50, false, "long…"}, {"a b c", 40, false, "a b…"}, {"a bcd", 30, false, "a…"}, {"/srv/data", 60, true, "…/data"}, {"äöüß€", 30, false, "äö…"},
		{"x", 5, false, "…"}, {"", 5, false, ""}, {strings.Repeat("y", 10_000), 30, true, "…yy"},
	} {
		if got := shorten(tt.text, tt.width, tt.head, each); got != tt.want {
			t.Errorf("%.20q in %v: %q, not %q", tt.text, tt.width, got, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want []string
	}{
		{"one two three", 0, []string{"one two", "three"}}, {"unbreakable", 0, []string{"unbreaka", "ble"}}, {"a\nb", 0, []string{"a", "b"}}, {"", 0, []string{""}},
		{"one two three four", 2, []string{"one two", "three…"}}, {"one two three four five", 1, []string{"one two…"}}, {"aaaaaaaa bbbbbbbb", 1, []string{"aaaaaaa…"}},
	} {
		if diff := cmp.Diff(tt.want, wrap(tt.text, 80, tt.most, each)); diff != "" {
			t.Errorf("%q in %d lines: %s", tt.text, tt.most, diff)
		}
	}
}

// TestTextsFit tries texts by chance. It is no fuzz target, because those would have the whole toolkit built for it.
func TestTextsFit(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		letters := []rune("ab  c\nä…\t€")
		text := make([]rune, chance.IntN(200))
		for i := range text {
			text[i] = letters[chance.IntN(len(letters))]
		}
		fits(t, string(text), 20+chance.IntN(500), chance.IntN(4))
	}
}

func fits(t *testing.T, text string, width, most int) {
	w := float32(width)
	for _, head := range []bool{false, true} {
		if short := shorten(text, w, head, each); each(short) > w {
			t.Errorf("%q is wider than %d", short, width)
		}
	}
	lines := wrap(text, w, most, each)
	for _, l := range lines {
		if each(l) > w {
			t.Errorf("line %q of %q is wider than %d", l, text, width)
		}
	}
	if most > 0 && len(lines) > most {
		t.Errorf("%d lines of %q", len(lines), text)
	}
	if most == 0 && strings.Join(strings.Fields(strings.Join(lines, "")), "") != strings.Join(strings.Fields(text), "") {
		t.Errorf("%q became %q", text, lines)
	}
}

func TestWhatATextAsksFor(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(Theme{Variant: Light})
	long := Body(strings.Repeat("word ", 1000))
	if got := long.Short(50).MinSize().Width; got != 50 {
		t.Errorf("a long one asks for %v", got)
	}
	if got := Body("i").Short(50).MinSize().Width; got > 10 {
		t.Errorf("a short one asks for %v", got)
	}
	wrapped := Body(strings.Repeat("word ", 100)).Wrapped()
	wrapped.Resize(fyne.NewSize(200, 10))
	narrow := wrapped.MinSize().Height
	wrapped.Resize(fyne.NewSize(400, 10))
	if wide := wrapped.MinSize().Height; wide >= narrow || len(wrapped.lines) < 2 {
		t.Errorf("%v high when narrow, %v when wide", narrow, wide)
	}
}

func TestCode(t *testing.T) {
	for _, tt := range []struct {
		text  string
		shown []piece
		plain string
	}{
		{"run `make build`, then `x`", []piece{{"run ", false}, {"make build", true}, {", then ", false}, {"x", true}}, "run make build, then x"},
		{"`a` `b`", []piece{{"a b", true}}, "a b"},
		{"`a`  b", []piece{{"a", true}, {"  b", false}}, "a  b"},
		{"`a` ", []piece{{"a", true}, {" ", false}}, "a "},
		{"one ` alone", []piece{{"one ` alone", false}}, "one ` alone"}, {"`` nothing", []piece{{"`` nothing", false}}, "`` nothing"}, {"` ` a space", []piece{{"` ` a space", false}}, "` ` a space"},
		{"`not\nover` lines", []piece{{"`not\nover` lines", false}}, "`not\nover` lines"},
		{"`é€😀`", []piece{{"é€", true}, {"😀", false}}, "é€😀"},
		{"", nil, ""},
	} {
		if diff := cmp.Diff(tt.shown, pieces(encoded(tt.text)), cmp.AllowUnexported(piece{})); diff != "" {
			t.Errorf("%q: %s", tt.text, diff)
		}
		if got := Uncoded(tt.text); got != tt.plain {
			t.Errorf("%q without: %q", tt.text, got)
		}
	}
}

// A broken line keeps the faces of its letters, and code of four bytes a letter is measured as any other.
func TestCodeIsWrapped(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(Theme{Variant: Light})
	text := Body("run `mirrord sip explain --host a-host-with-a-long-name.yaml npm start` to see why").Wrapped().Coded()
	text.Resize(fyne.NewSize(150, 10))
	var all, code string
	for _, line := range text.lines {
		if w := text.measure(line); w > 150 {
			t.Errorf("%q is %v wide", line, w)
		}
		for _, p := range text.pieces(line) {
			if all += p.text; p.code {
				code += p.text
			}
		}
		all += " "
	}
	if got := strings.Join(strings.Fields(code), ""); got != "mirrordsipexplain--hosta-host-with-a-long-name.yamlnpmstart" {
		t.Errorf("the code is %q", got)
	}
	if strings.Contains(all, "`") || !strings.HasPrefix(all, "run ") {
		t.Errorf("%q", all)
	}
	whole := Body("`" + strings.Repeat("i", 70) + "`").Short(40).Coded()
	whole.Resize(fyne.NewSize(600, 20))
	if got := Uncoded(text.Text); strings.Contains(whole.lines[0], "…") || strings.Contains(got, "`") {
		t.Errorf("%q, %q", whole.lines, got)
	}
}
