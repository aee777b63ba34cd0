// Command mirrord-agent is the far end of a session, inside a pod: it stands beside the target's container, shares its network and sees its processes, and
// serves the one launcher that has started it (package wire says how).
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"mirrord/agent/door"
	"mirrord/agent/pod"
	"mirrord/agent/serve"
	"mirrord/agent/startup"
)

func main() {
	// The agent shares the target's memory limit: little garbage is worth some work.
	debug.SetGCPercent(50)
	if err := run(os.Args[1:]); err != nil {
		report := startup.Report{Error: err.Error()}
		var wrong *pod.WrongUserError
		if errors.As(err, &wrong) {
			report.User = &startup.User{UID: wrong.UID, GID: wrong.GID}
		}
		startup.WriteReport(os.Stdout, report)
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		announce(ctx, os.Stdout, report)
		os.Exit(1)
	}
}

func run(args []string) error {
	start, err := startup.ParseStart(args)
	if err != nil {
		return err
	}
	target, err := pod.Open(pod.Options{Name: start.Name, Container: start.Container, Rights: start.Rights, HostNetwork: start.HostNetwork, Probes: start.Probes, Environ: start.Environ})
	if err != nil {
		return err
	}
	defer target.Close()
	// Only port-forwards come to the loopback from elsewhere.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go trim(ctx)
	port := listener.Addr().(*net.TCPAddr).Port
	report := startup.Report{Port: uint16(port), Lacks: target.Lacks()}
	if err := startup.WriteReport(os.Stdout, report); err != nil {
		listener.Close()
		return err
	}
	unheard, heard := context.WithCancel(ctx)
	defer heard()
	go announce(unheard, os.Stdout, report)
	d := door.Door{Hash: start.TokenHash, Lease: start.Lease, Serve: func(ctx context.Context, requests, bulk net.Conn) error {
		return serve.Serve(ctx, requests, bulk, target)
	}}
	if err := d.Run(ctx, greeter{listener, heard}); err != nil {
		return fmt.Errorf("the agent ends: %w", err)
	}
	return nil
}
