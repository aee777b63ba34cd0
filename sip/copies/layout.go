package copies

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mirrord/sip/patch"
)

// layout says where in its folder a copy lies, and what beside it. Most are alone. A program that finds what it needs from where it lies is in
// folders named as the original's, and what it needs are links to the original's. So dyld finds libraries by relative paths, and CoreFoundation
// the bundle that a program belongs to, which it looks for by the path that the kernel has, out of reach of hooks.
type layout struct {
	name  string   // of the copy, from its folder
	root  string   // the original's folder that stands for the copy's
	links []string // from either, sorted
}

// layoutOf says how a copy of a program has to lie. The error is that of reading the original's application.
func layoutOf(origin string, c patch.Copy, relative bool) (layout, error) {
	dir := filepath.Dir(origin)
	l := layout{name: filepath.Base(origin), root: dir}
	var needs []string
	if app, ok := strings.CutSuffix(dir, ".app/Contents/MacOS"); ok && !strings.HasSuffix(app, "/") {
		l.root = filepath.Dir(app)
		// Its signature says of which files the application consists, and by whom: that is another's.
		for folder, but := range map[string][]string{filepath.Dir(dir): {"MacOS", "_CodeSignature"}, dir: {l.name}} {
			all, err := os.ReadDir(folder)
			if err != nil {
				return l, err
			}
			for _, each := range all {
				if !slices.Contains(but, each.Name()) {
					needs = append(needs, filepath.Join(folder, each.Name()))
				}
			}
		}
	}
	if relative {
		for _, path := range c.Paths {
			needs = append(needs, filepath.Clean(path.To))
			for _, name := range c.Searched {
				if path.Folder {
					needs = append(needs, filepath.Join(path.To, name))
				}
			}
		}
		for _, need := range needs {
			for !below(need, l.root) {
				l.root = filepath.Dir(l.root)
			}
		}
	}
	for _, need := range needs {
		if link := branch(need, origin); link != "" {
			rel, err := filepath.Rel(l.root, link)
			if err != nil {
				return l, err
			}
			l.links = append(l.links, rel)
		}
	}
	slices.Sort(l.links)
	l.links = slices.Compact(l.links)
	name, err := filepath.Rel(l.root, origin)
	l.name = name
	return l, err
}

// branch is the first folder or file of a path that is not on the way to the program: what to link to have all of that path; "" if it is on the
// way itself.
func branch(path, origin string) string {
	if below(origin, path) {
		return ""
	}
	for {
		dir := filepath.Dir(path)
		if below(origin, dir) {
			return path
		}
		path = dir
	}
}

// below says whether a path is a folder or in it. Both are clean.
func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// build makes the folder, with the copy in file.
func (l layout) build(folder, file string) error {
	at := filepath.Join(folder, l.name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	var faults []error
	for _, link := range l.links {
		faults = append(faults, os.Symlink(filepath.Join(l.root, link), filepath.Join(folder, link)))
	}
	return errors.Join(append(faults, os.Rename(file, at))...)
}
