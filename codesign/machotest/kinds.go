package machotest

// File is one that has a name.
type File struct {
	Name  string
	Bytes []byte
}

// Kinds are files of every kind that programs come as, and some that no system takes. Tests that have a row for each of them notice a new one.
func Kinds() []File {
	const allow = "com.apple.security.cs.allow-dyld-environment-variables"
	granted := map[string]any{allow: true, "com.apple.security.cs.disable-library-validation": true, "com.apple.private.tcc.allow": []any{"kTCCServiceAll"}}
	denied := map[string]any{allow: false}
	apple := Signature{Identifier: "com.apple.fixture", Platform: 16, CMS: []byte("certificates"), Constraints: map[uint32][]byte{SlotSelf: DER(map[string]any{"ccat": int64(0)})}}
	hardened := Signature{Flags: FlagRuntime, Team: "TEAM123456", Version: 0x20500, CMS: []byte("certificates")}
	entitled := hardened
	entitled.Entitlements, entitled.DER = XML(granted), DER(granted)
	unentitled := hardened
	unentitled.Entitlements, unentitled.DER = XML(denied), DER(denied)
	arch := func(a Arch) Image { return Image{Arch: a} }
	wide := LinkerSigned
	wide.PageShift = 14
	file := func(name string, i Image) File { return File{name, i.Bytes()} }
	return []File{
		file("unsigned", Image{}),
		file("unsigned x86_64", arch(X86_64)),
		file("linker-signed", Image{}.With(LinkerSigned)),
		file("x86_64h", arch(X86_64h).With(LinkerSigned)),
		file("arm64v8", arch(ARM64v8).With(LinkerSigned)),
		file("arm64e", arch(ARM64e).With(LinkerSigned)),
		file("arm64e before versions", arch(OldARM64e).With(LinkerSigned)),
		file("arm64e.v1", arch(ARM64eV1).With(LinkerSigned)),
		file("arm64e.x1", arch(ARM64eX1).With(LinkerSigned)),
		file("hardened", Image{}.With(hardened)),
		file("hardened, entitled", Image{}.With(entitled)),
		file("hardened, entitled to false", Image{}.With(unentitled)),
		file("restrict", Image{}.With(Signature{Flags: FlagRestrict})),
		file("library validation", Image{}.With(Signature{Flags: FlagLibraryValidation})),
		file("Apple's", arch(ARM64e).With(apple)),
		file("pages of 16 KiB", Image{}.With(wide)),
		file("no pages", Image{}.With(Signature{NoPages: true})),
		file("SHA-1 and SHA-256", arch(X86_64).With(Signature{Version: 0x20100, Hashes: []uint8{SHA1, SHA256}})),
		file("SHA-1 alone", arch(X86_64).With(Signature{Version: 0x20001, Hashes: []uint8{SHA1}})),
		file("SHA-384", Image{}.With(Signature{Hashes: []uint8{SHA384}})),
		file("__RESTRICT", arch(X86_64).With(Signature{}).restricted()),
		file("Info.plist", Image{Info: "<plist/>"}.With(Signature{})),
		file("relative paths", Image{Rpaths: []string{"@loader_path/../lib", "@executable_path", "/usr/lib"}, Libraries: []Library{
			{Path: "@executable_path/../a.dylib"}, {Path: "@rpath/b.dylib", Kind: LoadWeakDylib}, {Path: "/usr/lib/libSystem.B.dylib"}}}.With(LinkerSigned)),
		file("duplicate rpath", Image{Rpaths: []string{"/a", "/a"}}),
		file("duplicate library", Image{Libraries: []Library{{Path: "/usr/lib/libSystem.B.dylib"}, {Path: "/usr/lib/libSystem.B.dylib"}}}),
		file("no UUID", Image{NoUUID: true}),
		file("for Mac Catalyst", Image{Build: Build{Platform: 6}}.With(LinkerSigned)),
		file("for iOS", Image{Build: Build{Platform: 2}}.With(LinkerSigned)),
		file("no build version", Image{Build: Build{None: true}}.With(LinkerSigned)),
		file("chained fixups", Image{Fixups: pointers(Pointer64Offset)}.With(LinkerSigned)),
		file("chained fixups of arm64e", Image{Arch: ARM64e, Fixups: pointers(PointerARM64eUserland24)}.With(LinkerSigned)),
		file("dylib", Image{Kind: Dylib}.With(LinkerSigned)),
		file("bundle", Image{Kind: Bundle}.With(LinkerSigned)),
		file("object", Image{Kind: Object}),
		file("no room", Image{NoRoom: true}),
		file("no room, signed", Image{NoRoom: true}.With(LinkerSigned)),
		file("encrypted", Image{Encrypted: true}.With(LinkerSigned)),
		file("bytes at the end", Image{Trailing: 9}),
		{"fat", Fat(arch(X86_64).Bytes(), Image{}.With(LinkerSigned).Bytes())},
		{"fat, Apple's", Fat(arch(X86_64).With(apple).Bytes(), arch(ARM64e).With(apple).Bytes(), arch(ARM64eX1).With(apple).Bytes())},
		{"fat, x86_64 twice", Fat(arch(X86_64).Bytes(), arch(X86_64).Bytes())},
		{"fat64", Fat64(arch(X86_64).Bytes(), Image{}.With(LinkerSigned).Bytes())},
	}
}

func (i Image) restricted() Image {
	i.Restrict = true
	return i
}

// pointers are fixups of each sort that the format has.
func pointers(format uint16) *Fixups {
	f := &Fixups{format, []Pointer{{At: 0, Symbol: "_open"}, {At: 16, Target: 0x1000, High: 0x80}, {At: 4096, Symbol: "_close"}}}
	if f.arm64e() {
		f.Pointers = append(f.Pointers, Pointer{At: 32, Symbol: "_open", Auth: true}, Pointer{At: 48, Target: 0x1000, Auth: true, Key: 2, Address: true, Salt: 0x6ae1})
	}
	return f
}
