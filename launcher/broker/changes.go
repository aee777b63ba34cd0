package broker

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/launcher/procs"
	tables "mirrord/launcher/rules"
	"mirrord/layer/frame"
)

// owner is where writing to a path happens.
type owner int

const (
	readOnly owner = iota // nowhere: the pod's file stays, what is new is this machine's from then on
	here                  // here
	inPod                 // in the pod
	overPod               // here, over the pod's
)

// ownerOf says where writing to a path of the program happens. An empty one stands for a path of this machine.
func (b *Broker) ownerOf(p string) owner {
	switch {
	case p == "" || b.local.has(p):
		return here
	case !b.writable:
		return readOnly
	}
	switch tables.File(b.page.mem).Writes(path.Clean(p)) {
	case tables.Through:
		return inPod
	case tables.Over:
		return overPod
	}
	return readOnly
}

// changes are the changes' names in events.
var changes = map[frame.Op]string{
	frame.Unlink: "unlink", frame.Rmdir: "rmdir", frame.Rename: "rename", frame.Mkdir: "mkdir", frame.Chmod: "chmod", frame.Chown: "chown",
	frame.Truncate: "truncate", frame.Utimes: "utimes", frame.Link: "link", frame.Symlink: "symlink", frame.Mknod: "mknod", frame.SetAttr: "setxattr",
}

// change answers what would change the pod's files.
func (b *Broker) change(from asker, m *frame.ChangeRequest) answer {
	op, ok := changes[m.Op]
	switch {
	case m.Op == frame.Lock:
		if !b.locked.Swap(true) {
			b.Emit(events.Event{Type: events.FileLocked, Op: "lock"})
		}
		return local
	case !ok:
		return failure(unix.EINVAL)
	}
	held := identity{}
	if m.Flags&frame.ChangeHeld != 0 {
		var path string
		if held, path, ok = b.snapshots.find(m.Path); !ok {
			return failure(unix.EROFS)
		}
		m.Path = path
	}
	whose, pair := b.ownerOf(m.Path), m.Op == frame.Rename || m.Op == frame.Link
	if pair {
		if other := b.ownerOf(m.Other); other != whose && max(other, whose) >= inPod {
			return failure(unix.EXDEV) // mv copies then
		}
	}
	switch whose {
	case inPod, overPod:
		return b.changePod(from, op, m, held, whose)
	case here:
		// Written beside and renamed over the target, as editors save: the target is local from now on.
		if pair && b.ownerOf(m.Other) != here {
			return b.makeLocal(op, m.Other, m.Path != "" && b.local.isTree(m.Path))
		}
		return local
	}
	switch m.Op {
	case frame.Mkdir, frame.Symlink, frame.Mknod:
		return b.create(op, m.Path, m.Op == frame.Mkdir)
	}
	return b.refuseChange(m.Path, true)
}

// changePod makes a change in the pod or over it: if held is not zero, of that file alone.
func (b *Broker) changePod(from asker, op string, m *frame.ChangeRequest, held identity, whose owner) answer {
	if m.Op == frame.SetAttr {
		return failure(unix.EOPNOTSUPP)
	}
	c := &wire.Change{Kind: wire.ChangeKind(m.Op), Flags: wire.ChangeFlags(m.Flags), Dev: held.dev, Ino: held.ino, Other: m.Other, Mode: m.Mode, UID: m.UID, GID: m.GID,
		Size: int64(m.Size), Atime: int64(m.Atime), Mtime: int64(m.Mtime)}
	switch m.Op {
	case frame.Rename, frame.Link:
		c.Other = b.mapping.pod(m.Other)
	case frame.Mkdir, frame.Mknod:
		c.Mode &^= from.umask()
	}
	r := &wire.Request{Op: wire.OpChange, Path: b.mapping.pod(m.Path), Change: c}
	if whose == overPod {
		_, err := b.over.files.Do(b.ctx, r)
		b.page.changed()
		if err != nil {
			return failure(errnoOf(err, unix.EIO))
		}
		b.tellOver(op, m.Path)
		return status(frame.StatusOK)
	}
	_, err := b.Link.Do(b.ctx, r)
	b.changed(m.Path, m.Other)
	e := events.Event{Type: events.FileChange, Op: op, Path: m.Path}
	if err != nil {
		errno := errnoOf(err, unix.EIO)
		e.Errno = unix.ErrnoName(errno)
		b.Emit(e)
		return failure(errno)
	}
	b.Emit(e)
	return status(frame.StatusOK)
}

