package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShim looks for a tool where xcrun does, in its order.
func TestShim(t *testing.T) {
	const (
		shim    = "  /usr/bin/git: {restricted: true, macho: {slices: [x86_64, arm64e], libraries: [/usr/lib/libxcselect.dylib]}}\n"
		inTools = "  /Library/Developer/CommandLineTools/usr/bin/git: {macho: {slices: [arm64]}}\n  /Library/Developer/CommandLineTools/SDKs/MacOSX.sdk: {folder: true}\n"
		inXcode = "  /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/bin/git: {macho: {slices: [arm64]}}\n" +
			"  /Applications/Xcode.app/Contents/Developer/Platforms/MacOSX.platform/Developer/SDKs/MacOSX.sdk: {folder: true}\n"
		beta     = "  /Applications/Beta.app/Contents/Developer/usr/bin/git: {macho: {slices: [arm64]}}\n"
		selected = "  /var/db/xcode_select_link: {link: /Applications/Beta.app/Contents/Developer}\n"
	)
	tools := "/Library/Developer/CommandLineTools"
	xcode := "/Applications/Xcode.app/Contents/Developer"
	xcodeSDK := []Edit{{"SDKROOT", xcode + "/Platforms/MacOSX.platform/Developer/SDKs/MacOSX.sdk"}}
	toolsSDK := []Edit{{"SDKROOT", tools + "/SDKs/MacOSX.sdk"}}
	for _, tt := range []struct {
		name, files string
		env         []string
		path        string // "" is outside
		edits       []Edit
	}{
		{"nothing installed", "", nil, "", nil},
		{"command line tools", inTools, nil, tools + "/usr/bin/git", toolsSDK},
		{"Xcode first", inTools + inXcode, nil, xcode + "/Toolchains/XcodeDefault.xctoolchain/usr/bin/git", xcodeSDK},
		{"selected", inTools + beta + selected, nil, "/Applications/Beta.app/Contents/Developer/usr/bin/git", nil},
		{"selected, but gone", inTools + selected, nil, "", nil},
		{"named by the variable", inTools + inXcode + beta + selected, []string{"DEVELOPER_DIR=" + tools}, tools + "/usr/bin/git", toolsSDK},
		{"named as an application", inTools + beta, []string{"DEVELOPER_DIR=/Applications/Beta.app"}, "/Applications/Beta.app/Contents/Developer/usr/bin/git", nil},
		{"an SDK of one's own", inTools, []string{"SDKROOT=/sdk"}, tools + "/usr/bin/git", nil},
	} {
		d := describe(t, small+"files:\n"+shim+tt.files)
		v := For(d).Decide(Request{Path: "/usr/bin/git", Argv0: "git", Args: []string{"commit"}, Cwd: "/", Env: tt.env})
		if tt.path == "" {
			if v.Kind != Outside || v.Path != "/usr/bin/git" || len(v.Edits) > 0 {
				t.Errorf("%s: %+v", tt.name, v)
			}
			continue
		}
		if v.Kind != ExecOnly || v.Path != tt.path {
			t.Errorf("%s: %v %s, %v", tt.name, v.Kind, v.Path, v.Err)
		}
		if diff := cmp.Diff(tt.edits, v.Edits); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
	other := describe(t, small+"files:\n  /opt/bin/git: {macho: {slices: [arm64], libraries: [/usr/lib/libxcselect.dylib]}}\n")
	if v := For(other).Decide(Request{Path: "/opt/bin/git", Cwd: "/"}); v.Path != "/opt/bin/git" || v.Kind != ExecOnly {
		t.Errorf("outside of /usr/bin nothing is a shim: %+v", v)
	}
}

// TestUnknownWords: what env does depends on its words, unless a script has said enough of them.
func TestUnknownWords(t *testing.T) {
	d := describe(t, small+"files:\n  /usr/bin/env: {macho: {slices: [arm64]}}\n  /opt/node: {macho: {slices: [arm64]}}\n"+
		"  /w/script: {script: \"#!/usr/bin/env node\\n\"}\n")
	path := []string{"PATH=/opt"}
	for _, tt := range []struct {
		path    string
		args    []string
		want    string
		askArgv bool
	}{
		{"/usr/bin/env", nil, "/usr/bin/env", true},
		{"/usr/bin/env", []string{}, "/usr/bin/env", false},
		{"/usr/bin/env", []string{"node", "x"}, "/opt/node", false},
		{"/w/script", nil, "/opt/node", false},
		{"/opt/node", nil, "/opt/node", false},
	} {
		v := For(d).Decide(Request{Path: tt.path, Argv0: "a", Args: tt.args, Cwd: "/", Env: path})
		if v.Err != nil || v.Program != tt.want || v.AskArgv != tt.askArgv {
			t.Errorf("%s %q: %+v", tt.path, tt.args, v)
		}
	}
}
