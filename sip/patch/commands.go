package patch

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"strings"

	"mirrord/codesign/macho"
)

// rewrite makes the header and load commands of the copy, and as many zero bytes as cover those of the original.
func (c *Copy) rewrite(s *macho.Slice, o Options) ([]byte, error) {
	names := c.names(s, path.Dir(o.Path))
	head := slices.Clone(s.Head[:s.HeaderSize()])
	count := uint32(0)
	for i, command := range s.Commands {
		data := slices.Clone(command.Data)
		if new, ok := names[i]; ok && !o.KeepPaths {
			if new.drop {
				continue
			}
			data = rename(data, int(new.Offset-command.Offset), new.to)
		}
		if command.Kind == macho.LCSegment64 {
			c.unrestrict(data)
		}
		head = append(head, data...)
		count++
	}
	le := binary.LittleEndian
	le.PutUint32(head[16:], count)
	le.PutUint32(head[20:], uint32(int64(len(head))-s.HeaderSize()))
	more := int64(len(head) - len(s.Head))
	if more <= 0 {
		return append(head, make([]byte, -more)...), nil
	}
	if s.Signature == nil {
		more += 16 // LC_CODE_SIGNATURE
	}
	room, err := s.Room()
	if err != nil {
		return nil, err
	}
	if more > room {
		return nil, &RefusedError{Arch: c.Arch, Err: ErrNoRoom}
	}
	return head, nil
}

// name is what becomes of the string of a load command.
type name struct {
	macho.Name
	to   string
	drop bool // the load command is left out
}

// names gives what becomes of the load commands whose strings depend on where the program lies, by their index, and of what has to change with
// them: dyld refuses programs in which an rpath or a library occurs twice (from SDK 26 on). An rpath that does is left out. A library cannot be,
// since symbols name it by its number; it gets another spelling.
func (c *Copy) names(s *macho.Slice, dir string) map[int]name {
	all := map[int]name{}
	rpaths, libraries := map[string]bool{}, map[string]bool{}
	for _, n := range s.Names {
		libraries[n.Text] = true
	}
	for _, n := range s.Names {
		new := name{Name: n}
		relative := false
		switch n.Kind {
		case macho.LCLoadDylinker, macho.LCIDDylib, macho.LCIDDylinker:
			continue
		case macho.LCDyldEnvironment:
			new.to, relative = c.list(n.Text, dir)
		case macho.LCRPath:
			new.to, relative = absolute(n.Text, dir)
			new.drop = rpaths[new.to]
			rpaths[new.to] = true
		default:
			if searched, ok := strings.CutPrefix(n.Text, "@rpath/"); ok {
				c.Searched = append(c.Searched, searched)
			}
			new.to, relative = absolute(n.Text, dir)
			for relative && libraries[new.to] {
				at := strings.LastIndexByte(new.to, '/')
				new.to = new.to[:at] + "/" + new.to[at:]
			}
			libraries[new.to] = true
		}
		if relative && n.Kind != macho.LCDyldEnvironment {
			c.Paths = append(c.Paths, Path{Folder: n.Kind == macho.LCRPath, From: n.Text, To: new.to})
		}
		if relative || new.drop {
			all[n.Command] = new
		}
	}
	return all
}

// absolute gives a path that does not depend on where the program lies. dyld takes @executable_path and @loader_path for the folder of the
// program, and a path without a beginning for one in the current directory, which it refuses to programs that are protected: such a path is in
// the folder as well. What is to be looked for in rpaths stays. relative says whether it was another.
func absolute(file, dir string) (to string, relative bool) {
	rest := file
	if tail, ok := cutVariable(file); ok {
		rest = tail
	} else if file == "" || file[0] == '/' || file[0] == '@' {
		return file, false
	}
	// Only what stands before the first name is resolved: that may be a symbolic link.
	for {
		part, tail, _ := strings.Cut(rest, "/")
		switch {
		case part == "..":
			dir = path.Dir(dir)
		case part != "" && part != ".":
			return strings.TrimSuffix(dir, "/") + "/" + rest, true
		case rest == "":
			return dir, true
		}
		rest = tail
	}
}

// cutVariable cuts off the variables of dyld that stand for a program's folder.
func cutVariable(file string) (rest string, ok bool) {
	for _, variable := range []string{"@executable_path", "@loader_path"} {
		if rest, ok = strings.CutPrefix(file, variable); ok && (rest == "" || rest[0] == '/') {
			return rest, true
		}
	}
	return "", false
}

// list gives the value of LC_DYLD_ENVIRONMENT, NAME=PATH:PATH, with absolute paths, and notes those that were relative.
func (c *Copy) list(text, dir string) (to string, relative bool) {
	variable, value, ok := strings.Cut(text, "=")
	if !ok {
		return text, false
	}
	all := strings.Split(value, ":")
	for i, from := range all {
		// Other relative paths are the current directory's here.
		if _, ok := cutVariable(from); ok {
			all[i], relative = absolute(from, dir)
			c.Paths = append(c.Paths, Path{Folder: true, From: from, To: all[i]})
		}
	}
	return variable + "=" + strings.Join(all, ":"), relative
}

// rename makes a load command with another string, which begins at byte at. Commands of 64-bit files have multiples of 8 bytes.
func rename(data []byte, at int, text string) []byte {
	data = append(append(slices.Clone(data[:at]), text...), 0)
	data = append(data, make([]byte, -len(data)&7)...)
	binary.LittleEndian.PutUint32(data[4:], uint32(len(data)))
	return data
}

// unrestrict gives the section by which dyld knows programs that take no libraries another name (mach_o/UnsafeHeader.cpp, hasRestrictedSection).
func (c *Copy) unrestrict(segment []byte) {
	const head, each = 72, 80
	for at := head; at+each <= len(segment); at += each {
		if string(bytes.TrimRight(segment[at:at+16], "\x00")) == "__restrict" && string(bytes.TrimRight(segment[at+16:at+32], "\x00")) == "__RESTRICT" {
			copy(segment[at:], "__unrestrict")
			c.Restricted = true
		}
	}
}
