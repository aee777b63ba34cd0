package run

import (
	"bytes"
	"os"
	"testing"
)

// The folder on a Mac has the name that the system knows the application by.
func TestCacheNameIsTheBundles(t *testing.T) {
	source, err := os.ReadFile("system_darwin.go")
	if err != nil {
		t.Fatal(err)
	}
	plist, err := os.ReadFile("../../Info.plist")
	if err != nil {
		t.Fatal(err)
	}
	const name = "io.mirrord.app"
	if !bytes.Contains(source, []byte(`cacheName = "`+name+`"`)) || !bytes.Contains(plist, []byte("<string>"+name+"</string>")) {
		t.Errorf("%s is not the name in both", name)
	}
}
