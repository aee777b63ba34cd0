package sip

import "debug/elf"

// machine is what programs must be built for: the layer is.
const machine = elf.EM_AARCH64
