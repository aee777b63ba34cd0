package live

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable has this program be a child of a test: what a process serves, it must not wait for with a thread that the Go runtime may stop.
const childVariable = "LIVE_TEST_CHILD"

// waitForEver is a child of the test: it opens a file and reads that request, but does not answer.
func waitForEver() {
	device, root, err := mount(os.TempDir())
	if err != nil {
		fmt.Println(err)
		return
	}
	request := func() request {
		buf := make([]byte, maxRequest+8192)
		n, err := device.Read(buf)
		r, ok := parse(buf[:n])
		if !ok {
			panic(err)
		}
		return r
	}
	init := request()
	device.Write(appendInit(header(init.unique, 64, 0), init.u32(8), init.u32(12)))
	o, err := newOpener(context.Background(), root)
	if err != nil {
		panic(err)
	}
	go o.open("name", unix.O_RDONLY)
	if r := request(); r.op != opLookup {
		panic(r.op)
	}
	fmt.Println("waiting")
	select {}
}

// Who is killed while it waits for itself ends all the same.
func TestKilledWhileOpening(t *testing.T) {
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), childVariable+"=open")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	child.Process.Kill()
	child.Wait() // hangs otherwise
	if said != "waiting\n" {
		t.Skipf("left out: %q, %v", said, err)
	}
}
