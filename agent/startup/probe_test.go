package startup

import (
	"strings"
	"testing"
)

func TestParseProbe(t *testing.T) {
	for text, want := range map[string]Probe{
		"8080,/healthz?x=1":                   {8080, "/healthz?x=1", ""},
		"1,/":                                 {1, "/", ""},
		"80,/a,b Mozilla/5.0 (X, like Gecko)": {80, "/a,b", "Mozilla/5.0 (X, like Gecko)"},
	} {
		if got, err := ParseProbe(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "8080", "/healthz", "0,/", "65536,/", "-1,/", "80,healthz", "80,", "80,/\n", "80,/\u00e4", "80,/ a\nb", "80,/  a", "80,/ a ",
		"80,/" + strings.Repeat("x", maxProbeURI), "80,/ " + strings.Repeat("x", maxUserAgent+1)} {
		if got, err := ParseProbe(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func FuzzParseProbe(f *testing.F) {
	f.Add("8080,/healthz?x=1")
	f.Add("80,/a,b Mozilla/5.0 (X, like Gecko)")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProbe(text)
		if err != nil {
			return
		}
		if again, err := ParseProbe(p.String()); again != p || err != nil {
			t.Errorf("%q is %+v, and that is %+v, %v", text, p, again, err)
		}
	})
}
