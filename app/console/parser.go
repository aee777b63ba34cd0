package console

import (
	"unicode/utf8"
)

// state is where the parser is in a sequence.
type state uint8

const (
	text         state = iota
	escape             // behind ESC
	charset            // behind ESC and one of "()*+-./#% ", which another byte follows
	control            // behind ESC [
	command            // in what ends with BEL or ESC \: titles, links, pictures
	commandFinal       // behind an ESC in it
)

// maxNumbers are the numbers of a control sequence that are kept.
const maxNumbers = 32

// parser takes output apart. What is bounded by no terminator is bounded here: numbers are capped, the rest is skipped byte by byte.
type parser struct {
	state   state
	numbers []int
	open    bool // the last of numbers is being read
	private bool // the sequence has one of "<=>?", so it is about the terminal
	partial []byte
}

// feed hands what p says to the buffer.
func (s *parser) feed(p []byte, b *Buffer) {
	if len(s.partial) > 0 {
		p = append(s.partial, p...)
		s.partial = nil
	}
	for len(p) > 0 {
		c := p[0]
		if s.state == text && c >= utf8.RuneSelf {
			if !utf8.FullRune(p) {
				s.partial = append([]byte(nil), p...) // three bytes at most
				return
			}
			r, n := utf8.DecodeRune(p)
			p = p[n:]
			if r >= 0x80 && r < 0xa0 { // controls of a byte, which nobody means in UTF-8
				r = utf8.RuneError
			}
			b.put(r)
			continue
		}
		p = p[1:]
		switch s.state {
		case text:
			s.plain(c, b)
		case escape:
			s.escaped(c, b)
		case charset:
			s.state = text
		case control:
			s.controlled(c, b)
		case command:
			switch c {
			case 0x07, 0x18, 0x1a:
				s.state = text
			case 0x1b:
				s.state = commandFinal
			}
		case commandFinal:
			if s.state = text; c != '\\' { // it was broken off by another sequence
				s.escaped(c, b)
			}
		}
	}
}

func (s *parser) plain(c byte, b *Buffer) {
	switch {
	case c >= ' ' && c != 0x7f:
		b.put(rune(c))
	case c == '\n':
		b.down()
		b.column = 0
	case c == '\r':
		b.column = 0
	case c == '\t':
		b.column = min(b.column/8*8+8, columns-1)
	case c == '\b':
		b.column = max(0, b.column-1)
	case c == 0x1b:
		s.state = escape
	}
}

func (s *parser) escaped(c byte, b *Buffer) {
	s.state = text
	switch c {
	case '[':
		s.state, s.numbers, s.open, s.private = control, s.numbers[:0], false, false
	case ']', 'P', '_', '^', 'X':
		s.state = command
	case '(', ')', '*', '+', '-', '.', '/', '#', '%', ' ':
		s.state = charset
	case 0x1b:
		s.state = escape
	case '7':
		b.saved = [2]int{b.row, b.column}
	case '8':
		b.move(b.saved[0], b.saved[1])
	case 'M':
		b.move(b.row-1, b.column)
	case 'c':
		b.style = Style{}
		b.begin()
	}
}

func (s *parser) controlled(c byte, b *Buffer) {
	switch {
	case c >= '0' && c <= '9':
		if !s.open {
			s.open = true
			s.numbers = append(s.numbers, 0)
		}
		if last := len(s.numbers) - 1; s.numbers[last] < 1<<16 {
			s.numbers[last] = s.numbers[last]*10 + int(c-'0')
		}
	case c == ';' || c == ':':
		if !s.open {
			s.numbers = append(s.numbers, 0)
		}
		s.open = false
	case c >= '<' && c <= '?':
		s.private = true
	case c == 0x18 || c == 0x1a:
		s.state = text
	case c == 0x1b:
		s.state = escape
	case c < ' ':
		s.plain(c, b) // as terminals do in the middle of a sequence
	case c >= '@' && c <= '~':
		s.state = text
		if !s.private {
			b.do(c, s.numbers)
		}
	}
	if len(s.numbers) > maxNumbers {
		s.numbers, s.open = s.numbers[:maxNumbers], false
	}
}

// do carries out a control sequence (ECMA-48 8.3) by its last byte.
func (b *Buffer) do(final byte, numbers []int) {
	number := func(i, missing int) int {
		if i < len(numbers) && numbers[i] > 0 {
			return numbers[i]
		}
		return missing
	}
	n := number(0, 1)
	switch final {
	case 'm':
		b.style.sgr(numbers)
	case 'A':
		b.move(b.row-n, b.column)
	case 'B':
		b.move(b.row+n, b.column)
	case 'C':
		b.move(b.row, b.column+n)
	case 'D':
		b.move(b.row, b.column-n)
	case 'E':
		b.move(b.row+n, 0)
	case 'F':
		b.move(b.row-n, 0)
	case 'G':
		b.move(b.row, n-1)
	case 'H', 'f':
		b.move(n-1, number(1, 1)-1)
	case 's':
		b.saved = [2]int{b.row, b.column}
	case 'u':
		b.move(b.saved[0], b.saved[1])
	case 'K':
		b.eraseLine(number(0, 0))
	case 'J':
		b.erase(number(0, 0))
	case 'X', 'P':
		b.eraseRunes(n, final == 'P')
	}
}

// move puts the cursor within the lines that there are.
func (b *Buffer) move(row, column int) {
	b.row = min(max(row, 0), len(b.screen)-1)
	b.column = min(max(column, 0), columns-1)
}

// eraseLine erases from the cursor (0), to it (1), or all of its line (2).
func (b *Buffer) eraseLine(what int) {
	line := b.screen[b.row]
	switch at := min(b.column, len(line)); what {
	case 0:
		b.screen[b.row] = line[:at]
	case 1:
		for i := range line[:min(at+1, len(line))] {
			line[i] = cell{r: ' '}
		}
	case 2:
		b.screen[b.row] = line[:0]
	}
}

// erase erases what is below the cursor (0); to erase the whole screen (2, 3) begins a new one, so that what was there can still be read.
func (b *Buffer) erase(what int) {
	switch what {
	case 0:
		b.eraseLine(0)
		clear(b.screen[b.row+1:])
		b.screen = b.screen[:b.row+1]
	case 2, 3:
		b.begin()
	}
}

// begin begins a new screen below what is there.
func (b *Buffer) begin() {
	if n := len(b.screen) - 1; n > 0 || len(b.screen[0]) > 0 {
		if len(b.screen[n]) > 0 {
			b.screen = append(b.screen, nil)
			n++
		}
		b.keep(n)
	}
	b.row, b.column = 0, 0
}

// eraseRunes takes n runes at the cursor away; with remove what is behind them moves up.
func (b *Buffer) eraseRunes(n int, remove bool) {
	line := b.screen[b.row]
	from := min(b.column, len(line))
	to := min(from+n, len(line))
	if remove {
		b.screen[b.row] = append(line[:from], line[to:]...)
		return
	}
	for i := from; i < to; i++ {
		line[i] = cell{r: ' '}
	}
}
