package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// Input is all that the rules are made of. Paths are absolute; an empty one, or "/", says nothing.
type Input struct {
	Mode                                 string   // "read", "write", "overlay", "local" or "localwithoverrides", as in feature.fs.mode
	NotFound, ReadWrite, ReadOnly, Local []string // the user's patterns

	Home        string
	TempDir     string
	Cwd         string   // the working directory of the program
	ProjectRoot string   // what ProjectRoot found
	Executable  string   // the program
	LocalDirs   []string // further folders that are local with all they hold: of script and interpreter, of the layer's library

	Names, Outgoing, Incoming, IgnoreLocalhost bool
	LocalCerts                                 bool // the pod has no certificates of authorities
	AskBind                                    bool // some ports are bound elsewhere than they were asked for
	UDP, NoIPv6                                bool
	UnixStreams                                []string // the user's patterns of Unix sockets

	Hostname string       // the pod's, at most MaxHostname bytes; empty when it stays this machine's
	RelayNet netip.Prefix // IPv4: the addresses of the broker's relay sockets; the zero value matches none
}

// Compile makes the rules file. The error of a user's pattern is a *PatternError.
func Compile(in Input) ([]byte, error) {
	page := make([]byte, PageSize)
	copy(page, magic)
	if len(in.Hostname) > MaxHostname {
		return nil, fmt.Errorf("the host name %.20q… has %d bytes (at most %d)", in.Hostname, len(in.Hostname), MaxHostname)
	}
	copy(page[offHostname:], in.Hostname)
	if err := putRelayNet(page, in.RelayNet); err != nil {
		return nil, err
	}
	actions, ok := modes[in.Mode]
	if !ok {
		return nil, fmt.Errorf("unknown mode %q of files", in.Mode)
	}
	for c, a := range actions {
		page[offActions+2*c], page[offActions+2*c+1] = byte(a[0]), byte(a[1])
	}
	for c, w := range writes[in.Mode] {
		if class(c) != userReadWrite || len(in.ReadWrite) > 0 {
			page[offWrites+c] = byte(w)
		}
	}
	binary.LittleEndian.PutUint32(page[offFlags:], uint32(in.flags()))

	automata, err := in.automata()
	if err != nil {
		return nil, err
	}
	page = appendAutomata(page, offAutomata, automata)
	streams, err := compileList(in.UnixStreams, 1, maxStreams)
	if err != nil {
		return nil, fmt.Errorf("unix_streams: %w", err)
	}
	page = appendAutomata(page, offStreams, streams)
	binary.LittleEndian.PutUint32(page[offSize:], uint32(len(page)))
	return page, nil
}

// appendAutomata notes where each begins in the list at offset list.
func appendAutomata(page []byte, list int, automata []*automaton) []byte {
	for i, a := range automata {
		for len(page)%8 != 0 {
			page = append(page, 0)
		}
		binary.LittleEndian.PutUint32(page[list+4*i:], uint32(len(page)))
		page = a.append(page)
	}
	return page
}

// modes holds, by class, what reading and writing does. A write to a remote path is asked of the broker where it may have to be refused
// because the pod has the file; the default exceptions (/etc/hosts) are for reading only.
var modes = map[string][8][2]Action{
	"read": fromPod, "write": fromPod, "overlay": fromPod,
	"localwithoverrides": {
		userNotFound: {NotFound, NotFound}, userReadWrite: {Remote, Remote}, userReadOnly: {Remote, Remote}, userLocal: {Local, Local},
		defaultNotFound: {NotFound, NotFound}, defaultRemote: {Remote, Local}, defaultLocal: {Local, Local}, modeDefault: {Local, Local},
	},
	"local": {}, // all local
}

// writes holds, by class, what becomes of writing where the broker is asked about it.
var writes = map[string][8]Writes{
	"read":               {userReadWrite: Through},
	"localwithoverrides": {userReadWrite: Through},
	"write":              {userReadWrite: Through, modeDefault: Through},
	"overlay":            {userReadWrite: Through, userReadOnly: Over, modeDefault: Over},
}

var fromPod = [8][2]Action{
	userNotFound: {NotFound, NotFound}, userReadWrite: {Remote, Remote}, userReadOnly: {Remote, Remote}, userLocal: {Local, Local},
	defaultNotFound: {NotFound, NotFound}, defaultRemote: {Remote, Local}, defaultLocal: {Local, Local}, modeDefault: {Remote, Remote},
}

func (in Input) flags() Flags {
	flags := Flags(0)
	for flag, on := range map[Flags]bool{
		Files: in.Mode != "local", Names: in.Names, Outgoing: in.Outgoing, Incoming: in.Incoming,
		Hostname: in.Hostname != "", IgnoreLocalhost: in.IgnoreLocalhost, AskBind: in.AskBind,
		UDP: in.UDP, NoIPv6: in.NoIPv6, Unix: len(in.UnixStreams) > 0,
		Relative: in.Mode != "local" && len(in.NotFound)+len(in.ReadWrite)+len(in.ReadOnly) > 0,
	} {
		if on {
			flags |= flag
		}
	}
	return flags
}

