// Package run is a session's processes. There are three levels:
//
//	outer     what the user started: it has the terminal, shows progress and ends as the program ended
//	broker    a child of outer in a process group of its own, so that the terminal's signals pass it by: it serves the layers
//	program   a child of the broker in outer's process group, so that the terminal and the shell see one job
//
// Two pipes join outer and broker: events (lines of package events, upwards) and control (orders, downwards). The end of one tells that the
// other process is gone; the survivor then ends every descendant. Both are child subreapers, so no descendant escapes by losing its parent; on
// macOS, which has none, the lineage of orphans is followed as far as the system shows it.
//
// The program inherits exactly what it would have without us: standard streams, other descriptors, ignored signals, limits, working directory.
// Hence signals are caught here, never ignored (an ignored one is inherited), our descriptors are close-on-exec, and children are started
// by syscall.ForkExec, which gives them the original RLIMIT_NOFILE (Go raises its own).
package run
