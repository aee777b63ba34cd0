// Package seccomp answers system calls of other processes: it makes the filter under which they run, takes what the filter reports (seccomp_unotify(2)), reads
// and writes their memory, and puts descriptors into them. It knows nothing of what is answered, and why.
//
// A process comes under a filter by installing it itself, after which it, and all that it starts, has it for ever; who supervises it must be an ancestor, or
// have the right to trace it.
package seccomp
