//go:build linux

package supervise

import (
	"golang.org/x/sys/unix"

	"mirrord/layer/frame"
)

// legacy adds the calls that newer machines do not have.
func legacy(all map[uint32]entry) {
	all[unix.SYS_RENAMEAT] = pair(plain(frame.Rename), place{0, 1}, place{2, 3})
}
