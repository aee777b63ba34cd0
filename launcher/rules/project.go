package rules

import (
	"os"
	"path/filepath"
)

// packageFiles stand in the root of a package of some language.
var packageFiles = []string{
	"package.json", "go.mod", "pyproject.toml", "setup.py", "requirements.txt", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "Gemfile", "composer.json",
	"mix.exs",
}

// ProjectRoot returns the root of the project that cwd is in: the nearest folder upwards that is a git work tree, for a package may use its
// neighbours in the repository, else the nearest that holds a package. Never home, "/" or above home; "" when there is none.
func ProjectRoot(cwd, home string) string {
	found := ""
	for dir := filepath.Clean(cwd); dir != filepath.Clean(home) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, ".git")) {
			return dir
		}
		for _, name := range packageFiles {
			if found == "" && exists(filepath.Join(dir, name)) {
				found = dir
			}
		}
	}
	return found
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
