package broker

import (
	"bytes"
	"os"
	"strconv"
)

// umaskOf is the umask of a process, as /proc tells since Linux 4.7.
func umaskOf(pid int) (uint32, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(text, []byte("\nUmask:\t"))
	octal, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(octal), 8, 32)
	return uint32(mask), err == nil
}
