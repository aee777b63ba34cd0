package copies

import (
	"sync"

	"golang.org/x/sys/unix"
)

// build is that of the system (sw_vers -buildVersion): an update replaces programs, and what is known of them.
var build = sync.OnceValue(func() string {
	version, _ := unix.Sysctl("kern.osversion")
	return version
})

func flagsOf(st *unix.Stat_t) uint32 { return st.Flags }
