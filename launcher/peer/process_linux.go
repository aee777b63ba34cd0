package peer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxCommand bounds what is read of a command line, an environment or a file of options, in bytes.
const maxCommand = 1 << 20

// CommandOf reads how a process was started from /proc, as far as it lets us.
func CommandOf(pid int) Command {
	proc := fmt.Sprintf("/proc/%d/", pid)
	exe, _ := os.Readlink(proc + "exe")
	return Command{
		Exe:  strings.TrimSuffix(exe, " (deleted)"),
		Argv: words(readStart(proc + "cmdline")),
		Env:  words(readStart(proc + "environ")),
		ReadFile: func(name string) string {
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

// Umask is that of a process, as /proc tells since Linux 4.7.
func Umask(pid int) (uint32, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(text, []byte("\nUmask:\t"))
	octal, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(octal), 8, 32)
	return uint32(mask), err == nil
}
