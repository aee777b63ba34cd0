package sip

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Bounds of the closed world.
const (
	maxLinks = 32 // MAXSYMLINKS of xnu
	maxPath  = 1024
)

// Described is a Mac that a file describes, as a closed world: what the description does not name does not exist, whatever there is on this
// machine. Folders of what it names exist, and /tmp, /var and /etc lead into /private. As APFS does unless it is told otherwise, it keeps the case
// of names, and finds them by any.
type Described struct {
	system    System
	who       Creds
	sensitive bool              // to the case of names
	entries   map[string]*entry // by key of the path without "." and ".."; folders included
}

// entry is what is at a path.
type entry struct {
	name     string // as it is kept, without its folder
	folder   bool
	link     string // target; "" when it is no symbolic link
	script   []byte // content, when image and onDisk are not set
	image    *Image
	onDisk   string // a file of this machine, read when it is asked for
	mode     uint32
	uid, gid int
	flags    uint32
}

// key is by what the entry of a path is found.
func (d *Described) key(path string) string {
	if d.sensitive {
		return path
	}
	return strings.ToLower(path)
}

// System is what the description says.
func (d *Described) System() System { return d.system }

// resolve follows p, absolute, to what it names. In the end real is the path without symbolic links. follow is for the last component.
func (d *Described) resolve(p string, follow bool) (real string, e *entry, errno syscall.Errno) {
	if len(p) > maxPath {
		return "", nil, syscall.ENAMETOOLONG
	}
	if !strings.HasPrefix(p, "/") {
		return "", nil, syscall.ENOENT
	}
	real, e = "/", d.entries["/"]
	rest := p
	for links := 0; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return real, e, 0
		}
		name, after, more := strings.Cut(rest, "/")
		rest = after
		if !e.folder {
			return "", nil, syscall.ENOTDIR
		}
		switch name {
		case ".":
			continue
		case "..":
			real = path.Dir(real)
			e = d.entries[d.key(real)]
			continue
		}
		found := d.entries[d.key(path.Join(real, name))]
		if found == nil {
			return "", nil, syscall.ENOENT
		}
		if found.link == "" || !follow && strings.Trim(rest, "/") == "" {
			real, e = path.Join(real, found.name), found
			if more && !e.folder && e.link == "" {
				return "", nil, syscall.ENOTDIR
			}
			continue
		}
		if links++; links > maxLinks {
			return "", nil, syscall.ELOOP
		}
		rest = found.link + "/" + rest
		if strings.HasPrefix(found.link, "/") {
			real, e = "/", d.entries["/"]
		}
		if !more {
			rest = found.link
		}
		if len(rest) > maxPath {
			return "", nil, syscall.ENAMETOOLONG
		}
	}
}

func (d *Described) readlink(p string) (string, bool) {
	_, e, errno := d.resolve(p, false)
	if errno != 0 || e.link == "" {
		return "", false
	}
	if !path.IsAbs(e.link) {
		return path.Join(path.Dir(p), e.link), true
	}
	return e.link, true
}

func (d *Described) exists(p string) bool {
	_, _, errno := d.resolve(p, true)
	return errno == 0
}

func (d *Described) look(p string) (*file, syscall.Errno) {
	real, e, errno := d.resolve(p, true)
	switch {
	case errno != 0:
		return nil, errno
	case e.folder || !d.executable(e):
		return nil, syscall.EACCES
	}
	f := &file{real: real, mode: e.mode, uid: e.uid, gid: e.gid, flags: e.flags}
	switch {
	case e.image != nil:
		f.format, f.image = formatBinary, e.image
	case e.onDisk != "":
		return f, readNamed(f, e.onDisk)
	default:
		f.script(e.script)
	}
	return f, 0
}

// executable is what the access check of an exec says.
func (d *Described) executable(e *entry) bool {
	switch {
	case d.who.UID == 0:
		return e.mode&0o111 != 0
	case d.who.UID == e.uid:
		return e.mode&0o100 != 0
	case d.who.GID == e.gid:
		return e.mode&0o010 != 0
	}
	return e.mode&0o001 != 0
}

// readNamed reads a file of this machine that stands for one of the Mac.
func readNamed(f *file, name string) syscall.Errno {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return errnoOf(err)
	case !info.Mode().IsRegular():
		return syscall.EACCES
	}
	r, err := os.Open(name)
	if err != nil {
		return errnoOf(err)
	}
	defer r.Close()
	return f.read(r, info.Size())
}

func (d *Described) privilege(_ string, f *file, caller *Creds) string {
	return setID(f, d.who, caller)
}

// add puts e at p, and the folders above it.
func (d *Described) add(p string, e *entry) {
	e.name = path.Base(p)
	d.entries[d.key(p)] = e
	for dir := path.Dir(p); d.entries[d.key(dir)] == nil; dir = path.Dir(dir) {
		d.entries[d.key(dir)] = &entry{name: path.Base(dir), folder: true}
	}
}

// ReadHost reads the description of a Mac. A *FileError has everything that is wrong with it. Relative names of files on this machine start
// at the description's folder.
func ReadHost(name string) (*Described, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDescription+1))
	if err != nil {
		return nil, err
	}
	d, faults := parseHost(raw, filepath.Dir(name))
	if len(faults) > 0 {
		return nil, &FileError{Path: name, Faults: faults}
	}
	return d, nil
}
