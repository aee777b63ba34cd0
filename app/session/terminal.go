package session

import (
	"fmt"
	"os"
	"strings"

	"mirrord/app/cli"
	"mirrord/app/shell"
)

// TerminalScript writes a script into folder that runs the launch in a terminal, for programs that ask questions, and returns its path. Its name ends in `.command`, which
// macOS opens in Terminal. It removes itself when it starts, and sets the PATH of tool, which the terminal may not have.
func TerminalScript(tool *cli.Tool, launch Launch, folder string) (string, error) {
	if err := launch.check(); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, "mirrord-*.command")
	if err != nil {
		return "", &cli.Error{Message: "cannot write a script for the terminal: " + err.Error()}
	}
	var text strings.Builder
	text.WriteString("#!/bin/sh\nrm -f -- " + shell.Quote(f.Name()) + "\n")
	if path := shell.Lookup(tool.Env, "PATH"); path != "" {
		text.WriteString("PATH=" + shell.Quote(path) + "; export PATH\n")
	}
	text.WriteString("cd " + shell.Quote(launch.Folder) + " || exit\nexec " + shell.Command(launch.words(tool)) + "\n")
	_, err = f.WriteString(text.String())
	if err == nil {
		err = f.Chmod(0o700)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(f.Name())
		return "", &cli.Error{Message: "cannot write a script for the terminal: " + err.Error()}
	}
	return f.Name(), nil
}

// TerminalCommand is what opens such a script in a terminal of this system. The error says that there is none.
func TerminalCommand(script string) ([]string, error) {
	for _, words := range terminals {
		if path := shell.Find(words[0], os.Getenv("PATH")); path != "" {
			return append(append([]string{path}, words[1:]...), script), nil
		}
	}
	return nil, &cli.Error{Message: "there is no terminal to open", Hint: fmt.Sprintf("install one of those that x-terminal-emulator stands for, or run %s yourself", script)}
}
