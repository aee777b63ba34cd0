package sip

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml/ast"

	"mirrord/codesign/macho"
)

// describer reads a description:
//
//	mac:   {os: "15.5", arch: arm64, rosetta: true, sip: true, affinity: x86_64, case_sensitive: true}
//	probes: {arm64: true, x86_64: false} // whether copies of such slices were seen to run
//	user:  {uid: 501, gid: 20}
//	cwd:   /Users/ann/shop
//	env:   {PATH: "/opt/homebrew/bin:/usr/bin:/bin"}
//	developer_dir: /Library/Developer/CommandLineTools
//	files: PATH → one of
//	    {link: TARGET}  {folder: true}  {script: TEXT}  {file: NAME}  {macho: {…}}
//	  with mode ("0755"), uid, gid, restricted (SF_RESTRICTED)
//	macho: {slices: [x86_64, {arch: arm64, …}], platform: macos, platform_byte: 15, flags: [runtime], entitlements: {NAME: true},
//	        libraries: [PATH], restrict_segment: true, encrypted: true, unsigned: true}; a slice takes what it does not say itself from the whole
type describer struct {
	reader
	d      *Described
	folder string              // where relative names of this machine's files start
	keys   map[string]ast.Node // of what is described, by its path
	taken  map[string]bool     // their paths as d finds them
}

var (
	archNames     = map[string]string{"arm64": "arm64", "x86_64": "x86_64"}
	platformNames = map[string]uint32{"macos": macho.PlatformMacOS, "catalyst": macho.PlatformMacCatalyst, "ios": macho.PlatformIOS}
	flagNames     = map[string]uint32{
		"adhoc": 0x2, "get-task-allow": 0x4, "hard": 0x100, "kill": 0x200, "restrict": FlagRestrict, "enforcement": 0x1000,
		"library-validation": FlagLibraryValidation, "runtime": FlagRuntime, "linker-signed": 0x20000,
	}
)

// parseHost reads the text of a description. With faults the host is not to be used.
func parseHost(raw []byte, folder string) (*Described, []Fault) {
	d := &Described{
		system:  System{Kernel: Darwin, Arch: "arm64", SIP: true, Cwd: "/"},
		who:     Creds{501, 20},
		entries: map[string]*entry{"/": {folder: true}},
	}
	p := &describer{d: d, folder: folder, keys: map[string]ast.Node{}, taken: map[string]bool{}}
	for _, name := range []string{"/tmp", "/var", "/etc"} {
		d.add(name, &entry{link: "private" + name})
		d.add("/private"+name, &entry{folder: true})
	}
	root := p.document(raw)
	if root == nil || p.mapping(root, "the file") == nil {
		return nil, p.sorted()
	}
	var places []func() // where things are depends on the volume, which may be described after them
	p.fields(root, "the file", map[string]func(ast.Node){
		"mac":    p.mac,
		"user":   p.user,
		"cwd":    func(n ast.Node) { d.system.Cwd = p.path(n, "cwd") },
		"env":    p.env,
		"probes": p.probes,
		"developer_dir": func(n ast.Node) {
			e := &entry{link: p.path(n, "developer_dir")}
			places = append(places, func() { p.place(n, developerLink, e) })
		},
		"files": func(n ast.Node) { places = append(places, func() { p.each(n, "files", p.file) }) },
	})
	for _, place := range places {
		place()
	}
	if d.system.Version == "" {
		p.fault(root, `it is mac: {os: "15.5", …}`, "the version of macOS is missing")
	}
	for name, n := range p.keys {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if above := d.entries[d.key(dir)]; above != nil && !above.folder {
				p.fault(n, "name it by the path without symbolic links", "%s is not a folder, so nothing can be below it", dir)
			}
		}
	}
	return d, p.sorted()
}

func (p *describer) mac(n ast.Node) {
	s := &p.d.system
	p.fields(n, "mac", map[string]func(ast.Node){
		"os": func(n ast.Node) {
			s.Version = p.text(n, "os")
			if strings.Trim(s.Version, "0123456789.") != "" {
				p.fault(n, "", "os must be a version such as 15.5, not %q", s.Version)
			}
		},
		"arch":           func(n ast.Node) { s.Arch = choice(&p.reader, n, "arch", archNames) },
		"affinity":       func(n ast.Node) { s.Affinity = choice(&p.reader, n, "affinity", archNames) },
		"case_sensitive": func(n ast.Node) { p.d.sensitive = p.boolean(n, "case_sensitive") },
		"rosetta":        func(n ast.Node) { s.Rosetta = p.boolean(n, "rosetta") },
		"sip":            func(n ast.Node) { s.SIP = p.boolean(n, "sip") },
	})
	if s.Arch == "x86_64" && s.Rosetta {
		p.fault(n, "", "a Mac of architecture x86_64 has no Rosetta")
	}
}

func (p *describer) probes(n ast.Node) {
	s := &p.d.system
	s.Probes = map[string]bool{}
	readers := map[string]func(ast.Node){}
	for strategy := range archNames {
		readers[strategy] = func(n ast.Node) { s.Probes[strategy] = p.boolean(n, strategy) }
	}
	p.fields(n, "probes", readers)
}

func (p *describer) user(n ast.Node) {
	p.fields(n, "user", map[string]func(ast.Node){
		"uid": func(n ast.Node) { p.d.who.UID = int(p.number(n, "uid", 1<<32-1)) },
		"gid": func(n ast.Node) { p.d.who.GID = int(p.number(n, "gid", 1<<32-1)) },
	})
}

func (p *describer) env(n ast.Node) {
	p.each(n, "env", func(key, value ast.Node, name string) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			p.fault(key, "", "%q cannot be the name of a variable", name)
		}
		p.d.system.Env = append(p.d.system.Env, name+"="+p.text(value, "a variable"))
	})
	slices.Sort(p.d.system.Env)
}

