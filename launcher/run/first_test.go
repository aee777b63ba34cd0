package run

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/sip"
)

func TestFirstExec(t *testing.T) {
	command := []string{"./start", "-x"}
	env := []string{"A=b", preload + "=/l/layer:/own"}
	for name, tt := range map[string]struct {
		verdict   sip.Verdict
		argv, env []string
	}{
		"as it is":         {sip.Verdict{Kind: sip.Inject}, command, env},
		"a script":         {sip.Verdict{Kind: sip.Inject, Argv: []string{"/bin/sh", "-e", "./start", "-x"}}, []string{"/bin/sh", "-e", "./start", "-x"}, env},
		"unknown format":   {sip.Verdict{Kind: sip.Inject, Words: []string{"/bin/sh", "./start"}}, []string{"/bin/sh", "./start", "-x"}, env},
		"edits":            {sip.Verdict{Kind: sip.Copy, Edits: []sip.Edit{{Name: "SDKROOT", Value: "/sdk"}}}, command, append(env[:2:2], "SDKROOT=/sdk")},
		"a build tool":     {sip.Verdict{Kind: sip.ExecOnly}, command, append(env[:2:2], envLight+"=1")},
		"a copy of one":    {sip.Verdict{Kind: sip.Copy, Light: true}, command, append(env[:2:2], envLight+"=1")},
		"of arm64e":        {sip.Verdict{Kind: sip.Inject, Variant: sip.VariantARM64e}, command, []string{"A=b", preload + "=/l/layer-arm64e:/own"}},
		"outside, if lazy": {sip.Verdict{Kind: sip.Outside}, command, map[bool][]string{false: env, true: {"A=b", preload + "=/own"}}[strictLoader]},
	} {
		argv, got := firstExec(command, env, "/l/layer", tt.verdict)
		if diff := cmp.Diff(tt.argv, argv) + cmp.Diff(tt.env, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWithoutLibrary(t *testing.T) {
	for _, tt := range []struct{ env, want []string }{
		{[]string{preload + "=/l", "A=b"}, []string{"A=b"}},
		{[]string{preload + "=/x:/l:/y"}, []string{preload + "=/x:/y"}},
		{[]string{"A=b"}, []string{"A=b"}},
	} {
		if diff := cmp.Diff(tt.want, withoutLibrary(tt.env, "/l")); diff != "" {
			t.Error(diff)
		}
	}
}
