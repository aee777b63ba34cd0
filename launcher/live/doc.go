// Package live makes descriptors of files of the pod that are not copies: what is read is what the pod has now, and what is written is the pod's at once. They are
// descriptors of a FUSE file system that this process serves and that is mounted nowhere, so only who is handed one can get at a file. The kernel does what it does for
// every file: offsets, pages, mappings, duplicates, locks; each other question goes to the agent, on a stream of the file's own.
//
// A request ends with the pod's answer, or with an errno: EIO when the link is lost for good, EINTR when the program does not wait for it.
package live
