//go:build linux || darwin

package script

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// serve runs a web server until the test ends, and returns its address. It answers with its name, what it was asked and by whom;
// /bytes/N gives N bytes that are the same every time, and
// /received/NAME tells how many bytes came when that was put.
func serve(tb testing.TB, name string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s %s for %s from %s\n", name, r.Method, r.URL.Path, r.Host, r.RemoteAddr)
	})
	mux.HandleFunc("/bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(n))
		_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{}), n)
	})
	var received sync.Map
	mux.HandleFunc("PUT /received/{name}", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received.Store(r.PathValue("name"), n)
	})
	mux.HandleFunc("GET /received/{name}", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := received.Load(r.PathValue("name")); ok {
			fmt.Fprintln(w, n)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	tb.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// echo runs a UDP server until the test ends, and returns its address. It answers with "echo " before what it was sent.
func echo(tb testing.TB) string {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(append([]byte("echo "), buf[:n]...), from)
		}
	}()
	tb.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// refusing returns an address that is taken but at which nobody listens.
func refusing(tb testing.TB) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	unix.CloseOnExec(fd)
	tb.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port), nil
}

// ports hands out numbers below the kernel's own choices (from 32768), so nothing that happens to connect or listen somewhere takes them
// before the script does. Another run of these tests at the same time starts elsewhere.
var ports atomic.Uint32

func freePort(tb testing.TB) int {
	const first, count = 12000, 20000
	for range count {
		port := first + (os.Getpid()*64+int(ports.Add(1)))%count
		if listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}
