package sip

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"mirrord/codesign/macho"
)

// Entitlements that decide whether a hardened program takes libraries (developer.apple.com, "Hardened Runtime").
const (
	allowDyld   = "com.apple.security.cs.allow-dyld-environment-variables"
	disableLV   = "com.apple.security.cs.disable-library-validation"
	appleInside = "com.apple.private."
)

// needEntitlements are Apple's tools that are of no use without the entitlements that a copy loses, and what they are entitled to.
var needEntitlements = map[string]string{
	"/bin/launchctl":     "talk to launchd",
	"/usr/bin/log":       "read the system's log",
	"/usr/bin/open":      "have programs started by launchd",
	"/usr/bin/osascript": "control other programs",
	"/usr/bin/security":  "use the keychain",
	"/usr/bin/ssh-add":   "use the keychain",
	"/usr/bin/ssh-agent": "use the keychain",
	"/usr/sbin/dtrace":   "trace the system",
	"/usr/bin/codesign":  "use the keychain",
}

// buildTools work on this machine's files alone; only what they start may belong into the pod (git runs hooks, make runs anything).
var buildTools = strings.Fields(`ar as c++ cargo cc clang clang++ cmake compile dsymutil dlv g++ gcc git gmake go ld libtool link lipo make
	ninja nm ranlib rustc strip swift swiftc xcodebuild`)

// networkLibraries are those of the system whose own calls into the system pass no hook in native programs of Apple silicon: the shared cache
// of libraries has its calls of connect and socket resolved (dyld cache_builder/Optimizers.cpp).
var networkLibraries = []struct{ prefix, name string }{
	{"/usr/lib/libcurl.", "libcurl"},
	{"/System/Library/Frameworks/CFNetwork.framework/", "CFNetwork"},
	{"/System/Library/Frameworks/Network.framework/", "Network"},
}

// decideMac ends v, whose program f was reached as name. Order: what stands in for it, rights, what cannot be changed, protection, copy.
func (e *Engine) decideMac(r Request, v Verdict, name string, f *file) Verdict {
	privilege := e.host.privilege(v.Program, f, r.Caller)
	switch {
	case f.fault != nil:
		return v.refused(name, f.fault)
	case f.image == nil:
		v.Path = name
		v.outside(cmp.Or(privilege, "it may be executed but not read, so it is not known what it is"))
		v.end(r, name, f)
		return v
	}
	real := f.real
	to, ok := e.replace(r, v, f)
	if ok && r.turns < maxTurns && to.request.Path != "" {
		next := e.Decide(to.request)
		if next.Err == nil {
			if r.Trace {
				v.hop(Hop{Path: name, Real: f.differs(v.Program), Kind: Resolve, Reason: to.reason})
				next.Hops = append(v.Hops, next.Hops...)
			}
			next.Chain = append(v.Chain, next.Chain...)
			next.Edits = append(to.edits, next.Edits...)
			return next
		}
		to.missing = fmt.Sprintf("it will not find what it is to execute (%v)", next.Err)
	}
	v.Path, v.AskArgv = name, to.unknown
	sys := e.system()
	s := sys.runs(f.image)
	switch {
	case s == nil:
		archs := strings.Join(f.image.archs(), ", ")
		failed := &Error{Path: name, Errno: errBadArch, Why: "bad CPU type: it is built for " + archs + ", this Mac is " + sys.Arch}
		if sys.needsRosetta(f.image) {
			failed.Why = "bad CPU type: it is built for x86_64, and Rosetta is not installed"
			failed.Hint = "softwareupdate --install-rosetta"
		}
		return Verdict{Err: failed, Hops: v.Hops}
	case s.Fault != nil:
		return v.refused(name, s.Fault)
	case ok && to.outside != "":
		v.outside(to.outside)
	case privilege != "":
		v.outside(privilege)
	case needEntitlements[real] != "":
		v.outside("Apple entitles it to " + needEntitlements[real] + ", and a copy would not be")
	case path.Base(real) == "debugserver":
		v.outside("Apple entitles it to debug other programs, and a copy would not be")
	case s.Platform != macho.PlatformMacOS:
		v.outside("built for " + platformName(s.Platform) + ", which the layer is not")
	case s.Unsigned && s.Arch.CPU == macho.CPUARM64 && sys.SIP:
		v.outside("unsigned: the kernel ends native programs of Apple silicon without a signature at their start (codesign -s - FILE signs it)")
	case s.Arch.Preview() && s.PlatformByte == 0 && f.flags&sfRestricted == 0:
		v.outside("an arm64e program that is not of the system: the kernel ends it at its start (bsd/kern/kern_exec.c, preview ABI)")
	case s.Encrypted:
		v.outside("encrypted (from the App Store): it neither takes libraries nor can be copied")
	default:
		sys.strategy(&v, f, s, e.lists.light(path.Base(real)))
	}
	if to.missing != "" {
		v.Notes = append(v.Notes, to.missing)
	}
	v.end(r, name, f)
	if r.Trace && real == macEnv && to.missing == "" && v.Kind != Outside {
		v.Next = e.next(r, v.Argv, real)
	}
	return v
}

