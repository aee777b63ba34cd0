package rules

// platformDirs are local with all they hold, on this system.
var platformDirs = []string{
	"/Volumes", "/private", "/var/folders", "/Users", "/Library", "/Applications", "/System", "/var/run/com.apple", "/Network",
}
