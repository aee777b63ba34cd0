// Opens /remote/N in many threads at once, and says how often the descriptor was not the one of a file of N bytes.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

func main() {
	opens, _ := strconv.Atoi(os.Args[1])
	threads, _ := strconv.Atoi(os.Args[2])
	var wrong, failed atomic.Int64
	var all sync.WaitGroup
	for thread := range threads {
		all.Go(func() {
			for i := range opens / threads {
				size := 1 + (thread*7919+i)%4000
				fd, err := syscall.Open("/remote/"+strconv.Itoa(size), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
				if err != nil {
					failed.Add(1)
					continue
				}
				var st syscall.Stat_t
				if fd < 3 || syscall.Fstat(fd, &st) != nil || st.Size != int64(size) {
					wrong.Add(1)
					continue // it is not ours to close
				}
				syscall.Close(fd)
			}
		})
	}
	all.Wait()
	fmt.Println("wrong", wrong.Load(), "failed", failed.Load())
}
