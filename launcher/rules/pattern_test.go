package rules

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPatternErrors(t *testing.T) {
	for _, test := range []struct {
		pattern string
		column  int
		reason  string
	}{
		{`^/app/(?=x)`, 7, "look-ahead is not supported (patterns are RE2)"},
		{`^/app/(?!x)`, 7, "look-ahead is not supported (patterns are RE2)"},
		{`é(?<=x)`, 2, "look-behind is not supported (patterns are RE2)"},
		{`(?<!x)`, 1, "look-behind is not supported (patterns are RE2)"},
		{`(a)\1`, 4, "a back-reference is not supported (patterns are RE2)"},
		{`(?P<n>a)\k<n>`, 9, "a back-reference is not supported (patterns are RE2)"},
		{`[(?=](?=x)`, 6, "look-ahead is not supported (patterns are RE2)"},
		{`[]](?=x)`, 4, "look-ahead is not supported (patterns are RE2)"},
		{`[^]](?=x)`, 5, "look-ahead is not supported (patterns are RE2)"},
		{`[[:alpha:]](?=x)`, 12, "look-ahead is not supported (patterns are RE2)"},
		{`\Q(?=\E(?=x)`, 8, "look-ahead is not supported (patterns are RE2)"},
		{`a[b`, 2, "missing closing ] (\"[b\")"},
		{`a**`, 2, "invalid nested repetition operator (\"**\")"},
		{`x\`, 1, "trailing backslash at end of expression"},
		{"a\xff", 2, "invalid UTF-8 (\"\\xff\")"},
		{strings.Repeat("x", 5000), maxPattern, "it has 5000 bytes (at most 4096)"},
	} {
		err := CheckPattern(test.pattern)
		var bad *PatternError
		if !errors.As(err, &bad) {
			t.Errorf("%s: got the error %v", test.pattern, err)
		} else if bad.Column != test.column || bad.Reason != test.reason {
			t.Errorf("%s: column %d: %s; want column %d: %s", test.pattern, bad.Column, bad.Reason, test.column, test.reason)
		}
	}
	for _, pattern := range []string{``, `\(?=x`, `[(?=]`, `\Q(?=`, `[\]](?:x)`, `(?P<name>x)`, `(?<name>x)`} {
		if err := CheckPattern(pattern); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// Patterns that no automaton can hold end with an error, not with the memory.
func TestTooComplex(t *testing.T) {
	for name, patterns := range map[string][]string{
		"exponential":     {`a.{20}b.{20}$`},
		"unicode classes": {`^(\pL{300}){3}$`},
		"many":            {`a.*b.*c.*d.*1$`, `e.*f.*g.*h.*2$`, `i.*j.*k.*l.*3$`, `m.*n.*o.*p.*4$`, `q.*r.*s.*t.*5$`, `u.*v.*w.*x.*6$`, `y.*z.*_.*-.*7$`},
	} {
		if _, err := compilePatterns(patterns, 1); !errors.Is(err, errComplex) {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}

// A list that is too complex for one automaton is spread over the free ones.
func TestListOfSeveralAutomata(t *testing.T) {
	in := Input{Mode: "read", ReadOnly: []string{"never"}}
	for i := range 10 {
		in.Local = append(in.Local, fmt.Sprintf("/app%d/.*x%d$", i, i))
	}
	if _, err := compilePatterns(in.Local, 1); !errors.Is(err, errComplex) {
		t.Fatalf("the list is not too complex: %v", err)
	}
	f := compile(t, in)
	for path, want := range map[string]Action{"/app0/a/x0": Local, "/app9/a/x9": Local, "/app7/x7": Local, "/app7/x8": Remote} {
		if got := f.Classify(path, false); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// Literals that end inside each other, where the automaton must fall back from one to the next.
func TestLiteralsAnywhere(t *testing.T) {
	var lits trie
	ends, anywhere := []string{"abcd", "cd", "x", "bcde"}, []string{"bb", "ccbbx", "cdq"}
	for _, s := range ends {
		lits.exactly(s, 1)
	}
	for _, s := range anywhere {
		lits.beginning(s, 1)
	}
	table := lits.compileAnywhere().append(nil)
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		s := ""
		for range r.IntN(9) {
			s += string("abcdeqxB"[r.IntN(8)])
		}
		want := false
		low := strings.ToLower(s)
		for _, e := range ends {
			want = want || strings.HasSuffix(low, e)
		}
		for _, a := range anywhere {
			want = want || strings.Contains(low, a)
		}
		if got := walk(table, s) != 0; got != want {
			t.Fatalf("%q: %v", s, got)
		}
	}
}

// Every range must be cut into sequences that take all of its runes and no other.
func TestUTF8Ranges(t *testing.T) {
	edges := []rune{0, 'a', 0x7e, 0x7f, 0x80, 0xbf, 0xc0, 0x7fe, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xfffd, 0xffff, 0x10000,
		0x1f600, 0x3ffff, 0x40000, 0xfffff, 0x10ffff}
	for _, lo := range edges {
		for _, hi := range edges {
			var los, his []string
			utf8Ranges(lo, hi, func(l, h []byte) { los, his = append(los, string(l)), append(his, string(h)) })
			for _, r := range edges {
				for _, r := range []rune{r - 1, r, r + 1} {
					if !utf8.ValidRune(r) {
						continue
					}
					in := 0
					for i := range los {
						if within(string(r), los[i], his[i]) {
							in++
						}
					}
					if want := lo <= r && r <= hi; (in == 1) != want || in > 1 {
						t.Fatalf("%U is in %d pieces of %U-%U", r, in, lo, hi)
					}
				}
			}
		}
	}
}

func within(s, lo, hi string) bool {
	if len(s) != len(lo) {
		return false
	}
	for i := range len(s) {
		if s[i] < lo[i] || s[i] > hi[i] {
			return false
		}
	}
	return true
}

var patterns = []string{
	``, `a`, `^/app`, `\.json$`, `^/app/.*\.json$`, `/(a|b)+/`, `[^/]+/x$`, `^/[a-c]{2,3}$`, `é`, `[à-ü]+`, `.$`, `^..$`, `^/.?é.$`, `\bapp\b`, `\Bp`, `\b`, `\B`, `app\b/`,
	`(?m)^b`, `(?m)a$`, `(?s)a.b`, `a.b`, `\A/a\z`, `k`, `ſ`, `ß`, `(?-i)App`, `(?i:x)|y`, `\pL\d`, `[[:alpha:]]+[[:digit:]]`, `()`, `(|a)*b`, `(a*)*$`, `x*`, `$`, `^`, `^$`, `\x{1F600}`,
	`(^/a|b$)`, `(?U)a+b`, `[^\x00-\x7f]`, `^/(é|e)/\w+\.(so|py)$`, `a{0}`, `(?:a|ab)(?:c|bcd)$`,
}

var pieces = []string{"/", "/", "a", "b", "c", "x", "A", "app", "App", ".json", ".so", "é", "É", "ü", "K", "\u212a", "k", "s", "ſ", "ß", "1", "_", "-", " ", "\n", "😀", "日", "."}

func randomPath(r *rand.Rand) string {
	var b strings.Builder
	b.WriteByte('/')
	for range r.IntN(8) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func TestPatternsLikeRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range patterns {
		a, err := compilePatterns([]string{p}, 4)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		re := regexp.MustCompile(`(?i)` + p)
		for range 500 {
			s := randomPath(r)
			if got := walk(a.append(nil), s) == 4; got != re.MatchString(s) {
				t.Fatalf("pattern %q, path %q: %v", p, s, got)
			}
		}
	}
}

// The whole file against the rules said with regexp and in their order.
func TestClassifyLikeRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	choose := func() (some []string) {
		for range r.IntN(4) {
			some = append(some, patterns[r.IntN(len(patterns))])
		}
		return some
	}
	defaults := struct{ notFound, remote, local *regexp.Regexp }{
		regexp.MustCompile(`(?i)^/home/u/\.(config/gcloud|kube|azure)(/|$)`),
		regexp.MustCompile(`(?i)^/etc/(resolv\.conf|hosts|hostname|ssl/certs)(/|$)`),
		regexp.MustCompile(`(?is)^/(proc|sys|lib|lib32|lib64|etc|usr|home|bin|sbin|dev|opt|tmp|var/tmp|var/db/timezone/zoneinfo|snap|run|selinux|nix|Program Files)(/|$)` +
			`|(\.so|\.sh|\.rb|\.d|\.pyc|\.py|\.jar|\.class|\.js|\.pth|\.plist|\.pdb|\.dll|venv\.cfg|/jvm\.cfg|/package\.json|/\.yarnrc(\.yml|\.json)?|/\.tool-versions)$` +
			`|/node_modules|\.asdf/|clr-debug-pipe-|^/$|^/a$|^/a/b(/|$)|^/app$`),
	}
	for _, dir := range platformDirs {
		defaults.local = regexp.MustCompile(defaults.local.String() + `|^` + dir + `(/|$)`)
	}
	heads := []string{"/etc/hosts", "/etc", "/home/u/.kube", "/usr", "/a/b", "/app", "/ETC/ssl/certs", "/var/tmp", "/node_modules"}
	for range 100 {
		in := Input{Mode: "read", Home: "/home/u", Cwd: "/a/b", Executable: "/app", NotFound: choose(), ReadWrite: choose(), ReadOnly: choose(), Local: choose()}
		f := compile(t, in)
		for range 100 {
			path := randomPath(r)
			if r.IntN(2) == 0 {
				path = heads[r.IntN(len(heads))] + strings.TrimPrefix(path, "/")
			}
			want := Remote
			switch {
			case matches(in.NotFound, path):
				want = NotFound
			case matches(in.ReadWrite, path), matches(in.ReadOnly, path):
			case matches(in.Local, path):
				want = Local
			case defaults.notFound.MatchString(path):
				want = NotFound
			case defaults.remote.MatchString(path):
			case defaults.local.MatchString(path):
				want = Local
			}
			if got := f.Classify(path, false); got != want {
				t.Fatalf("%q with not_found %q, read_only %q, local %q: %v, want %v", path, in.NotFound, in.ReadOnly, in.Local, got, want)
			}
		}
	}
}

func matches(patterns []string, path string) bool {
	for _, p := range patterns {
		if regexp.MustCompile(`(?i)` + p).MatchString(path) {
			return true
		}
	}
	return false
}

func FuzzCompilePattern(f *testing.F) {
	for i, p := range patterns {
		f.Add(p, "/"+pieces[i%len(pieces)]+"/app.json")
	}
	f.Add(`(?=x)`, "/x")
	f.Add(`(\pL{3}){3}`, "/é")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		b, err := newBuilder([]string{pattern}, 1)
		if err != nil || len(b.nfa.insts) > 5000 {
			return // a size that would only be slow here
		}
		path = "/" + path
		a, err := b.build(1_000_000)
		if err != nil {
			return
		}
		re, err := regexp.Compile(`(?i)` + pattern)
		if err != nil {
			t.Fatalf("%q compiles here, but: %v", pattern, err)
		}
		table := a.append(nil)
		if err := checkAutomaton(append(make([]byte, PageSize), table...), PageSize); err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		if utf8.ValidString(path) && (walk(table, path) == 1) != re.MatchString(path) {
			t.Fatalf("pattern %q, path %q: %v", pattern, path, !re.MatchString(path))
		}
	})
}
