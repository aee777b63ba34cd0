package terminal

import (
	"fmt"
	"os"
	"strings"

	"mirrord/app/cli"
	"mirrord/app/shell"
)

// Script writes a script into a folder that runs a program in another, both absolute, and returns the script's path. Its name ends in `.command`, which macOS
// opens in Terminal. It removes itself when it starts, and sets search as the PATH, which the terminal may not have; empty: it has. The error is an *cli.Error.
func Script(into string, words []string, folder, search string) (string, error) {
	f, err := os.CreateTemp(into, "mirrord-*.command")
	if err != nil {
		return "", &cli.Error{Message: "cannot write a script for the terminal: " + err.Error()}
	}
	var text strings.Builder
	text.WriteString("#!/bin/sh\nrm -f -- " + shell.Quote(f.Name()) + "\n")
	if search != "" {
		text.WriteString("PATH=" + shell.Quote(search) + "; export PATH\n")
	}
	text.WriteString("cd " + shell.Quote(folder) + " || exit\nexec " + shell.Command(words) + "\n")
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

// Command is what opens such a script in a terminal of this system. The error, an *cli.Error, says that there is none.
func Command(script string) ([]string, error) {
	for _, words := range terminals {
		if path := shell.Find(words[0], os.Getenv("PATH")); path != "" {
			return append(append([]string{path}, words[1:]...), script), nil
		}
	}
	return nil, &cli.Error{Message: "there is no terminal to open", Hint: fmt.Sprintf("install one of those that x-terminal-emulator stands for, or run %s yourself", script)}
}
