package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mount makes a file system that is mounted nowhere, and returns the device that it is served on, and its root. dir is a folder of this user's.
func mount(dir string) (device *os.File, root int, err error) {
	ways := []func(string) (int, int, error){namespaced, helped}
	if os.Geteuid() == 0 {
		ways = slices.Insert(ways, 0, detached)
	}
	var faults []error
	for _, way := range ways {
		fd, root, err := way(dir)
		if err == nil {
			unix.SetNonblock(fd, true)
			return os.NewFile(uintptr(fd), "/dev/fuse"), root, nil
		}
		faults = append(faults, err)
	}
	return nil, -1, fmt.Errorf("%w: %s", ErrNone, strings.ReplaceAll(errors.Join(faults...).Error(), "\n", "; "))
}

// Try reports why New would fail for this process; nil if it would not.
func Try(dir string) error {
	device, root, err := mount(dir)
	if err == nil {
		device.Close()
		unix.Close(root)
	}
	return err
}

// ErrNone is wrapped by New's error where a system does not let this process have such a file system; Hint is what helps.
var ErrNone = errors.New("files of the pod cannot be followed while they change")

// Hint is what to do about ErrNone.
const Hint = "let this user read and write /dev/fuse, or install fusermount3 (package fuse3)"

// detached mounts with the rights of this process. The program's processes may be other users' than this one.
func detached(string) (device, root int, err error) {
	return mountDetached("allow_other")
}

// mountDetached makes a mount (Linux 5.2) that is in no folder, with flags besides the options that all have.
func mountDetached(flags ...string) (device, root int, err error) {
	device, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(device)
		}
	}()
	config, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(config)
	for _, option := range [][2]string{{"source", "mirrord"}, {"fd", fmt.Sprint(device)}, {"rootmode", "40000"},
		{"user_id", fmt.Sprint(os.Getuid())}, {"group_id", fmt.Sprint(os.Getgid())}} {
		if err = unix.FsconfigSetString(config, option[0], option[1]); err != nil {
			return -1, -1, fmt.Errorf("fsconfig: %w", err)
		}
	}
	for _, flag := range flags {
		if err = unix.FsconfigSetFlag(config, flag); err != nil {
			return -1, -1, fmt.Errorf("fsconfig: %w", err)
		}
	}
	if err = unix.FsconfigCreate(config); err != nil {
		return -1, -1, fmt.Errorf("fsconfig: %w", err)
	}
	if root, err = unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return -1, -1, fmt.Errorf("fsmount: %w", err)
	}
	return device, root, nil
}

// mounter is the name of this program as the child that mounts for its parent, with the socket as descriptor 3.
const mounter = "mirrord-mounter"

// A thread of a program with many cannot enter a user namespace, so a child of this same program does, whichever it is.
func init() {
	if os.Args[0] == mounter {
		os.Exit(mountForParent(3))
	}
}

func mountForParent(socket int) int {
	device, root, err := mountDetached()
	if err != nil {
		unix.Write(socket, []byte(err.Error()))
		return 1
	}
	if unix.Sendmsg(socket, []byte{0}, unix.UnixRights(device, root), nil, 0) != nil {
		return 1
	}
	return 0
}

// mountTime limits how long a child may take.
const mountTime = 10 * time.Second

// namespaced has a child mount that is root in namespaces of its own, as any user may be; where everybody may use /dev/fuse that is enough.
func namespaced(string) (device, root int, err error) {
	child := exec.Command("/proc/self/exe")
	child.Args = []string{mounter}
	uid, gid := os.Getuid(), os.Getgid()
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
	fds, err := descriptorsFrom(child, 2)
	if err != nil {
		return -1, -1, fmt.Errorf("in a user namespace: %w", err)
	}
	return fds[0], fds[1], nil
}

// helped has fusermount3 mount, which may, and takes the mount out of its folder at once.
func helped(dir string) (device, root int, err error) {
	own, err := os.MkdirTemp(dir, "mirrord-")
	if err != nil {
		return -1, -1, err
	}
	defer os.Remove(own)
	child := exec.Command("fusermount3", "-o", "fsname=mirrord,nosuid,nodev", "--", own)
	child.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	fds, err := descriptorsFrom(child, 1)
	if err != nil {
		return -1, -1, fmt.Errorf("fusermount3: %w", err)
	}
	root, err = unix.Open(own, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if uerr := exec.Command("fusermount3", "-u", "-z", "--", own).Run(); err == nil && uerr != nil && !errors.Is(uerr, unix.ECHILD) {
		unix.Close(root)
		err = fmt.Errorf("fusermount3 -u: %w", uerr)
	}
	if err != nil {
		unix.Close(fds[0])
		return -1, -1, err
	}
	return fds[0], root, nil
}

// descriptorsFrom runs a child that sends so many descriptors over the socket that it has as descriptor 3, or fails.
func descriptorsFrom(child *exec.Cmd, n int) (fds []int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	var text strings.Builder
	child.ExtraFiles, child.Stdout, child.Stderr = []*os.File{theirs}, &text, &text
	err = child.Start()
	theirs.Close()
	if err != nil {
		return nil, err
	}
	limit := time.AfterFunc(mountTime, func() { child.Process.Kill() })
	defer limit.Stop()
	said, rights := make([]byte, 512), make([]byte, unix.CmsgSpace(4*n))
	length, have, _, _, rerr := unix.Recvmsg(pair[0], said, rights, unix.MSG_CMSG_CLOEXEC)
	ended := child.Wait()
	if rerr == nil && have > 0 {
		if messages, err := unix.ParseSocketControlMessage(rights[:have]); err == nil && len(messages) == 1 {
			fds, _ = unix.ParseUnixRights(&messages[0])
		}
	}
	if len(fds) == n { // how it has ended may have been told to who reaps the session's processes
		return fds, nil
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	switch why := strings.TrimSpace(text.String() + string(said[:max(length, 0)])); {
	case why != "":
		return nil, errors.New(why)
	case ended != nil:
		return nil, ended
	}
	return nil, errors.New("it has handed nothing over")
}
