package broker

import (
	"encoding/binary"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/anonfile"
	"mirrord/layer/frame"
)

// Ways of resolving that the agent is not told of (linux/openat2.h): links of proc that lead elsewhere it never follows, and what is cached nobody knows.
const (
	resolveNoMagicLinks = 0x02
	resolveCached       = 0x20
)

// openHow is openFile for a path that is relative to a folder of the pod, and to be resolved in the ways of openat2. ENOSYS is what programs go over to openat
// after: where the program's paths are not the pod's, or this machine's stand between them.
func (b *Broker) openHow(from asker, m *frame.OpenHowRequest) answer {
	ways := wire.Ways(m.Ways) &^ resolveNoMagicLinks
	whole := path.Join(m.From, m.Path)
	switch {
	case ways&resolveCached != 0:
		return failure(unix.EAGAIN)
	case ways&^(wire.WayNoXDev|wire.WayNoLinks|wire.WayBeneath|wire.WayInRoot) != 0:
		return failure(unix.EINVAL)
	case len(b.mapping) > 0 || b.ownerOf(whole) == here || b.isOver(whole):
		return failure(unix.ENOSYS)
	}
	r := &wire.Request{From: m.From, Path: m.Path, Ways: ways, NoFollow: m.Flags&frame.OpenNoFollow != 0, Dir: m.Flags&frame.OpenDirectory != 0}
	if m.Flags&frame.OpenPath == 0 && (m.Flags&frame.OpenAccess != 0 || m.Flags&(frame.OpenCreate|frame.OpenTruncate|frame.OpenTemporary) != 0) {
		return b.changeHow(from, m, r)
	}
	asked := time.Now()
	a, err := b.openRead(whole, m.Flags, r)
	return b.opening(whole, asked, a, err)
}

// changeHow finds out what an open that is not for reading means, which is then opened by its own name.
func (b *Broker) changeHow(from asker, m *frame.OpenHowRequest, r *wire.Request) answer {
	r.Op, r.Dir = wire.OpRealpath, false
	reply, err := b.Link.Do(b.ctx, r)
	name := ""
	if errnoOf(err, unix.EIO) == unix.ENOENT && m.Flags&frame.OpenCreate != 0 {
		r.Path, name = path.Split(r.Path)
		if r.Path == "" {
			r.Path = "."
		}
		reply, err = b.Link.Do(b.ctx, r)
	}
	if err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return b.openFile(from, &frame.OpenRequest{Flags: m.Flags | frame.OpenNoFollow, Mode: m.Mode, Path: path.Join(reply.Path, name)})
}

// realPaths are the pod's and the program's for what was asked for: the real one where the agent tells it, which it does of directories.
func (b *Broker) realPaths(path string, r *wire.Request, reply *wire.Reply) (pod, program string) {
	switch {
	case reply.Path == "":
		return r.Path, path
	case r.From == "":
		return reply.Path, b.mapping.program(path, reply.Path)
	}
	return reply.Path, reply.Path
}

// place answers with a descriptor of kind 'p', that only stands for a place (O_PATH): its content is the path.
func (b *Broker) place(path string, r *wire.Request) (answer, error) {
	stat := *r
	stat.Op = wire.OpStat
	reply, err := b.filesOf(path).Do(b.ctx, &stat)
	if err != nil {
		return answer{}, err
	}
	st := reply.Stat
	switch isDir := st != nil && st.Mode&unix.S_IFMT == unix.S_IFDIR; {
	case st == nil:
		return answer{}, unix.EIO
	case isDir:
		b.page.directories()
	case r.Dir:
		return answer{}, unix.ENOTDIR
	}
	pod, path := b.realPaths(path, r, reply)
	b.opened.Store(true)
	if !b.isOver(path) {
		b.devices.note(st.Dev, pod)
	}
	w, fd, err := b.anon.New(tag("p", st))
	if err != nil {
		return answer{}, err
	}
	defer unix.Close(w)
	if err := writeAll(w, named(path)); err != nil {
		unix.Close(fd)
		return answer{}, err
	}
	anonfile.Seal(w)
	return descriptor(anonfile.PlaceOnly(fd), false), nil
}

// named is a path as it stands at the beginning of what a descriptor of a directory or place holds: u16 length, bytes.
func named(path string) []byte {
	return append(binary.LittleEndian.AppendUint16(nil, uint16(len(path))), path...)
}

// podDevice marks the numbers of the pod's devices, which this machine has, too: who compares two files by device and inode must not take one of the pod for one
// of this machine. Linux's own have 32 bits; this one is of the major number, so that statx has it as well.
const podDevice = 1 << 44

// devices are the pod's file systems by the number of their device: a path on each, for a descriptor does not tell its own.
type devices struct {
	mu    sync.Mutex
	paths map[uint64]string
}

// maxDevices bounds what is kept: a pod has some dozens.
const maxDevices = 4096

func (d *devices) note(dev uint64, path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.paths == nil || len(d.paths) >= maxDevices {
		d.paths = map[uint64]string{}
	}
	d.paths[dev] = path
}

// fstatfs is statfs of the file system on which a descriptor's file is: of a path there, or if that has gone of a folder above it that is there, too.
func (b *Broker) fstatfs(m *frame.DeviceRequest) answer {
	dev := m.Dev &^ podDevice
	b.devices.mu.Lock()
	p, ok := b.devices.paths[dev]
	b.devices.mu.Unlock()
	if !ok { // never looked at for reading
		return local
	}
	for {
		r, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: p, NoFollow: true})
		switch {
		case err == nil && r.Stat != nil && r.Stat.Dev == dev && r.Stat.Mode&unix.S_IFMT != unix.S_IFLNK:
			if r, err = b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStatfs, Path: p}); err == nil {
				return statfsReply(r)
			}
			return failure(errnoOf(err, unix.EIO))
		case err != nil && errnoOf(err, unix.EIO) != unix.ENOENT && errnoOf(err, unix.EIO) != unix.ENOTDIR:
			return failure(errnoOf(err, unix.EIO))
		case p == "/":
			return local
		}
		p = path.Dir(p)
	}
}
