package terminal

// terminals open a script: by the program that the user has chosen for `.command`, which is Terminal unless they did.
var terminals = [][]string{{"open"}}
