package pod

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// hostname is the one of the process's UTS namespace, which takes CAP_SYS_ADMIN.
func (p *process) hostname() (string, error) {
	namespace, err := p.open("ns/uts")
	if err != nil {
		return "", err
	}
	defer namespace.Close()
	type result struct {
		name string
		err  error
	}
	asked := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var r result
		var names unix.Utsname
		if r.err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWUTS); r.err == nil {
			r.err = unix.Uname(&names)
		}
		r.name = unix.ByteSliceToString(names.Nodename[:])
		asked <- r
	}()
	r := <-asked
	return r.name, r.err
}
