//go:build linux && (amd64 || arm64)

package supervise

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

type handler func(*Tree, *seccomp.Call)

// entry is how calls of one number are answered.
type entry struct {
	needs  rules.Flags // any of them; 0 is always
	when   []seccomp.Condition
	handle handler
}

// table is every call that is looked at, by its number.
var table = func() map[uint32]entry {
	all := map[uint32]entry{
		unix.SYS_OPENAT:     {needs: rules.Files | rules.Names, handle: func(t *Tree, c *seccomp.Call) { open(t, c, place{0, 1}, c.Arg(2), c.Arg(3)) }},
		unix.SYS_OPENAT2:    {needs: rules.Files | rules.Names, handle: openHow},
		unix.SYS_NEWFSTATAT: files(func(t *Tree, c *seccomp.Call) { stat(t, c, place{0, 1}, c.Arg(3), 2, statBytes) }),
		unix.SYS_FSTAT:      files(func(t *Tree, c *seccomp.Call) { describe(t, c, c.Arg(0), 1, statBytes) }),
		unix.SYS_STATX:      files(func(t *Tree, c *seccomp.Call) { stat(t, c, place{0, 1}, c.Arg(2), 4, statxBytes) }),
		unix.SYS_FACCESSAT:  files(func(t *Tree, c *seccomp.Call) { access(t, c, place{0, 1}, c.Arg(2), 0) }),
		unix.SYS_FACCESSAT2: files(func(t *Tree, c *seccomp.Call) { access(t, c, place{0, 1}, c.Arg(2), c.Arg(3)) }),
		unix.SYS_READLINKAT: files(func(t *Tree, c *seccomp.Call) { readLink(t, c, place{0, 1}, 2, 3) }),
		unix.SYS_STATFS:     files(statfs),
		unix.SYS_GETDENTS64: files(entries),
		unix.SYS_FSTATFS:    files(fstatfs),
		unix.SYS_FLOCK:      files(lock),
		unix.SYS_FCNTL: {needs: rules.Files, handle: lock, when: []seccomp.Condition{
			seccomp.OneOf(1, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW)}},
		unix.SYS_CHDIR:  files(chdir),
		unix.SYS_FCHDIR: files(fchdir),
		unix.SYS_GETCWD: files(getcwd),
		unix.SYS_CHROOT: files(chroot),
		unix.SYS_EXIT_GROUP: files(func(t *Tree, c *seccomp.Call) {
			t.folders.leave(c.TID)
			c.Continue()
		}),

		unix.SYS_GETXATTR:          files(func(t *Tree, c *seccomp.Call) { attributes(t, c, false, unix.ENODATA) }),
		unix.SYS_LGETXATTR:         files(func(t *Tree, c *seccomp.Call) { attributes(t, c, true, unix.ENODATA) }),
		unix.SYS_LISTXATTR:         files(func(t *Tree, c *seccomp.Call) { attributes(t, c, false, 0) }),
		unix.SYS_LLISTXATTR:        files(func(t *Tree, c *seccomp.Call) { attributes(t, c, true, 0) }),
		unix.SYS_INOTIFY_ADD_WATCH: files(func(t *Tree, c *seccomp.Call) { watch(t, c, place{none, 1}, c.Arg(2)&unix.IN_DONT_FOLLOW != 0) }),
		unix.SYS_FANOTIFY_MARK:     files(func(t *Tree, c *seccomp.Call) { watch(t, c, place{3, 4}, c.Arg(1)&unix.FAN_MARK_DONT_FOLLOW != 0) }),

		unix.SYS_UNLINKAT: files(func(t *Tree, c *seccomp.Call) {
			op := frame.Unlink
			if c.Arg(2)&unix.AT_REMOVEDIR != 0 {
				op = frame.Rmdir
			}
			change(t, c, plain(op), place{0, 1})
		}),
		unix.SYS_MKDIRAT:   changes(withMode(frame.Mkdir, 2, 0), place{0, 1}),
		unix.SYS_MKNODAT:   changes(withSize(frame.Mknod, 2, 3), place{0, 1}),
		unix.SYS_SYMLINKAT: changes(plain(frame.Symlink), place{1, 2}, block{arg: 0}),
		unix.SYS_FCHMODAT:  changes(withMode(frame.Chmod, 2, 0), place{0, 1}),
		unix.SYS_FCHMODAT2: changes(noFollow(withMode(frame.Chmod, 2, 0), 3), place{0, 1}),
		unix.SYS_FCHOWNAT:  changes(noFollow(withOwner(2, 0), 4), place{0, 1}),
		unix.SYS_TRUNCATE:  changes(withSize(frame.Truncate, none, 1), place{none, 0}),
		unix.SYS_UTIMENSAT: files(func(t *Tree, c *seccomp.Call) {
			times := noFollow(withTimes(2, clock{1, true}), 3)
			if c.Args[1] == 0 {
				changeHeld(t, c, times)
				return
			}
			change(t, c, times, place{0, 1}, block{arg: 2, size: 32})
		}),
		unix.SYS_SETXATTR:     files(refuseAttribute),
		unix.SYS_LSETXATTR:    files(refuseAttribute),
		unix.SYS_REMOVEXATTR:  changes(plain(frame.SetAttr), place{none, 0}, block{arg: 1}),
		unix.SYS_LREMOVEXATTR: changes(plain(frame.SetAttr), place{none, 0}, block{arg: 1}),
		unix.SYS_RENAMEAT2:    pair(renaming, place{0, 1}, place{2, 3}),
		unix.SYS_LINKAT:       pair(linking, place{0, 1}, place{2, 3}),
		unix.SYS_FCHMOD:       held(withMode(frame.Chmod, 1, 0)),
		unix.SYS_FCHOWN:       held(withOwner(1, 0)),
		unix.SYS_FSETXATTR:    held(plain(frame.SetAttr)),

		unix.SYS_CONNECT:     {needs: rules.Outgoing | rules.UDP | rules.Names | rules.Unix, handle: connect},
		unix.SYS_GETSOCKOPT:  {needs: rules.Outgoing, when: []seccomp.Condition{seccomp.Is(1, unix.SOL_SOCKET), seccomp.Is(2, unix.SO_ERROR)}, handle: socketError},
		unix.SYS_GETPEERNAME: {needs: anyNetwork, handle: func(t *Tree, c *seccomp.Call) { socketEnd(t, c, true) }},
		unix.SYS_GETSOCKNAME: {needs: anyNetwork, handle: func(t *Tree, c *seccomp.Call) { socketEnd(t, c, false) }},
		unix.SYS_BIND:        {needs: rules.Incoming | rules.AskBind, handle: bind},
		unix.SYS_LISTEN:      {needs: rules.Incoming | rules.Outgoing, handle: listen},
		unix.SYS_ACCEPT:      {needs: rules.Incoming, when: []seccomp.Condition{seccomp.IsNot(1, 0)}, handle: func(t *Tree, c *seccomp.Call) { accept(t, c, 0) }},
		unix.SYS_ACCEPT4:     {needs: rules.Incoming, when: []seccomp.Condition{seccomp.IsNot(1, 0)}, handle: func(t *Tree, c *seccomp.Call) { accept(t, c, c.Arg(3)) }},
		unix.SYS_SENDTO:      {needs: rules.UDP | rules.Names, when: []seccomp.Condition{seccomp.IsNot(4, 0)}, handle: sendTo},
		unix.SYS_SENDMSG:     {needs: rules.Names, handle: sendMessage},
		unix.SYS_SENDMMSG:    {needs: rules.Names, handle: sendMessages},
		unix.SYS_RECVFROM:    {needs: rules.Names, when: []seccomp.Condition{seccomp.IsNot(4, 0)}, handle: receiveFrom},
		unix.SYS_RECVMSG:     {needs: rules.Names, handle: receiveMessage},
		unix.SYS_RECVMMSG:    {needs: rules.Names, handle: receiveMessages},

		unix.SYS_EXECVE:   {handle: func(t *Tree, c *seccomp.Call) { execute(t, c, place{none, 0}) }},
		unix.SYS_EXECVEAT: {handle: func(t *Tree, c *seccomp.Call) { execute(t, c, place{0, 1}) }},
		unix.SYS_UNAME:    {needs: rules.Hostname, handle: uname},
	}
	legacy(all)
	return all
}()

