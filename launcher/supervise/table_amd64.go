//go:build linux

package supervise

import (
	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// legacy adds the calls that newer machines do not have.
func legacy(all map[uint32]entry) {
	for number, e := range map[uint32]entry{
		unix.SYS_OPEN: {needs: rules.Files | rules.Names, handle: func(t *Tree, c *seccomp.Call) { open(t, c, place{none, 0}, c.Arg(1), c.Arg(2)) }},
		unix.SYS_CREAT: {needs: rules.Files, handle: func(t *Tree, c *seccomp.Call) {
			open(t, c, place{none, 0}, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.Arg(1))
		}},
		unix.SYS_STAT:      files(func(t *Tree, c *seccomp.Call) { stat(t, c, place{none, 0}, 0, 1, statBytes) }),
		unix.SYS_LSTAT:     files(func(t *Tree, c *seccomp.Call) { stat(t, c, place{none, 0}, unix.AT_SYMLINK_NOFOLLOW, 1, statBytes) }),
		unix.SYS_ACCESS:    files(func(t *Tree, c *seccomp.Call) { access(t, c, place{none, 0}, c.Arg(1), 0) }),
		unix.SYS_READLINK:  files(func(t *Tree, c *seccomp.Call) { readLink(t, c, place{none, 0}, 1, 2) }),
		unix.SYS_UNLINK:    changes(plain(frame.Unlink), place{none, 0}),
		unix.SYS_RMDIR:     changes(plain(frame.Rmdir), place{none, 0}),
		unix.SYS_MKDIR:     changes(withMode(frame.Mkdir, 1, 0), place{none, 0}),
		unix.SYS_MKNOD:     changes(withSize(frame.Mknod, 1, 2), place{none, 0}),
		unix.SYS_SYMLINK:   changes(plain(frame.Symlink), place{none, 1}, block{arg: 0}),
		unix.SYS_CHMOD:     changes(withMode(frame.Chmod, 1, 0), place{none, 0}),
		unix.SYS_CHOWN:     changes(withOwner(1, 0), place{none, 0}),
		unix.SYS_LCHOWN:    changes(withOwner(1, frame.ChangeNoFollow), place{none, 0}),
		unix.SYS_UTIME:     changes(withTimes(1, clock{}), place{none, 0}, block{arg: 1, size: 16}),
		unix.SYS_UTIMES:    changes(withTimes(1, clock{fraction: 1000}), place{none, 0}, block{arg: 1, size: 32}),
		unix.SYS_FUTIMESAT: changes(withTimes(2, clock{fraction: 1000}), place{0, 1}, block{arg: 2, size: 32}),
		unix.SYS_RENAME:    pair(plain(frame.Rename), place{none, 0}, place{none, 1}),
		unix.SYS_RENAMEAT:  pair(plain(frame.Rename), place{0, 1}, place{2, 3}),
		unix.SYS_LINK:      pair(plain(frame.Link), place{none, 0}, place{none, 1}),
	} {
		all[number] = e
	}
}
