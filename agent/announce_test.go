package main

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/agent/startup"
)

// Whoever begins to listen soon after the start hears a report soon, and a lease's worth of them does not fill a log.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for limit, bounds := range map[time.Duration][2]int{500 * time.Millisecond: {3, 10}, time.Minute: {30, 80}} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			var out bytes.Buffer
			announce(ctx, &out, startup.Report{Port: 7})
			cancel()
			lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
			if len(lines) < bounds[0] || len(lines) > bounds[1] {
				t.Errorf("%d reports in %s", len(lines), limit)
			}
			for _, line := range lines {
				if r, ok := startup.ParseReport(line); !ok || r.Port != 7 {
					t.Errorf("%q", line)
				}
			}
		}
	})
}