// end notes the program itself, reached as name, as the last file on the way.
func (v *Verdict) end(r Request, name string, f *file) {
	if r.Trace {
		v.hop(Hop{Path: name, Real: f.differs(v.Program), Kind: v.Kind, Slice: v.Slice, Light: v.Light, Reason: v.Reason, Notes: v.Notes})
	}
}

// refused is v's end: the kernel does not take the file at path.
func (v *Verdict) refused(path string, fault *Error) Verdict {
	failed := *fault
	failed.Path = path
	return Verdict{Err: &failed, Hops: v.Hops}
}

func (v *Verdict) outside(reason string) { v.Kind, v.Reason = Outside, reason }

// light says whether a program is one of those that only what they start matters of.
func (l Lists) light(name string) bool {
	return !l.AllBuild && (slices.Contains(buildTools, name) || slices.Contains(l.BuildTools, name))
}

// strategy decides between the program itself and a copy, either only followed when light is set. s is the slice that the kernel would run.
func (sys System) strategy(v *Verdict, f *file, s *Slice, light bool) {
	why, uncertain := protection(s, f, sys.SIP)
	if why != "" {
		c, refused := sys.copyOf(f.image)
		if c == nil {
			v.outside(why + "; " + refused)
			return
		}
		v.Kind, v.Slice, v.Light, v.Asked = Copy, c.Arch.String(), light, v.Program
		v.Reason = why + "; a copy of its " + v.Slice + " slice runs"
		if sys.Arch == "arm64" && c.Arch.CPU == macho.CPUX86_64 {
			v.Reason += " under Rosetta"
		}
		if app := bundle(f.real); app != "" {
			v.Notes = append(v.Notes, "the copy lies in a folder "+path.Base(app)+" with links to the original's Frameworks, Resources and Info.plist")
		}
		if lost := s.private(); len(lost) > 0 {
			v.Notes = append(v.Notes, "the copy loses what Apple entitles the original to: "+strings.Join(lost, ", "))
		}
		s = c
	} else {
		v.Kind = Inject
		if light {
			v.Kind = ExecOnly
		}
		switch {
		case uncertain:
			v.Reason = "signed as a part of the system, but not guarded"
			v.Notes = append(v.Notes, "not certain: it is known to be injected when it has reported, and a warning says so if it does not")
		case s.Flags&FlagRuntime != 0:
			v.Reason = "hardened, and entitled to be given libraries"
		default:
			v.Reason = "nothing protects it"
		}
		if s.Arch.Preview() { // with any other version of the ABI its keys are off, and it loads the plain library
			v.Variant = VariantARM64e
		}
	}
	if light {
		v.Notes = append(v.Notes, "a build tool: its own files and connections stay this machine's, what it starts is followed")
	}
	if lib := s.network(); lib != "" && sys.Arch == "arm64" && s.Arch.CPU == macho.CPUARM64 {
		v.Notes = append(v.Notes, "network of "+lib+" not covered: the system's own library makes the connections, beyond the reach of hooks in a native program")
	}
}

// setID says why the rights that a file gives its process would have dyld drop the layer, or "". It compares with the caller, as the kernel does: an
// exec that changes no id drops nothing. who executes when caller is nil.
func setID(f *file, who Creds, caller *Creds) string {
	if caller != nil {
		who = *caller
	}
	switch {
	case f.mode&syscall.S_ISUID != 0 && f.uid != who.UID:
		return reasonSetuid
	case f.mode&syscall.S_ISGID != 0 && f.gid != who.GID:
		return reasonSetgid
	}
	return ""
}

