//go:build desktop

package main

import (
	"os"
	"path/filepath"
)

// hasTray says whether there is a message bus, by which trays are reached on Linux. Without one the toolkit's tray fails, and again when the app ends.
func hasTray() bool {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	_, err := os.Stat(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus"))
	return err == nil
}
