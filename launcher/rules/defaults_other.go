//go:build !darwin

package rules

// platformDirs are local with all they hold, on this system.
var platformDirs []string
