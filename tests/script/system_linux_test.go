package script

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/launcher/seccomp"
)

// libraryName is the layer's, in the folder ownLayer of layer/lib; layerFiles is how many files a launcher has of it: the library, and the helper of supervised programs.
const (
	ownLayer    = runtime.GOARCH
	libraryName = "libmirrord.so"
	layerFiles  = 2
)

// processesOf finds the processes of a session by its work directory: it is in their environment (the layer's library lies below it, and
// nobody can take that away), or they stand in it. Zombies have neither, and are their parent's business.
func processesOf(work string) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if bytes.Contains(environ, []byte(work+"/")) || strings.HasPrefix(cwd+"/", work+"/") {
			found = append(found, pid)
		}
	}
	return found
}

func parent(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// pid (name, which may hold anything) state ppid
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return strconv.Atoi(fields[1])
}

// commandOf is what a process was started with.
func commandOf(pid int) []byte {
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return bytes.ReplaceAll(command, []byte{0}, []byte{' '})
}

// socketExists says whether there is an abstract Unix socket of that name.
func socketExists(name string) bool {
	table, err := os.ReadFile("/proc/net/unix")
	return err != nil || bytes.Contains(table, []byte("@"+name))
}

// givesRights says whether files can be given capabilities that count.
func givesRights() bool {
	dir, err := os.MkdirTemp("", "rights")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Flags&unix.ST_NOSUID == 0 &&
		exec.Command("cp", "/bin/true", dir).Run() == nil && exec.Command("setcap", "cap_net_bind_service+ep", dir+"/true").Run() == nil
}

// canSupervise reports whether the system lets mirrord answer programs' system calls.
func canSupervise() bool { return seccomp.Supported() == nil }