// place puts e at the path name, which n says.
func (p *describer) place(n ast.Node, name string, e *entry) {
	clean := path.Clean(name)
	for _, link := range []string{"/tmp", "/var", "/etc"} {
		if key := p.d.key(clean); key == link || strings.HasPrefix(key, link+"/") {
			clean = "/private" + clean
		}
	}
	switch {
	case !strings.HasPrefix(name, "/") || clean == "/" || len(clean) > maxPath || strings.ContainsRune(clean, 0):
		p.fault(n, "", "%q is not an absolute path of a file", name)
		return
	case p.taken[p.d.key(clean)]:
		p.fault(n, "", "%s is described twice", clean)
		return
	}
	p.keys[clean], p.taken[p.d.key(clean)] = n, true
	p.d.add(clean, e)
}

func (p *describer) file(key, value ast.Node, name string) {
	if p.mapping(value, "a file") == nil {
		return
	}
	e := &entry{mode: 0o755}
	var kinds []string
	is := func(kind string, read func(ast.Node)) func(ast.Node) {
		return func(n ast.Node) { kinds = append(kinds, kind); read(n) }
	}
	p.fields(value, "a file", map[string]func(ast.Node){
		"link": is("link", func(n ast.Node) {
			if e.link = p.text(n, "link"); e.link == "" || len(e.link) > maxPath {
				p.fault(n, "", "link must be a path")
			}
		}),
		"folder": is("folder", func(n ast.Node) { e.folder = p.boolean(n, "folder") }),
		"script": is("script", func(n ast.Node) { e.script = []byte(p.text(n, "script")) }),
		"file": is("file", func(n ast.Node) {
			if e.onDisk = p.text(n, "file"); e.onDisk == "" {
				p.fault(n, "", "file must be the name of a file of this machine")
			} else if !filepath.IsAbs(e.onDisk) {
				e.onDisk = filepath.Join(p.folder, e.onDisk)
			}
		}),
		"macho": is("macho", func(n ast.Node) { e.image = p.image(n) }),
		"mode":  func(n ast.Node) { e.mode = uint32(p.number(n, "mode", 0o7777)) },
		"uid":   func(n ast.Node) { e.uid = int(p.number(n, "uid", 1<<32-1)) },
		"gid":   func(n ast.Node) { e.gid = int(p.number(n, "gid", 1<<32-1)) },
		"restricted": func(n ast.Node) {
			if p.boolean(n, "restricted") {
				e.flags |= sfRestricted
			}
		},
	})
	if len(kinds) != 1 {
		p.fault(key, "it has one of link, folder, script, file and macho", "%s must be one thing", name)
	}
	e.mode |= syscall.S_IFREG
	p.place(key, name, e)
}

// image reads the description of a Mach-O file. What is said of the whole holds for every slice that does not say otherwise.
func (p *describer) image(n ast.Node) *Image {
	whole := Slice{Platform: macho.PlatformMacOS}
	var slicesNode ast.Node
	readers := p.slice(&whole)
	readers["slices"] = func(n ast.Node) { slicesNode = n }
	p.fields(n, "macho", readers)
	image := &Image{}
	if slicesNode == nil {
		p.fault(n, "slices: [x86_64, arm64e]", "a Mach-O file has slices")
		return image
	}
	p.list(slicesNode, "slices", func(n ast.Node) {
		s := whole
		if _, ok := text(n); ok {
			p.arch(n, &s)
		} else {
			named := false
			readers := p.slice(&s)
			readers["arch"] = func(n ast.Node) { named = true; p.arch(n, &s) }
			p.fields(n, "a slice", readers)
			if !named {
				p.fault(n, "", "a slice has an arch")
			}
		}
		image.Slices = append(image.Slices, s)
	})
	for _, s := range image.Slices {
		if s.Unsigned && (s.Flags != 0 || s.PlatformByte != 0 || s.Entitlements != nil) {
			p.fault(n, "leave out unsigned, or the others", "what is unsigned has no flags, platform_byte or entitlements")
		}
	}
	if len(image.Slices) == 0 {
		p.fault(slicesNode, "", "a Mach-O file has at least one slice")
	}
	return image
}

func (p *describer) arch(n ast.Node, s *Slice) {
	s.Arch = choice(&p.reader, n, "architecture", macho.Archs())
}

func (p *describer) slice(s *Slice) map[string]func(ast.Node) {
	return map[string]func(ast.Node){
		"unsigned":         func(n ast.Node) { s.Unsigned = p.boolean(n, "unsigned") },
		"platform":         func(n ast.Node) { s.Platform = choice(&p.reader, n, "platform", platformNames) },
		"platform_byte":    func(n ast.Node) { s.PlatformByte = uint8(p.number(n, "platform_byte", 255)) },
		"restrict_segment": func(n ast.Node) { s.RestrictSegment = p.boolean(n, "restrict_segment") },
		"encrypted":        func(n ast.Node) { s.Encrypted = p.boolean(n, "encrypted") },
		"flags": func(n ast.Node) {
			s.Flags = 0
			p.list(n, "flags", func(n ast.Node) { s.Flags |= choice(&p.reader, n, "flag", flagNames) })
		},
		"entitlements": func(n ast.Node) {
			s.Entitlements = map[string]bool{}
			p.each(n, "entitlements", func(_, value ast.Node, name string) {
				b, ok := value.(*ast.BoolNode)
				s.Entitlements[name] = ok && b.Value
			})
		},
		"libraries": func(n ast.Node) {
			s.Libraries = nil
			p.list(n, "libraries", func(n ast.Node) { s.Libraries = append(s.Libraries, p.text(n, "a library")) })
		},
	}
}