// putRelayNet writes the network so that an address is in it when address&mask == net. The zero prefix becomes one that no address is in.
func putRelayNet(page []byte, p netip.Prefix) error {
	net, mask := ^uint32(0), uint32(0)
	if p.IsValid() {
		if !p.Addr().Is4() {
			return fmt.Errorf("the relay network %v is not IPv4", p)
		}
		a := p.Masked().Addr().As4()
		net, mask = binary.BigEndian.Uint32(a[:]), uint32(^uint64(0)<<(32-p.Bits()))
	}
	binary.LittleEndian.PutUint32(page[RelayNet:], net)
	binary.LittleEndian.PutUint32(page[RelayNet+4:], mask)
	return nil
}

func (in Input) automata() ([]*automaton, error) {
	if in.Mode == "local" {
		return nil, in.checkPatterns()
	}
	places, err := in.places()
	if err != nil {
		return nil, err
	}
	automata := []*automaton{places, defaultNames()}
	lists := in.patterns()
	for i, user := range lists {
		room := maxAutomata - len(automata) - (len(lists) - 1 - i) // the lists after this one may need one each
		compiled, err := compileList(user.patterns, 1<<user.class, room)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", user.key, err)
		}
		automata = append(automata, compiled...)
	}
	return automata, nil
}

// compileList makes as few automata as it can, at most room (from 1): what is too complex for one may fit into two.
func compileList(patterns []string, mask uint32, room int) ([]*automaton, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	a, err := compilePatterns(patterns, mask)
	if err == nil {
		return []*automaton{a}, nil
	}
	if !errors.Is(err, errComplex) || room == 1 || len(patterns) == 1 {
		return nil, err
	}
	half := len(patterns) / 2
	first, err := compileList(patterns[:half], mask, room/2)
	if err != nil {
		return nil, err
	}
	rest, err := compileList(patterns[half:], mask, room-len(first))
	return append(first, rest...), err
}

type userPatterns struct {
	key      string
	class    class
	patterns []string
}

func (in Input) patterns() []userPatterns {
	return []userPatterns{{"not_found", userNotFound, in.NotFound}, {"read_write", userReadWrite, in.ReadWrite}, {"read_only", userReadOnly, in.ReadOnly}, {"local", userLocal, in.Local}}
}

// checkPatterns is for the mode that needs no automata: a wrong pattern is wrong there too.
func (in Input) checkPatterns() error {
	for _, user := range in.patterns() {
		for _, p := range user.patterns {
			if err := CheckPattern(p); err != nil {
				return fmt.Errorf("%s: %w", user.key, err)
			}
		}
	}
	return nil
}

// places is the automaton of everything that is known by its beginning.
func (in Input) places() (*automaton, error) {
	var t trie
	for _, dir := range localDirs {
		t.below(dir, defaultLocal)
	}
	for _, dir := range platformDirs {
		t.below(dir, defaultLocal)
	}
	for _, p := range remoteFiles {
		if p != certs || !in.LocalCerts {
			t.below(p, defaultRemote)
		}
	}
	t.exactly("/", defaultLocal)

	own := []struct{ name, dir string }{
		{"home folder", in.Home}, {"temporary folder", in.TempDir}, {"working directory", in.Cwd}, {"project", in.ProjectRoot},
	}
	for _, dir := range in.LocalDirs {
		own = append(own, struct{ name, dir string }{"local folder", dir})
	}
	for _, place := range own {
		dir, err := clean(place.name, place.dir)
		if err != nil {
			return nil, err
		}
		t.below(dir, defaultLocal)
		t.leadingTo(dir, defaultLocal)
	}
	exe, err := clean("program", in.Executable)
	if err != nil {
		return nil, err
	}
	t.exactly(exe, defaultLocal)
	t.leadingTo(exe, defaultLocal)
	if in.Home != "" {
		home := path.Clean(in.Home)
		t.beginning(strings.TrimSuffix(home, "/")+"/.", defaultLocal) // also where home is "/"
		for _, name := range notFoundInHome {
			t.below(path.Join(home, name), defaultNotFound)
		}
	}
	a := t.compile()
	if len(a.accept) > maxStates {
		return nil, errors.New("the paths that are local by default are too long together")
	}
	return a, nil
}

// clean normalises a path of the input.
func clean(name, p string) (string, error) {
	if p == "" {
		return "", nil
	}
	if !path.IsAbs(p) {
		return "", fmt.Errorf("the %s %q is not an absolute path", name, p)
	}
	return path.Clean(p), nil
}
