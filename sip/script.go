package sip

import "bytes"

// headSize is how much of a file the kernel looks at to know its format (BINPRM_BUF_SIZE, 256 since Linux 5.1).
const headSize = 256

// interpreterOf reads the "#!" line as the kernel does (fs/binfmt_script.c). head is the file's beginning, at most headSize bytes. ok is
// false when the kernel would answer ENOEXEC. hasArg tells an empty argument from none; the kernel never splits the argument.
func interpreterOf(head []byte) (name, arg string, hasArg, ok bool) {
	if len(head) < 2 || head[0] != '#' || head[1] != '!' {
		return "", "", false, false
	}
	var buf [headSize]byte // the kernel's buffer: what the file does not fill is zero
	copy(buf[:], head)

	end := bytes.IndexByte(buf[:], '\n')
	if nul := bytes.IndexByte(buf[:], 0); nul >= 0 && nul < end {
		end = -1 // strnchr stops at NUL
	}
	if end < 0 {
		// Without a newline the line must at least show where the interpreter's name ends.
		first := nextWord(buf[:], 2, headSize-1)
		if first < 0 || nextGap(buf[:], first, headSize-1) < 0 {
			return "", "", false, false
		}
		end = headSize - 1
	}
	for blank(buf[end-1]) {
		end--
	}
	start := nextWord(buf[:], 2, end)
	if start < 0 || start == end {
		return "", "", false, false
	}
	// nextWord and nextGap look at buf[end] too, as the kernel's do: it is the newline, or the NUL that ends the buffer.
	buf[end] = 0
	gap := nextGap(buf[:], start, end)
	name = string(buf[start:gap])
	if name == "" {
		return "", "", false, false // "#!" and a NUL: the kernel looks for a file without a name
	}
	if buf[gap] != 0 {
		if at := nextWord(buf[:], gap, end); at >= 0 {
			return name, cString(buf[at:]), true, true
		}
	}
	return name, "", false, true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// nextWord is the first byte in [from, to] that is no blank, else -1.
func nextWord(b []byte, from, to int) int {
	for i := from; i <= to; i++ {
		if !blank(b[i]) {
			return i
		}
	}
	return -1
}

// nextGap is the first blank or NUL in [from, to], else -1.
func nextGap(b []byte, from, to int) int {
	for i := from; i <= to; i++ {
		if blank(b[i]) || b[i] == 0 {
			return i
		}
	}
	return -1
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
