package snapshot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseGlob(t *testing.T) {
	for text, want := range map[string]string{
		"srv": "is not an absolute path", "": "is not an absolute path", "./x": "is not an absolute path",
		"/srv/../etc": "has .. in it", "/srv/[": "is no pattern", `/srv/\`: "is no pattern", "/srv/[a": "is no pattern",
	} {
		if _, err := ParseGlob(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string][]string{
		"/": nil, "//srv///x/": {"srv", "x"}, "/**/**/a/**": {"**", "a", "**"}, "/./a": {"a"}, `/\*\[/a b`: {`\*\[`, "a b"},
	} {
		if g, err := ParseGlob(text); err != nil || !cmp.Equal(g.names, want) {
			t.Errorf("%q: %q, %v", text, g.names, err)
		}
	}
}

// A pattern without wildcards is a path, and a path can be made one.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"/srv/data/**", "/a[b]c", `/\*`, "/a?", "/", `/x\\`, "/[^a-z]*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if g, err := ParseGlob(text); err == nil {
			for _, name := range g.names {
				if got, ok := exact(name); ok && strings.Contains(got, "/") {
					t.Errorf("%q has the name %q", text, got)
				}
			}
		}
		for _, name := range literal(text).names {
			if got, ok := exact(name); !ok || !strings.Contains(text, got) {
				t.Errorf("%q as a pattern: %q, %q", text, name, got)
			}
		}
	})
}

const usedEvents = `{"event":"session.started","session":"1"}
{"event":"file","op":"open","path":"/srv/b"}
{"event":"file","op":"open","path":"/srv/a"}
{"event":"file","op":"open","path":"/srv/none","errno":"ENOENT"}
{"event":"file","op":"open","path":"relative"}
{"event":"file.local","op":"open","path":"/srv/written"}
{"event":"name","name":"db"}
{"event":"name","name":"nobody","errno":"NOTFOUND"}
{"event":"connect","address":"10.96.0.9:5432","name":"db.shop"}
{"event":"connect","address":"10.96.0.7:8125","protocol":"udp"}
{"event":"connect","path":"/run/db.sock","protocol":"unix"}
{"event":"connect","path":"@shop","protocol":"unix"}
{"event":"connect","path":"/run/none","protocol":"unix","errno":"ENOENT"}
{"event":"connect","address":"127.0.0.1:80"}
{"event":"connect","address":"x\"\n:80"}
{"event":"connect","address":"10.96.0.8:1","errno":"ECONNREFUSED"}
{"event":"file","path":"/srv/a"}
{"event":"fi`

func TestReadUsed(t *testing.T) {
	got, err := ReadUsed(strings.NewReader(usedEvents))
	if err != nil {
		t.Fatal(err)
	}
	want := &Used{Paths: []string{"/srv/a", "/srv/b"}, Names: []string{"db", "db.shop"}, Addresses: map[string]string{
		"10.96.0.9:5432": "db.shop", "udp://10.96.0.7:8125": "", "unix:///run/db.sock": "", "unix://@shop": ""}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, text := range []string{"", "name: x\n", "{}\n[]\n", strings.Repeat("x", maxLine+1)} {
		if _, err := ReadUsed(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q is taken for events", text)
		}
	}
}

func FuzzReadUsed(f *testing.F) {
	f.Add(usedEvents)
	f.Add(`{"event":"connect","address":"[fe80::1%eth0]:80"}`)
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ReadUsed(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range u.Paths {
			if !strings.HasPrefix(p, "/") {
				t.Errorf("the path %q", p)
			}
		}
		for addr := range u.Addresses {
			if !strings.HasPrefix(addr, "unix://") && strings.ContainsAny(addr, "\" \n%") {
				t.Errorf("the address %q", addr)
			}
		}
	})
}
