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
