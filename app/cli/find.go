package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mirrord/app/shell"
)

// Where says where Find looks.
type Where struct {
	Executable string                 // the app's own, with links resolved
	Getenv     func(string) string    // of the login shell; nil is os.Getenv
	Usable     func(path string) bool // nil: a file that may be executed
}

// Find finds the mirrord command: the variable MIRRORD_BIN, else beside the app's executable, else in a bundle's Contents/MacOS, Contents/Helpers or
// Contents/Resources, else in PATH. The error names all places.
func Find(w Where) (*Tool, error) {
	if w.Getenv == nil {
		w.Getenv = os.Getenv
	}
	if w.Usable == nil {
		w.Usable = shell.Executable
	}
	if named := w.Getenv("MIRRORD_BIN"); named != "" {
		if path, err := filepath.Abs(named); err == nil && w.Usable(path) {
			return &Tool{Path: path}, nil
		}
		return nil, &Error{Message: fmt.Sprintf("MIRRORD_BIN names %s, which is no program", named), Hint: "set it to the mirrord command, or unset it"}
	}
	places := candidates(w)
	for _, path := range places {
		if w.Usable(path) {
			return &Tool{Path: path}, nil
		}
	}
	return nil, &Error{Message: "the mirrord command is not there: looked for " + strings.Join(places, ", "), Hint: "put it beside the app, or set MIRRORD_BIN to where it is"}
}

// candidates are the places, in order, without doubles.
func candidates(w Where) (places []string) {
	seen := map[string]bool{}
	add := func(dir string) {
		if path := filepath.Join(dir, "mirrord"); filepath.IsAbs(path) && path != w.Executable && !seen[path] {
			seen[path] = true
			places = append(places, path)
		}
	}
	dir := filepath.Dir(w.Executable)
	add(dir)
	if contents := filepath.Dir(dir); filepath.Base(contents) == "Contents" {
		for _, folder := range []string{"MacOS", "Helpers", "Resources"} {
			add(filepath.Join(contents, folder))
		}
	}
	for _, dir := range filepath.SplitList(w.Getenv("PATH")) {
		add(dir)
	}
	return places
}

// Version is what the command says of itself.
type Version struct {
	Version      string `json:"version"`
	System       string `json:"system"`
	Architecture string `json:"architecture"`
	Layer        bool   `json:"layer"` // programs can run in the pod's context
}

// Version asks the command for its version.
func (t *Tool) Version(ctx context.Context) (v Version, err error) {
	if err = t.ask(ctx, &v, "version", "-o", "json"); err == nil && v.Version == "" {
		err = &Error{Message: t.Path + " does not tell its version", Hint: "is it the mirrord command?"}
	}
	return v, err
}

// Mismatch says in words that the command is of another version than the app, or cannot run programs; nil when all is well. An empty own version is not compared.
func (v Version) Mismatch(own string) *Error {
	switch {
	case own != "" && v.Version != own:
		return &Error{Message: fmt.Sprintf("the mirrord command is of version %s, the app of %s", v.Version, own), Hint: "install both from the same release"}
	case !v.Layer:
		return &Error{Message: "the mirrord command was built without its layer, so it cannot run programs in a pod's context", Hint: "run `make build`"}
	}
	return nil
}
