package live

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mount makes a file system that is mounted nowhere, and returns the device that it is served on, and its root.
func mount() (device *os.File, root int, err error) {
	fd, root, err := detached(true)
	if err != nil {
		return nil, -1, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), root, nil
}

// detached mounts with the rights of this process.
func detached(everybody bool) (device, root int, err error) {
	device, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
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
	if everybody {
		if err = unix.FsconfigSetFlag(config, "allow_other"); err != nil {
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
