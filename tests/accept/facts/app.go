package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mirrord/app/cli"
	"mirrord/app/loginenv"
	"mirrord/app/runner"
	"mirrord/app/shell"
	"mirrord/app/terminal"
)

// bare is the PATH that launchd gives to what Finder starts (sysctl user.cs_path).
const bare = "/usr/bin:/bin:/usr/sbin:/sbin"

// loginShell asks the user's shell from an environment as Finder gives it.
func loginShell() (string, error) {
	base := []string{"PATH=" + bare}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			base = append(base, name+"="+value)
		}
	}
	r := loginenv.Resolve(context.Background(), loginenv.Options{Base: base})
	if r.Problem != "" {
		return "", errors.New(r.Problem)
	}
	return fmt.Sprintf("%s told %d variables in %v, PATH=%s", r.Shell, len(r.Env), r.Took.Round(time.Millisecond), shell.Lookup(r.Env, "PATH")), nil
}

// opens is how long a terminal may take to open.
const opens = 20 * time.Second

// opened opens a program in a terminal as the app does. The program tells its terminal, its folder and its PATH.
func opened() (string, error) {
	folder, err := os.MkdirTemp("", "mirrord fact's *") // a name that shells would take apart
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	path := "/of the login shell:" + os.Getenv("PATH")
	tells := runner.Launch{Command: []string{"/bin/sh", "-c", `{ tty && pwd -P && printf '%s\n' "$PATH"; } > new 2>&1; mv new told`}, Folder: folder, Plain: true}
	script, err := tells.Script(&cli.Tool{Env: []string{"PATH=" + path}}, folder)
	if err != nil {
		return "", err
	}
	words, err := terminal.Command(script)
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w %s", strings.Join(words, " "), err, out)
	}
	var text []byte
	for end := time.Now().Add(opens); ; time.Sleep(50 * time.Millisecond) {
		if text, err = os.ReadFile(filepath.Join(folder, "told")); err == nil {
			break
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("%s: nothing ran in a terminal within %v", strings.Join(words, " "), opens)
		}
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", err
	}
	said := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	_, left := os.Stat(script)
	switch {
	case len(said) != 3 || !strings.HasPrefix(said[0], "/dev/"):
		return "", fmt.Errorf("it ran without a terminal: %q", said)
	case said[1] != real:
		return "", fmt.Errorf("it ran in %s, not in %s", said[1], real)
	case said[2] != path:
		return "", fmt.Errorf("its PATH is %s, not %s", said[2], path)
	case !errors.Is(left, fs.ErrNotExist):
		return "", fmt.Errorf("the script %s is left", script)
	}
	return "it ran on " + said[0] + ", in its folder and with its PATH", nil
}