// usualUmask is what systems begin with.
const usualUmask = 0o022

// umask is what the asker's process takes from the mode of what it makes.
func (a asker) umask() uint32 {
	if who, ok := a.peer(); ok {
		if mask, ok := procs.Umask(who.PID); ok {
			return mask
		}
	}
	return usualUmask
}

// openThrough opens a file that is to be written in the pod; it reports false of one that is only read.
func (b *Broker) openThrough(from asker, m *frame.OpenRequest) (bool, answer) {
	writes := m.Flags&frame.OpenAccess != 0 || m.Flags&(frame.OpenCreate|frame.OpenTruncate) != 0
	switch {
	case m.Flags&frame.OpenPath != 0, !writes:
		return false, answer{}
	case m.Flags&frame.OpenTemporary != 0:
		return true, failure(unix.EOPNOTSUPP) // after which programs make a file with a name
	}
	asked := time.Now()
	a, err := b.openLive(m.Path, m.Flags, m.Mode&^from.umask())
	if err == errNotLive {
		b.warn("files of the pod cannot be opened for writing here", "mode overlay writes on this machine, over the pod's files")
		err = unix.EROFS
	}
	b.changed(m.Path)
	return true, b.opening(m.Path, asked, a, err)
}

// changed forgets what was known of paths of the program that were just changed.
func (b *Broker) changed(paths ...string) {
	for _, p := range paths {
		if p != "" {
			b.listings.forget(path.Clean(b.mapping.pod(p)))
		}
	}
	b.page.changed()
}

// refuseChange is EROFS, or what the pod says of a path that is not there: a read-only file system looks before it refuses, and a program
// that removes its stale socket at start expects ENOENT.
func (b *Broker) refuseChange(path string, noFollow bool) answer {
	if _, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path), NoFollow: noFollow}); err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return failure(unix.EROFS)
}

// create makes a path local that is not in the pod. mkdir -p of a pod's directory must not hide all that is in it.
func (b *Broker) create(op, path string, tree bool) answer {
	_, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path), NoFollow: true})
	if err == nil {
		return failure(unix.EEXIST)
	}
	if e := errnoOf(err, unix.EIO); e != unix.ENOENT {
		return failure(e)
	}
	return b.makeLocal(op, path, tree)
}

// overwrite makes a file local that is written. A directory stays one, and what is neither there nor to be made is missing. Who would go on
// reading what the pod's file holds (O_RDWR without O_TRUNC or O_APPEND, as databases open theirs) must not find an empty file in its
// place: EROFS, after which most try again to read only.
func (b *Broker) overwrite(path string, flags uint32) answer {
	reply, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path)})
	switch e := errnoOf(err, unix.EIO); {
	case err == nil && reply.Stat != nil && reply.Stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		return failure(unix.EISDIR)
	case err == nil && flags&frame.OpenAccess == frame.OpenReadWrite && flags&(frame.OpenTruncate|frame.OpenAppend) == 0:
		return failure(unix.EROFS)
	case err != nil && (e != unix.ENOENT || flags&frame.OpenCreate == 0):
		return failure(e)
	}
	return b.makeLocal("open", path, false)
}

// makeLocal leaves a path, and with tree all below it, to this machine for the rest of the session. Where only the pod has its folder nothing can be written, and the path
// stays the pod's: EROFS.
func (b *Broker) makeLocal(op, path string, tree bool) answer {
	e := events.Event{Type: events.FileLocal, Op: op, Path: path}
	if lacksFolder(path) {
		if _, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(folderOf(path))}); err != nil {
			return failure(errnoOf(err, unix.EIO))
		}
		if b.nowhere.add(path, false) {
			e.Errno = "EROFS"
			b.Emit(e)
		}
		return failure(unix.EROFS)
	}
	if b.local.add(path, tree) {
		b.page.written()
		b.Emit(e)
	}
	return local
}

// lacksFolder says whether nothing can be made at a path on this machine, which does not have its folder.
func lacksFolder(path string) bool {
	_, err := os.Stat(folderOf(path))
	return errors.Is(err, fs.ErrNotExist)
}

func folderOf(p string) string { return path.Dir(path.Clean(p)) }
