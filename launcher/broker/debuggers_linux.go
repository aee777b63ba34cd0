package broker

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxCommand bounds what is read of a command line, an environment or a file of options, in bytes.
const maxCommand = 1 << 20

// commandOf reads how a process was started from /proc, as far as it lets us.
func commandOf(pid int) command {
	proc := fmt.Sprintf("/proc/%d/", pid)
	exe, _ := os.Readlink(proc + "exe")
	return command{
		exe:  strings.TrimSuffix(exe, " (deleted)"),
		argv: words(readStart(proc + "cmdline")),
		env:  words(readStart(proc + "environ")),
		readFile: func(name string) string {
			if !filepath.IsAbs(name) {
				name = filepath.Join(proc+"cwd", name)
			}
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
				return ""
			}
			return readStart(name)
		},
	}
}

// words are strings that end in NUL each.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}

func readStart(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxCommand))
	return string(text)
}
