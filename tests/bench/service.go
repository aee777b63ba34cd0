package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTime is how long a service may take to be ready.
const startTime = 20 * time.Second

// service is somebody else's program that runs beside the benchmarks, with an end.
type service struct {
	cmd   *exec.Cmd
	out   bytes.Buffer // read only after the program has ended
	ended chan struct{}
}

// startService starts a program and waits until it is ready.
func startService(ctx context.Context, dir string, ready func() bool, argv ...string) (*service, error) {
	s := &service{cmd: command(ctx, dir, argv...), ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.WaitDelay = 5 * time.Second // a child that it leaves may keep the output open
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	limit := time.After(startTime)
	for !ready() {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s ended: %s", argv[0], strings.ReplaceAll(strings.TrimSpace(s.out.String()), "\n", " "))
		case <-limit:
			s.Close()
			return nil, fmt.Errorf("%s is not ready after %s", argv[0], startTime)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return s, nil
}

// Close ends the program and waits for it.
func (s *service) Close() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}

// answers says whether somebody listens on an address.
func answers(address string) func() bool {
	return func() bool {
		c, err := net.Dial("tcp4", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
}

// freePort is a port on which nobody listens now.
func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// startProxy starts a SOCKS server (dante) and an inner program below proxychains that connects through it.
func startProxy(ctx context.Context, s *stage) (*inner, *service, error) {
	for _, name := range []string{"danted", "proxychains4"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, nil, err
		}
	}
	me, err := user.Current()
	if err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	server, client := filepath.Join(s.dir, "danted.conf"), filepath.Join(s.dir, "proxychains.conf")
	for name, text := range map[string]string{
		server: "logoutput: /dev/null\ninternal: 127.0.0.1 port = " + port + "\nexternal: 127.0.0.1\nsocksmethod: none\nclientmethod: none\n" +
			"user.privileged: " + me.Username + "\nuser.unprivileged: " + me.Username + "\n" +
			"client pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\nsocks pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\n",
		client: "strict_chain\nquiet_mode\n[ProxyList]\nsocks5 127.0.0.1 " + port + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, nil, err
		}
	}
	dante, err := startService(ctx, s.dir, answers("127.0.0.1:"+port), "danted", "-f", server, "-p", filepath.Join(s.dir, "danted.pid"))
	if err != nil {
		return nil, nil, err
	}
	i, err := startInner(ctx, s, "proxychains4 and dante", nil, "proxychains4", "-q", "-f", client)
	if err != nil {
		dante.Close()
		return nil, nil, err
	}
	return i, dante, nil
}

// sshServer is an sshd with keys of its own.
type sshServer struct {
	*service
	address, key string
	made         bool // its directory was not there
}

// privilegeDir is where sshd locks its unprivileged child in; Debian's makes it at start.
const privilegeDir = "/run/sshd"

func startSSH(ctx context.Context, s *stage) (*sshServer, error) {
	sshd, err := exec.LookPath("sshd") // wants to be called by its full path
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	server := &sshServer{address: "127.0.0.1:" + port, key: filepath.Join(s.dir, "user_key")}
	host := filepath.Join(s.dir, "host_key")
	for _, key := range []string{host, server.key} {
		if out, err := command(ctx, s.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	config := filepath.Join(s.dir, "sshd_config")
	text := "ListenAddress 127.0.0.1\nPort " + port + "\nHostKey " + host + "\nAuthorizedKeysFile " + server.key + ".pub\n" +
		"StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	server.made = os.Mkdir(privilegeDir, 0o755) == nil
	server.service, err = startService(ctx, s.dir, answers(server.address), sshd, "-D", "-e", "-f", config)
	if err != nil {
		server.removeDir()
		return nil, err
	}
	return server, nil
}

func (s *sshServer) removeDir() {
	if s.made {
		os.Remove(privilegeDir)
	}
}

func (s *sshServer) Close() {
	s.service.Close()
	s.removeDir()
}

// mount shows a directory through a program that keeps it mounted, from an ssh server at an address, and returns where. kind is sshfs or rclone.
func mount(ctx context.Context, s *stage, server *sshServer, kind, address, name, dir string) (at string, program *service, err error) {
	if _, err := exec.LookPath(kind); err != nil {
		return "", nil, err
	}
	me, err := user.Current()
	if err != nil {
		return "", nil, err
	}
	at = filepath.Join(s.dir, name)
	if err := os.Mkdir(at, 0o700); err != nil {
		return "", nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	argv := []string{"sshfs", "-f", "-p", port, "-o", "ro,IdentityFile=" + server.key + ",StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null", me.Username + "@" + host + ":" + dir, at}
	if kind == "rclone" {
		argv = []string{"rclone", "mount", "--config", "/dev/null", "--read-only", ":sftp,host=" + host + ",port=" + port + ",user=" + me.Username + ",key_file=" + server.key + ",shell_type=none:" + dir, at}
	}
	var here, there syscall.Stat_t
	if err := syscall.Stat(s.dir, &here); err != nil {
		return "", nil, err
	}
	program, err = startService(ctx, s.dir, func() bool { return syscall.Stat(at, &there) == nil && there.Dev != here.Dev }, argv...)
	return at, program, err
}
