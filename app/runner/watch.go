package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/app/cli"
	"mirrord/app/session"
	"mirrord/app/shell"
)

const (
	// sweepEvery is how often it is looked which processes are gone.
	sweepEvery = time.Second
	// lastWords is how long output is waited for when everything has ended but a process that nobody knows of holds the terminal.
	lastWords = time.Second
	// stopTime is how long `mirrord session stop` may take; it kills after ten seconds by itself.
	stopTime = 30 * time.Second
)

// apart starts a process in a session of its own: signals of the app's terminal, if it has one, are not for it, and it has no terminal of its own to stop it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// search finds a program in the PATH of env, as a shell with it would.
func search(words, env []string) *exec.Cmd {
	c := &exec.Cmd{Path: words[0], Args: words}
	if strings.Contains(words[0], "/") {
		return c
	}
	if c.Path = shell.Find(words[0], shell.Lookup(env, "PATH")); c.Path == "" {
		c.Path, c.Err = words[0], fmt.Errorf("%s: %w", words[0], exec.ErrNotFound)
	}
	return c
}

// watch follows a session to its end. It owns told and the terminal.
func (s *Session) watch(told *os.File) {
	heard, printed, exited := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(heard)
		defer told.Close()
		session.ReadEvents(told, s.take)
	}()
	go func() {
		defer close(printed)
		s.print()
	}()
	go func() { exited <- s.collect() }()

	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var deadline <-chan time.Time
	var status error
	for exited, heard := exited, heard; exited != nil || heard != nil; {
		select {
		case status = <-exited:
			exited = nil
			if heard != nil {
				s.leave()
			}
		case <-heard:
			heard = nil
		case <-sweep.C:
			if s.Model.Sweep(alive) {
				s.poke()
			}
		case n := <-s.stops:
			if deadline = nil; n == 1 {
				deadline = time.After(s.options.Patience)
			}
			s.end(n > 1)
		case <-deadline:
			deadline = nil
			s.end(true)
		}
	}
	select {
	case <-printed:
	case <-time.After(lastWords):
	}
	s.terminal.Close()
	<-printed
	s.beside.Wait()
	s.Model.Sweep(func(int) bool { return false })
	s.conclude(status)
	s.finish()
}

// print keeps what comes from the terminal until it has no other end any more.
func (s *Session) print() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := s.terminal.Read(buffer)
		if n > 0 {
			_, _ = s.Console.Write(buffer[:n])
			s.poke()
		}
		if err != nil && !errors.Is(err, io.ErrNoProgress) {
			return // EIO on Linux
		}
	}
}

// collect waits for the command.
func (s *Session) collect() error {
	err := s.command.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exited = true
	return err
}

// leave is for a command that has ended while its session goes on: processes that the program has left are in it.
func (s *Session) leave() {
	remain := s.Model.Summary().Remain
	s.mu.Lock()
	if s.stopped > 0 && remain > 0 {
		s.endLeft()
	}
	s.mu.Unlock()
	s.poke()
}

// end ends the session, by force if the program had its chance.
func (s *Session) end(force bool) {
	s.Model.Update(func(m *session.Summary) {
		if m.State != session.Ended {
			m.State = session.Stopping
		}
	})
	defer s.poke()
	s.mu.Lock()
	defer s.mu.Unlock()
	signal := syscall.SIGTERM
	if force {
		signal = syscall.SIGKILL // of mirrord: its broker sees it, and ends everything
	}
	pid := s.command.Process.Pid
	switch {
	case s.exited:
		s.endLeft()
	case s.launch.Plain:
		_ = syscall.Kill(-pid, signal) // it leads a group of its own
	default:
		_ = syscall.Kill(pid, signal)
	}
}

// endLeft ends a session whose command is gone. s.mu is held.
func (s *Session) endLeft() {
	if !s.leaving {
		s.leaving = true
		s.beside.Go(s.stopLeft)
	}
}

func (s *Session) stopLeft() {
	id := s.Model.Summary().ID
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if _, err := s.tool.Stop(ctx, id); err != nil {
		var e *cli.Error
		if errors.As(err, &e) {
			s.tell(*e)
		}
	}
}

// tell adds an error of the app's.
func (s *Session) tell(e cli.Error) {
	s.Model.Notice(session.Notice{Time: time.Now(), Error: true, Message: e.Message, Hint: e.Hint})
	s.poke()
}

// conclude brings the summary to its end, and says what the events did not.
func (s *Session) conclude(err error) {
	var exit *exec.ExitError
	status, signal := 0, ""
	if errors.As(err, &exit) {
		ws := exit.Sys().(syscall.WaitStatus)
		if status = ws.ExitStatus(); ws.Signaled() {
			signal = unix.SignalName(ws.Signal())
		}
	}
	before := s.Model.Summary()
	ended := !before.Ended.IsZero() || before.Remain > 0 || before.Status != nil || before.Signal != "" // session.ended was there
	s.Model.Update(func(m *session.Summary) {
		m.State, m.Remain, m.Linked = session.Ended, 0, false
		if m.Ended.IsZero() || before.Remain > 0 {
			m.Ended = time.Now()
		}
		if s.launch.Plain {
			if m.Signal = signal; signal == "" {
				m.Status = &status
			}
		}
	})
	if s.launch.Plain || ended {
		return
	}
	first, next := s.Console.Range()
	said := cli.Spoken(s.Console.Text(max(first, next-20), next))
	switch {
	case signal != "" && before.State == session.Stopping:
		s.tell(cli.Error{Message: "the session was ended by force"})
	case signal != "":
		s.tell(cli.Error{Message: "the mirrord command was killed by " + signal + ", and the program with it", Hint: "see the system's log for the reason; out of memory is a frequent one"})
	case said != nil && len(before.Notices) == 0:
		s.tell(*said)
	case len(before.Notices) == 0 || !before.Notices[0].Error:
		s.tell(cli.Error{Message: fmt.Sprintf("the mirrord command ended with status %d and did not say how the program did", status),
			Hint: "is " + s.tool.Path + " of this app's version?"})
	}
}

// alive says whether there is such a process.
func alive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
