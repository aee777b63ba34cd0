package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/startup"
)

// besideScript runs in a namespace of processes of its own: the shell is the target's program, and the agent, whose command line is the arguments, stands
// beside it. Each line that comes is answered with what the agent holds.
const besideScript = `"$@" & while read -r line; do grep -E '^(Rss|Pss|Pss_Anon):' /proc/$!/smaps_rollup | tr -s '\n ' ' '; ls /proc/$!/fd | wc -l; done; kill $!; wait`

// beside is an agent as it is in a pod, beside a program that does nothing.
type beside struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	link   *links.Link
}

// startAgent builds the agent as it is shipped, starts it and links to it.
func startAgent(ctx context.Context, s *stage) (b *beside, err error) {
	program := filepath.Join(s.dir, "agent")
	build := command(ctx, ".", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./agent")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the agent: %w\n%s", err, out)
	}
	token := startup.NewToken()
	start := startup.Start{TokenHash: token.Hash(), Name: "bench", Lease: time.Minute}
	argv := []string{"unshare", "--map-root-user", "--fork", "--pid", "--mount-proc", "sh", "-c", besideScript, "sh", program}
	b = &beside{cmd: command(ctx, s.dir, append(argv, start.Args()...)...)}
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.stdout = bufio.NewReader(stdout)
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	if err := b.join(ctx, token); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// join waits for the agent's report and links to it.
func (b *beside) join(ctx context.Context, token startup.Token) error {
	line, err := b.stdout.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the agent does not start: %w", err)
	}
	report, ok := startup.ParseReport(line)
	if !ok || report.Error != "" {
		return fmt.Errorf("the agent: %s", line)
	}
	var conns [2]net.Conn
	id := startup.NewLinkID()
	for i := range conns {
		if conns[i], err = net.Dial("tcp4", fmt.Sprint("127.0.0.1:", report.Port)); err != nil {
			return err
		}
		knock := startup.Knock{Token: token, Link: id, Bulk: i == 1}
		if err := knock.Enter(ctx, conns[i]); err != nil {
			return err
		}
	}
	b.link, err = links.New(ctx, conns[0], conns[1], "bench")
	return err
}

// holds is what the agent holds, and anonymous of its Pss: what is not in its file, in kB.
func (b *beside) holds() (h held, anonymous int, err error) {
	if _, err := io.WriteString(b.stdin, "\n"); err != nil {
		return h, 0, err
	}
	line, err := b.stdout.ReadString('\n')
	if err != nil {
		return h, 0, err
	}
	_, err = fmt.Sscanf(line, "Rss: %d kB Pss: %d kB Pss_Anon: %d kB %d", &h.rss, &h.pss, &anonymous, &h.fds)
	return h, anonymous, err
}

// Close ends the agent and waits for it.
func (b *beside) Close() error {
	if b.link != nil {
		b.link.Goodbye()
		b.link.Close()
	}
	b.stdin.Close()
	return b.cmd.Wait()
}

// agentMemory measures what an agent in a pod holds.
func agentMemory(ctx context.Context, s *stage, r *report, _ options) error {
	const connections = 1000
	r.section("Memory of the agent", "Resident and proportional memory of the agent in a pod (Rss and Pss of smaps_rollup), and how much of that is not its file, in MB. Connections have carried\n"+
		"what the row says, both ways, and are idle. Goals: 10 MiB idle, 32 MiB with 1000 connections.",
		"state", "Rss", "Pss", "anonymous", "descriptors", "goal")
	b, err := startAgent(ctx, s)
	if err != nil {
		r.row("left out", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	defer b.Close()
	row := func(state string, limit int) error {
		time.Sleep(quiet)
		h, anonymous, err := b.holds()
		if err != nil {
			return err
		}
		mb := func(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e3) }
		target := ""
		if limit > 0 {
			target = goal(fmt.Sprintf("≤ %d MiB", limit>>10), h.rss <= limit)
		}
		r.row(state, mb(h.rss), mb(h.pss), mb(anonymous), strconv.Itoa(h.fds), target)
		return nil
	}
	if err := row("idle", 10<<10); err != nil {
		return err
	}
	addr := netip.MustParseAddrPort(s.peers.client.Addr().String())
	for _, size := range []int{0, 4 << 10, 256 << 10} {
		var open []links.Conn
		for range connections {
			_, c, err := b.link.Connect(ctx, addr)
			if err != nil {
				return err
			}
			defer c.Close()
			open = append(open, c)
			if err := echo(c, size); err != nil {
				return err
			}
		}
		if err := row(fmt.Sprintf("%d connections, %d KiB each", connections, size>>10), 32<<10); err != nil {
			return err
		}
		for _, c := range open {
			c.Close()
		}
	}
	return row("all closed", 0)
}

// quiet is longer than what the agent needs to give back buffers that are not used: it looks every 5 s, and the system gets memory back some time later.
const quiet = 15 * time.Second

// echo sends so many bytes and reads them again.
func echo(c net.Conn, size int) error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		sent <- err
	}()
	if _, err := io.CopyN(io.Discard, c, int64(size)); err != nil {
		return err
	}
	return <-sent
}
