package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/probe"
	"mirrord/layer"
	"mirrord/sip"
)

// Engine decides for this machine, by what was found out by trying (see `mirrord doctor`).
func Engine() *sip.Engine {
	folder, err := CacheFolder()
	if err != nil {
		return sip.New().Supervises(Supervision())
	}
	return sip.New().Supervises(Supervision()).Seen(probe.Open(folder, System()).Copies())
}

// System is what says for how long things that were found out by trying hold.
func System() probe.System {
	host := sip.New().Host().System()
	s := probe.System{Build: osBuild(), Hardware: host.Arch, SIP: host.SIP, Rosetta: host.Rosetta}
	if library, err := layer.Library(); err == nil {
		sum := sha256.Sum256(library)
		s.Layer = hex.EncodeToString(sum[:8])
	}
	return s
}

// remember keeps for `mirrord doctor` that a program was lost. It is said anyway, so it matters little when it cannot be kept.
func remember(ev events.Event) {
	if folder, err := CacheFolder(); err == nil {
		_ = probe.Open(folder, System()).Lose(ev.Path, ev.Reason)
	}
}

// lateHello is how long a hello may take to be read after its process has ended: it lies in the socket's queue then.
const lateHello = time.Second

// Probe runs a program that ends by itself, as the program of a session is run, with a pod that has nothing. It is nil once the layer in the program
// has said hello. The error says what became of the program instead; it is the context's when that ended first.
func Probe(ctx context.Context, program string, args ...string) (err error) {
	folder, err := os.MkdirTemp("", "mirrord-probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := errors.Join(os.WriteFile(filepath.Join(folder, "pod.yaml"), []byte("name: probe\n"), 0o600), os.Mkdir(filepath.Join(folder, "rootfs"), 0o700)); err != nil {
		return err
	}
	p := &plan{Session: newSession(), Config: config.Default(), Command: append([]string{program}, args...)}
	p.Target = targetPlan{Path: "dir:" + folder, Kind: "dir", Name: folder}
	said := make(chan struct{}, 1)
	pod, err := openPod(ctx, p, sip.New().Decide, func(ev events.Event) {
		if ev.Type == events.ProcessInject {
			select {
			case said <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pod.close()) }()

	var words limited
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Stderr, cmd.WaitDelay = pod.env, &words, lateHello
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := cmd.Wait()
	select {
	case <-said:
		return nil
	case <-time.After(lateHello):
	}
	switch text := strings.TrimSpace(words.String()); {
	case ctx.Err() != nil:
		return fmt.Errorf("it did not end: %w", ctx.Err())
	case ended != nil && text != "":
		return fmt.Errorf("%w, without a word of the layer: %s", ended, text)
	case ended != nil:
		return fmt.Errorf("%w, without a word of the layer", ended)
	case text != "":
		return fmt.Errorf("it ran without the layer: %s", text)
	}
	return errors.New("it ran without the layer")
}

// limited keeps the beginning of what a program says.
type limited struct{ strings.Builder }

func (l *limited) Write(b []byte) (int, error) {
	const most = 400
	l.Builder.Write(b[:min(len(b), max(0, most-l.Len()))])
	return len(b), nil
}
