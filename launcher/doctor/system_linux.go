package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/launcher/live"
	"mirrord/launcher/probe"
	"mirrord/launcher/run"
	"mirrord/sip"
	"mirrord/sip/copies"
)

func examineSystem() []Finding {
	return append(linuxFindings(os.DirFS("/"), unameOf()), supervision(run.Supervision()), following(live.Try(os.TempDir())))
}

// following is what a system means that has no file system for the pod's files.
func following(err error) Finding {
	if err != nil {
		return Finding{Name: "live files", State: Note, Message: err.Error() + "; they are copied when they are opened, also large ones", Hint: live.Hint}
	}
	return Finding{Name: "live files", State: OK, Message: "files of the pod can be followed while they change (FUSE)"}
}

// supervision is what a system that lets no program be supervised means.
func supervision(err error) Finding {
	if err != nil {
		return Finding{Name: "supervision", State: Warning, Message: "Go programs and static ones run outside: " + err.Error(),
			Hint: "in a container it takes SYS_PTRACE (docker run --cap-add SYS_PTRACE) or no profile (--security-opt seccomp=unconfined)"}
	}
	return Finding{Name: "supervision", State: OK, Message: "the system calls of Go programs and static ones can be answered"}
}

func unameOf() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "Linux"
	}
	return fmt.Sprintf("Linux %s on %s", unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:]))
}

func examineSecurity() []Finding { return linuxSecurity(os.DirFS("/")) }

func noexec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}

// strategies: as it is, and as a copy without the rights that make the loader drop the layer.
func strategies() []probe.Strategy {
	return []probe.Strategy{
		{Name: Inject, What: "a program as it is", Prepare: func(context.Context) (string, []string, error) {
			path, err := trueProgram()
			return path, nil, err
		}},
		{Name: "copy", What: "a copy of a program", Prepare: func(context.Context) (string, []string, error) {
			path, err := trueProgram()
			if err != nil {
				return "", nil, err
			}
			dir, err := run.CacheFolder()
			if err != nil {
				return "", nil, err
			}
			store, err := copies.Open(filepath.Join(dir, "copies"))
			if err != nil {
				return "", nil, err
			}
			path, err = store.Copy(path, "")
			return path, nil, err
		}},
	}
}

// trueProgram is true(1), if the layer can be put into it: on some systems it is linked statically.
func trueProgram() (string, error) {
	for _, path := range []string{"/bin/true", "/usr/bin/true"} {
		if v := sip.New().Decide(sip.Request{Path: path, Argv0: "true", Cwd: "/"}); v.Kind == sip.Inject {
			return path, nil
		}
	}
	path, err := exec.LookPath("true")
	if err != nil || sip.New().Decide(sip.Request{Path: path, Argv0: "true", Cwd: "/"}).Kind != sip.Inject {
		return "", fmt.Errorf("%w: true is not there, or takes no libraries", probe.ErrNone)
	}
	return strings.TrimSpace(path), nil
}