const anyNetwork = rules.Outgoing | rules.Incoming | rules.UDP | rules.Names

func files(h handler) entry { return entry{needs: rules.Files, handle: h} }

func changes(r request, p place, blocks ...block) entry {
	return files(func(t *Tree, c *seccomp.Call) { change(t, c, r, p, blocks...) })
}

func pair(r request, from, to place) entry {
	return files(func(t *Tree, c *seccomp.Call) { changePair(t, c, r, from, to) })
}

func held(r request) entry { return files(func(t *Tree, c *seccomp.Call) { changeHeld(t, c, r) }) }

// renaming is renameat2, linking linkat.
func renaming(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
	m, flags := frame.ChangeRequest{Op: frame.Rename}, c.Arg(4)
	if flags&unix.RENAME_NOREPLACE != 0 {
		m.Flags |= frame.ChangeNoReplace
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		m.Flags |= frame.ChangeExchange
	}
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return m, unix.EINVAL
	}
	return m, nil
}

func linking(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
	m := frame.ChangeRequest{Op: frame.Link}
	if c.Arg(4)&unix.AT_SYMLINK_FOLLOW != 0 {
		m.Flags = frame.ChangeFollow
	}
	return m, nil
}

// refuseAttribute is setxattr: of a path that is not what the kernel would take it for, attributes cannot be set.
func refuseAttribute(t *Tree, c *seccomp.Call) {
	p := place{none, 0}
	p.elsewhere(t, c, true, func(w where) {
		switch {
		case w.action == rules.Remote && !t.permitted(c, &frame.ChangeRequest{Op: frame.SetAttr, Path: w.path}):
		case w.moved:
			c.Fail(unix.EOPNOTSUPP)
		default:
			c.Continue()
		}
	})
}

// Filter is the program under which a tree runs: only the calls that the rules make something of are reported.
func Filter(r rules.File) ([]byte, error) {
	list := []seccomp.Rule{
		{Number: unix.SYS_IO_URING_SETUP, Errno: unix.ENOSYS}, // requests in a ring are no system calls
	}
	if r.Has(rules.NoIPv6) {
		list = append(list, seccomp.Rule{Number: unix.SYS_SOCKET, When: []seccomp.Condition{seccomp.Is(0, unix.AF_INET6)}, Errno: unix.EAFNOSUPPORT})
	}
	for _, number := range slices.Sorted(maps.Keys(table)) {
		e := table[number]
		if e.needs == 0 || r.Has(e.needs) {
			list = append(list, seccomp.Rule{Number: number, When: e.when})
		}
	}
	return seccomp.Filter(list)
}