// protection says why the system would keep the layer out of slice s, or "". uncertain: it is not known whether it would.
func protection(s *Slice, f *file, sip bool) (why string, uncertain bool) {
	switch {
	case f.flags&sfRestricted != 0 && sip:
		return "System Integrity Protection guards it", false
	case s.RestrictSegment:
		return "its section __RESTRICT,__restrict keeps libraries out", false
	case s.Flags&FlagRestrict != 0:
		return "its signature has the flag restrict", false
	case s.Flags&FlagRuntime != 0 && !s.Entitlements[allowDyld]:
		if _, ok := s.Entitlements[allowDyld]; ok {
			return "hardened, and its entitlement to be given libraries is false", false
		}
		return "hardened, without the entitlement to be given libraries", false
	case s.Flags&(FlagRuntime|FlagLibraryValidation) != 0 && !s.Entitlements[disableLV]:
		return "takes only libraries of its own team (library validation)", false
	}
	return "", s.PlatformByte != 0 && sip
}

// runs is the slice that the kernel picks, nil when there is none.
func (sys System) runs(image *Image) *Slice {
	if sys.Arch == "x86_64" {
		return image.first(gradeIntel)
	}
	native, intel := image.first(gradeARM), (*Slice)(nil)
	if sys.Rosetta {
		intel = image.first(gradeRosetta)
	}
	if native == nil || intel != nil && sys.Affinity == "x86_64" {
		return intel
	}
	return native
}

// copyOf is the slice that a copy is made of, or why there is none. Arm64e slices are of use only with Apple's own signature; one that is
// converted to arm64 would come between the two that are tried here.
func (sys System) copyOf(image *Image) (*Slice, string) {
	tries := []*Slice{image.first(gradeIntel)}
	if sys.Arch == "arm64" {
		native, intel := image.first(gradePlain), image.first(gradeRosetta)
		tries = []*Slice{native, intel}
		if intel != nil && intel.network() != "" {
			tries = []*Slice{intel, native}
		}
	}
	refused := ""
	for _, s := range tries {
		switch {
		case s == nil || s.Fault != nil:
		case sys.Arch == "arm64" && s.Arch.CPU == macho.CPUX86_64 && !sys.Rosetta:
			refused = cmp.Or(refused, "it has no arm64 slice, and a copy of its x86_64 slice needs Rosetta, which is not installed (softwareupdate --install-rosetta)")
		case sys.failed(s):
			refused = cmp.Or(refused, "a copy of its "+s.Arch.String()+" slice was seen not to run on this Mac")
		default:
			return s, ""
		}
	}
	return nil, cmp.Or(refused, "a copy of an arm64e program is not let run, and it has no slice but "+strings.Join(image.archs(), ", "))
}

// failed says whether copies of such slices are known not to run.
func (sys System) failed(s *Slice) bool {
	strategy := "arm64"
	if s.Arch.CPU == macho.CPUX86_64 {
		strategy = "x86_64"
	}
	runs, known := sys.Probes[strategy]
	return known && !runs
}

func (sys System) needsRosetta(image *Image) bool {
	return sys.Arch == "arm64" && !sys.Rosetta && image.first(gradeRosetta) != nil
}

// network is the system's library through which the slice connects, "" when there is none.
func (s *Slice) network() string {
	for _, lib := range s.Libraries {
		for _, known := range networkLibraries {
			if strings.HasPrefix(lib, known.prefix) {
				return known.name
			}
		}
	}
	return ""
}

// private are the entitlements that only Apple gives, sorted.
func (s *Slice) private() []string {
	var names []string
	for name, granted := range s.Entitlements {
		if granted && strings.HasPrefix(name, appleInside) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// bundle is the application that a program is the executable of, or "".
func bundle(file string) string {
	if dir := path.Dir(file); strings.HasSuffix(dir, ".app/Contents/MacOS") {
		return strings.TrimSuffix(dir, "/Contents/MacOS")
	}
	return ""
}

func platformName(p uint32) string {
	switch p {
	case macho.PlatformMacCatalyst:
		return "Mac Catalyst"
	case macho.PlatformIOS:
		return "iOS"
	}
	return fmt.Sprintf("platform %d", p)
}
