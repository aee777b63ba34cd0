package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A burst is over when less than trimQuiet bytes are allocated in trimTime; less than trimWorth in all are not worth a collection.
const (
	trimTime  = 5 * time.Second
	trimQuiet = 1 << 20
	trimWorth = 64 << 10
)

// trim gives memory back to the system when a burst is over, until ctx ends. The collector by itself would come by two minutes after the last allocation,
// and the pod's limit is shared with the target's program.
func trim(ctx context.Context) {
	tick := time.NewTicker(trimTime)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}} // since the start
	var last, trimmed uint64
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-last < trimQuiet && now-trimmed >= trimWorth {
			runtime.GC() // what pools keep goes with the second
			debug.FreeOSMemory()
			trimmed = now
		}
		last = now
	}
}
