package startup

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/agent/wire"
)

func TestStart(t *testing.T) {
	token := NewToken()
	want := &Start{TokenHash: token.Hash(), Container: "abc", Name: "pod/cart", Lease: 90 * time.Second, Rights: RightsNetwork, HostNetwork: true, Environ: true,
		Probes: []Probe{{Port: 80, URI: "/ready"}, {Port: 8080, URI: "/a,b?c", UserAgent: "a probe"}}}
	args := want.Args()
	if strings.Contains(strings.Join(args, " "), string(token[:])) {
		t.Error("the token shows")
	}
	got, err := ParseStart(args)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, wrong := range []string{"--token-sha256=12", "--token-sha256=x", "--lease=0", "--lease=x", "--probe=x", "--unknown=1", "--rights=all", "--rights=", "word"} {
		if _, err := ParseStart(append(slices.Clone(args), wrong)); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}

func TestReport(t *testing.T) {
	var b bytes.Buffer
	want := Report{Agent: "mirrord", Version: wire.Version, Error: "wrong user", User: &User{1000, 0}, Lacks: map[string]string{"env": "x"}}
	if err := WriteReport(&b, want); err != nil {
		t.Fatal(err)
	}
	got, ok := ParseReport(b.Bytes())
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(ok, diff)
	}
	for _, line := range []string{"", "listening", "{}", `{"agent":"mirrord"}`, `{"agent":"other","port":1}`, `{"agent":"mirrord","port":70000}`} {
		if r, ok := ParseReport([]byte(line)); ok {
			t.Errorf("%q was read as %+v", line, r)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"agent":"mirrord","version":1,"port":4000}`))
	f.Add([]byte(`{"agent":"mirrord","version":1,"error":"x","user":{"uid":1,"gid":2}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, ok := ParseReport(line); ok && r.Port == 0 && r.Error == "" {
			t.Errorf("%q says nothing", line)
		}
	})
}
