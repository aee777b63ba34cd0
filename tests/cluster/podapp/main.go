// Command podapp is the program in the pods of the tests: a static one in an image that has nothing else. It serves HTTP on PORT (8080), which answers with the
// pod's name and the GREETING, ends when it is asked for /quit, says so in its log when for /ready, loads others (/load), and echoes on UDP port 7000. It also serves at the Unix sockets that UNIX
// lists, and at UNIX_DENIED, to which nobody may connect. It writes the file WRITE, then becomes the user BECOME.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if file := os.Getenv("WRITE"); file != "" {
		if err := os.WriteFile(file, []byte("written by the pod\n"), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	if user, err := strconv.Atoi(os.Getenv("BECOME")); err == nil { // from then on only who has more rights may look into this process
		if err := syscall.Setuid(user); err != nil {
			log.Fatal(err)
		}
	}
	if os.Getenv("UDP") != "" {
		packets, err := net.ListenPacket("udp", ":7000")
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := packets.ReadFrom(buf)
				if err != nil {
					log.Fatal(err)
				}
				packets.WriteTo(append([]byte("echo "), buf[:n]...), from)
			}
		}()
	}
	host, _ := os.Hostname()
	var l load
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/load" {
			l.serve(w, r)
			return
		}
		if r.URL.Path == "/unready" {
			http.Error(w, "never ready", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/ready" {
			log.Print("probed")
		}
		if r.URL.Path == "/quit" {
			os.Exit(1)
		}
		if r.URL.Query().Has("close") { // a client that keeps connections would have its next request on one that exists already
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "%s %s from %s\n", host, os.Getenv("GREETING"), r.RemoteAddr)
	})
	denied := os.Getenv("UNIX_DENIED")
	for _, at := range append(strings.Fields(os.Getenv("UNIX")), denied) {
		if at == "" {
			continue
		}
		l, err := net.Listen("unix", at)
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(l, answer)
	}
	if denied != "" {
		if err := os.Chmod(denied, 0); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(http.ListenAndServe(":"+port, answer))
}
