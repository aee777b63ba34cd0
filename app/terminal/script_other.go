//go:build !darwin

package terminal

// terminals open a program, in the order in which they are looked for. The first is the user's choice on Debian and its kin.
var terminals = [][]string{{"x-terminal-emulator", "-e"}, {"xdg-terminal-exec"}, {"gnome-terminal", "--"}, {"konsole", "-e"}, {"xterm", "-e"}}
