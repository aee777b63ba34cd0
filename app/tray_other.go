//go:build desktop && !linux

package main

// hasTray says that there is always a menu bar.
func hasTray() bool { return true }
