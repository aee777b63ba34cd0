// Package console keeps the end of what a program prints, as lines of styled text. It understands what programs write on terminals as far as that makes sense in a log:
// colours, carriage return, erasing, and the cursor's moves within the last lines, with which progress bars are drawn. Clearing the screen begins a new one below.
package console

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Span is a piece of a line in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is a line, without its end. An empty one has no spans.
type Line []Span

// Text is the line without styles.
func (l Line) Text() string {
	if len(l) == 1 {
		return l[0].Text
	}
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.Text)
	}
	return b.String()
}

// Match is a place where a search was successful.
type Match struct {
	Line     int // absolute, as Buffer.Lines has it
	From, To int // in runes
}

const (
	// DefaultBytes is how much New keeps unless it is told otherwise.
	DefaultBytes = 8 << 20
	// rows are the last lines in which the cursor moves at least; there may be twice as many.
	rows = 50
	// columns are the runes of a line; what is longer goes on in the next.
	columns = 4096
	// overhead is what a line takes beside its text and a span beside its own, in bytes.
	overhead = 64
)

// cell is a rune of the last lines.
type cell struct {
	r     rune
	style Style
}

// Buffer is the end of the output. Its methods may be called concurrently.
type Buffer struct {
	mu     sync.Mutex
	max    int
	kept   []Line // the lines above the screen
	size   int    // of kept
	first  int    // number of the first line that is kept
	screen [][]cell
	spare  [][]cell // the memory of lines that have left the screen
	row    int      // of the cursor in screen
	column int
	saved  [2]int // row and column
	style  Style
	parser parser
}

// New makes an empty one that keeps about so many bytes; 0 is DefaultBytes.
func New(bytes int) *Buffer {
	if bytes <= 0 {
		bytes = DefaultBytes
	}
	return &Buffer{max: bytes, screen: make([][]cell, 1, 2*rows+1)}
}

// Write takes output in. It never fails; bytes that are no UTF-8 become U+FFFD.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parser.feed(p, b)
	return len(p), nil
}

// Range returns the numbers of the lines that are kept: first to next-1. Lines are numbered from 0 since the beginning, so first tells how many are gone. A last line
// that is empty does not count.
func (b *Buffer) Range() (first, next int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first, b.next()
}

func (b *Buffer) next() int {
	n := b.first + len(b.kept) + len(b.screen)
	if len(b.screen[len(b.screen)-1]) == 0 {
		n--
	}
	return n
}

// Lines returns the lines from to to-1, as far as they are kept, and the number of the first of them.
func (b *Buffer) Lines(from, to int) (lines []Line, first int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from, to = max(from, b.first), min(to, b.next())
	for n := from; n < to; n++ {
		lines = append(lines, b.line(n))
	}
	return lines, from
}

// line is one that is kept.
func (b *Buffer) line(n int) Line {
	if n -= b.first; n < len(b.kept) {
		return b.kept[n]
	}
	return pack(b.screen[n-len(b.kept)])
}

// Text returns lines as plain text, for the clipboard.
func (b *Buffer) Text(from, to int) string {
	lines, _ := b.Lines(from, to)
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.Text())
		text.WriteByte('\n')
	}
	return text.String()
}

// Search returns at most limit places that have the text, without regard to case, oldest first.
func (b *Buffer) Search(text string, limit int) (found []Match) {
	sought := fold(text)
	if len(sought) == 0 {
		return nil
	}
	first, next := b.Range()
	const batch = 1000 // whoever writes need not wait for more
	for from := first; from < next && len(found) < limit; from += batch {
		lines, number := b.Lines(from, min(from+batch, next))
		for i, l := range lines {
			in := fold(l.Text())
			for at := 0; at+len(sought) <= len(in) && len(found) < limit; at++ {
				if in[at] == sought[0] && string(in[at:at+len(sought)]) == string(sought) {
					found = append(found, Match{Line: number + i, From: at, To: at + len(sought)})
					at += len(sought) - 1
				}
			}
		}
	}
	return found
}

// fold is text without case, a rune for each of its runes.
func fold(text string) []rune {
	out := []rune(text)
	for i, r := range out {
		out[i] = unicode.ToLower(r)
	}
	return out
}

// Clear forgets all lines; the numbers go on.
func (b *Buffer) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first = b.next()
	b.kept, b.size = nil, 0
	b.screen, b.row, b.column = make([][]cell, 1, 2*rows+1), 0, 0
}

// put writes a rune at the cursor.
func (b *Buffer) put(r rune) {
	if b.column >= columns {
		b.down()
		b.column = 0
	}
	line := b.screen[b.row]
	for len(line) < b.column { // the cursor was moved beyond the end
		line = append(line, cell{r: ' '})
	}
	if b.column == len(line) {
		line = append(line, cell{})
		b.screen[b.row] = line
	}
	line[b.column] = cell{r, b.style}
	b.column++
}

// down moves the cursor to the next line, which is made if it is not there.
func (b *Buffer) down() {
	b.row++
	if b.row < len(b.screen) {
		return
	}
	var line []cell
	if n := len(b.spare); n > 0 {
		line, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	b.screen = append(b.screen, line)
	if len(b.screen) > 2*rows {
		b.keep(rows)
	}
}

// keep takes n lines from the top of the screen among those that do not change any more, and forgets the oldest of these when they are too many.
func (b *Buffer) keep(n int) {
	for _, cells := range b.screen[:n] {
		l := pack(cells)
		b.kept = append(b.kept, l)
		b.size += sizeOf(l)
		if cap(cells) <= 1024 && len(b.spare) < rows {
			b.spare = append(b.spare, cells[:0])
		}
	}
	b.screen = append(b.screen[:0], b.screen[n:]...)
	b.row = max(0, b.row-n)
	b.saved[0] = max(0, b.saved[0]-n)
	gone := 0
	for ; b.size > b.max && gone < len(b.kept); gone++ {
		b.size -= sizeOf(b.kept[gone])
		b.kept[gone] = nil
	}
	b.kept, b.first = b.kept[gone:], b.first+gone
}

func sizeOf(l Line) int {
	n := overhead
	for _, s := range l {
		n += len(s.Text) + overhead
	}
	return n
}

// pack joins cells of one style.
func pack(cells []cell) (l Line) {
	if len(cells) == 0 {
		return nil
	}
	text := make([]byte, 0, len(cells))
	for i, c := range cells {
		if i > 0 && c.style != cells[i-1].style {
			l = append(l, Span{string(text), cells[i-1].style})
			text = text[:0]
		}
		text = utf8.AppendRune(text, c.r)
	}
	return append(l, Span{string(text), cells[len(cells)-1].style})
}
