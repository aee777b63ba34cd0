package proposals

import (
	"os"
	"path/filepath"
	"slices"
)

// programsBelow are the folders in a folder of the project that hold a main.go or a file of their own name, ordered.
func programsBelow(project, folder string) (names []string) {
	dir, err := os.Open(filepath.Join(project, folder))
	if err != nil {
		return nil
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(maxOf)
	for _, e := range entries {
		for _, file := range []string{"main.go", e.Name() + ".go"} {
			if info, err := os.Stat(filepath.Join(project, folder, e.Name(), file)); e.IsDir() && err == nil && info.Mode().IsRegular() {
				names = append(names, e.Name())
				break
			}
		}
	}
	slices.Sort(names)
	return names
}
