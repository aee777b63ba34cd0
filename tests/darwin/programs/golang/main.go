// Command golang does a little of everything that Go's runtime needs of a system: files, folders, timers, sockets with its poller, names, a child, a signal.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(dir string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Println(runtime.GOOS, runtime.GOARCH, path)
	if len(os.Args) > 2 {
		return nil // the child
	}
	if err := os.WriteFile(dir+"/file", []byte("text"), 0o640); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	info, err := entries[0].Info()
	if err != nil {
		return err
	}
	fmt.Println(len(entries), info.Name(), info.Size(), info.Mode())
	_, err = os.Stat(dir + "/none")
	fmt.Println(os.IsNotExist(err), err.(*os.PathError).Err)
	if err := connections(); err != nil {
		return err
	}
	out, err := exec.Command(path, dir, "child").Output()
	fmt.Printf("child: %s", out)
	if err != nil {
		return err
	}
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		return err
	}
	fmt.Println(<-got)
	return nil
}

func connections() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(time.Millisecond)) // nothing has been sent: it must end
	_, err = c.Read(make([]byte, 1))
	fmt.Println(os.IsTimeout(err))
	c.SetReadDeadline(time.Time{})
	fmt.Fprint(c, "echo")
	c.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(c)
	fmt.Println(string(all), err)
	addresses, err := net.LookupHost("127.0.0.1")
	fmt.Println(addresses, err)
	return nil
}
