package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/launcher/anonfile"
)

// Offsets in the first page of the rules file that the broker writes; everything is little-endian, as every machine is that we run on.
const (
	pageSize       = 4096
	pageMagic      = "MIRRORD\x01"
	offRelayNet    = 16
	offRelayMask   = 20
	offLiveDirs    = 24
	offLivePortsN  = 28
	offLiveLocal   = 96
	offLiveChanged = 124
	offLivePorts   = 512
	maxLivePorts   = 256
	rulesTag       = "mirrord:rules"
	maxRulesLength = 64 << 20
)

// page is the rules file in memory that all layers share. Their descriptors are read-only; the broker alone writes, a word at a time.
type page struct {
	fd  int // read-only, sent with every hello
	mem []byte
	mu  sync.Mutex // over live_ports
}

func newPage(rules []byte, network netip.Prefix, files anonfile.Maker) (*page, error) {
	if len(rules) < pageSize || len(rules) > maxRulesLength || string(rules[:len(pageMagic)]) != pageMagic {
		return nil, errors.New("the compiled rules are not a rules file")
	}
	w, r, err := files.New(rulesTag)
	if err != nil {
		return nil, fmt.Errorf("cannot make a file in memory for the rules: %w", err)
	}
	defer unix.Close(w)
	p := &page{fd: r}
	if err := writeAll(w, rules); err == nil {
		p.mem, err = unix.Mmap(w, 0, len(rules), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if p.mem == nil {
		unix.Close(r)
		return nil, fmt.Errorf("cannot write the rules to memory: %w", err)
	}
	anonfile.SealShared(w)
	if network.Addr().Is4() {
		a := network.Addr().As4()
		atomic.StoreUint32(p.word(offRelayNet), binary.BigEndian.Uint32(a[:]))
		atomic.StoreUint32(p.word(offRelayMask), ^uint32(0)<<(32-network.Bits()))
	}
	return p, nil
}

func (p *page) word(offset int) *uint32 { return (*uint32)(unsafe.Pointer(&p.mem[offset])) }

// directories says that descriptors of remote directories exist from now on.
func (p *page) directories() { atomic.StoreUint32(p.word(offLiveDirs), 1) }

// written says that another path of the pod is this machine's from now on.
func (p *page) written() { atomic.AddUint32(p.word(offLiveLocal), 1) }

// changed says that this session has changed the pod's files: what layers know of them may be wrong.
func (p *page) changed() { atomic.AddUint32(p.word(offLiveChanged), 1) }

// publish says that the program which listens on actual asked for requested. It reports false when the table is full.
func (p *page) publish(actual, requested uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry := uint32(actual) | uint32(requested)<<16
	n, free := int(atomic.LoadUint32(p.word(offLivePortsN))), -1
	for i := range n {
		switch atomic.LoadUint32(p.word(offLivePorts + 4*i)) {
		case entry:
			return true
		case 0:
			free = i
		}
	}
	if free < 0 {
		free = n
	}
	if free == maxLivePorts {
		return false
	}
	atomic.StoreUint32(p.word(offLivePorts+4*free), entry)
	atomic.StoreUint32(p.word(offLivePortsN), uint32(max(n, free+1)))
	return true
}

// withdraw undoes publish.
func (p *page) withdraw(actual, requested uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range int(atomic.LoadUint32(p.word(offLivePortsN))) {
		if w := p.word(offLivePorts + 4*i); atomic.LoadUint32(w) == uint32(actual)|uint32(requested)<<16 {
			atomic.StoreUint32(w, 0)
		}
	}
}

func (p *page) close() {
	unix.Munmap(p.mem)
	unix.Close(p.fd)
}
