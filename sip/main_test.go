package sip

import (
	"encoding/json"
	"os"
	"testing"
)

// TestMain makes the test binary an interpreter that prints its own argv: what the kernel did with a script.
func TestMain(m *testing.M) {
	if os.Getenv("SIP_TEST_ECHO") != "" {
		_ = json.NewEncoder(os.Stdout).Encode(os.Args)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
