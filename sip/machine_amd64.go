package sip

import "debug/elf"

// machine is what programs must be built for: the layer is.
const machine = elf.EM_X86_64

// arch is what this machine is called.
const arch = "x86_64"
