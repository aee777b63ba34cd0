package sip

import "debug/elf"

// machine is what programs must be built for: the layer is.
const machine = elf.EM_AARCH64

// arch is what this machine is called.
const arch = "arm64"
