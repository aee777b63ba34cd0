package wire

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestImpossible(t *testing.T) {
	for _, tt := range []struct {
		c    Change
		want error
	}{
		{Change{}, unix.ENOSYS},
		{Change{Kind: ChangeMknod + 1}, unix.ENOSYS},
		{Change{Kind: ChangeUnlink}, nil},
		{Change{Kind: ChangeMknod, Mode: unix.S_IFDIR | 0o755}, unix.EPERM},
		{Change{Kind: ChangeMknod, Mode: unix.S_IFIFO | 0o600}, nil},
		{Change{Kind: ChangeTruncate, Size: -1}, unix.EINVAL},
		{Change{Kind: ChangeTruncate}, nil},
		{Change{Kind: ChangeRename, Flags: NoReplace | Exchange}, unix.EINVAL},
		{Change{Kind: ChangeRename, Flags: Exchange}, nil},
		{Change{Kind: ChangeSymlink}, unix.ENOENT},
		{Change{Kind: ChangeSymlink, Other: strings.Repeat("x", 4096)}, unix.ENAMETOOLONG},
		{Change{Kind: ChangeSymlink, Other: strings.Repeat("x", 4095)}, nil},
	} {
		if got := tt.c.Impossible(); got != tt.want {
			t.Errorf("%.100v: %v, not %v", tt.c, got, tt.want)
		}
	}
}
