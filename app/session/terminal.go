package session

import "mirrord/app/cli"

// TerminalScript writes a script that runs the launch in a terminal, for programs that ask questions, and returns its path: a `.command` file, which opens in Terminal on
// macOS. It removes itself when it starts.
func TerminalScript(tool *cli.Tool, launch Launch, folder string) (string, error) {
	return "", &cli.Error{Message: "not built yet"}
}

// TerminalCommand is what opens such a script in a terminal here. The error says that there is none.
func TerminalCommand(script string) ([]string, error) {
	return nil, &cli.Error{Message: "not built yet"}
}
