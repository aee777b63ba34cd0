package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListsOfMac: names are those of files, scripts included, as the volume keeps them.
func TestListsOfMac(t *testing.T) {
	d := describe(t, small+`files:
  /opt/bin/node: {link: ../lib/node24}
  /opt/lib/node24: {macho: {slices: [arm64]}}
  /opt/bin/npm: {script: "#!/opt/bin/node\n"}
  /opt/bin/bazel: {macho: {slices: [arm64], flags: [runtime]}}
  /opt/bin/git: {macho: {slices: [arm64]}}
  /opt/bin/plain: {script: "echo\n"}
  /bin/sh: {restricted: true, macho: {slices: [arm64e, x86_64]}}
  /bin/bash: {restricted: true, macho: {slices: [arm64e, x86_64]}}
`)
	for _, tt := range []struct {
		name  string
		lists Lists
		path  string
		kind  Kind
		light bool
		argv  []string // nil when it does not matter
	}{
		{"nothing", Lists{}, "npm", Inject, false, nil},
		{"a script", Lists{Skip: []string{"npm"}}, "npm", Outside, false, []string{"npm", "1"}},
		{"its interpreter", Lists{Skip: []string{"node24"}}, "npm", Outside, false, []string{"npm", "1"}},
		{"by any of its names", Lists{Skip: []string{"node"}}, "node", Outside, false, nil},
		{"not a path", Lists{Skip: []string{"/opt/bin/npm"}}, "npm", Inject, false, nil},
		{"not a part", Lists{Skip: []string{"np"}}, "npm", Inject, false, nil},
		{"what sh stands for", Lists{Skip: []string{"bash"}}, "/bin/sh", Outside, false, []string{"/bin/sh", "1"}},
		{"what execvp gives to sh", Lists{Skip: []string{"plain"}}, "plain", Outside, false, []string{"plain", "/opt/bin/plain", "1"}},
		{"a build tool", Lists{}, "git", ExecOnly, false, nil},
		{"one of the user's", Lists{BuildTools: []string{"bazel"}}, "bazel", Copy, true, nil},
		{"none at all", Lists{AllBuild: true, BuildTools: []string{"bazel"}}, "bazel", Copy, false, nil},
		{"not even git", Lists{AllBuild: true}, "git", Inject, false, nil},
	} {
		v := For(d).Heed(tt.lists).Decide(Request{Path: tt.path, Argv0: tt.path, Args: []string{"1"}, Cwd: "/", PathVar: "/opt/bin", Search: true, Trace: true})
		if v.Kind != tt.kind || v.Light != tt.light || v.Skipped != (tt.kind == Outside) || len(v.Hops) != len(v.Chain) {
			t.Errorf("%s: %+v", tt.name, v)
		}
		if diff := cmp.Diff(tt.argv, v.Argv); tt.argv != nil && diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
