package sip

import "mirrord/codesign/macho"

// macFacts is what a Mac says of itself, by its own names; what does not exist on a Mac is zero.
type macFacts struct {
	version, build string // kern.osproductversion ("15.5"), kern.osversion ("24F74")
	arm64          bool   // hw.optional.arm64: of the hardware, for translated processes too
	translated     bool   // sysctl.proc_translated: this process runs by Rosetta
	affinity       uint32 // kern.curproc_arch_affinity: a cputype that children inherit, 0 is none (system_cmds arch/arch.c clears it so)
	rosetta        bool   // its runtime is installed
	allowed        uint32 // csr_get_active_config: what System Integrity Protection is to let pass; 0 when the system does not say
}

// allowTaskForPID is CSR_ALLOW_TASK_FOR_PID (xnu bsd/sys/csr.h). It is the part of System Integrity Protection that dyld went by before AMFI did
// (dyld-519 dyld.cpp, configureProcessRestrictions): with it allowed, the flag that keeps libraries out of guarded programs says nothing.
const allowTaskForPID = 1 << 2

func (f macFacts) system() System {
	s := System{Kernel: Darwin, Version: f.version, Build: f.build, Arch: "x86_64", SIP: f.allowed&allowTaskForPID == 0}
	if f.arm64 || f.translated {
		s.Arch, s.Rosetta = "arm64", f.rosetta || f.translated
		if f.translated || f.affinity == macho.CPUX86_64 {
			s.Affinity = "x86_64"
		}
	}
	return s
}
