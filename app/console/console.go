// Package console keeps the end of what a program prints, as lines of styled text. It understands what programs write on terminals as far as that makes sense in a log:
// colours, carriage return, erasing, and the cursor's moves within the last lines, with which progress bars are drawn.
package console

// Color is a colour of text. 0 is the view's own; Indexed and RGB make the others.
type Color uint32

// Indexed is one of the 256 colours of terminals; 0 to 15 are the theme's.
func Indexed(n uint8) Color { return 1<<24 | Color(n) }

// RGB is a colour by its parts.
func RGB(r, g, b uint8) Color { return 2<<24 | Color(r)<<16 | Color(g)<<8 | Color(b) }

// Index returns the number of an Indexed colour.
func (c Color) Index() (n uint8, ok bool) { return uint8(c), c>>24 == 1 }

// Parts returns the parts of an RGB colour.
func (c Color) Parts() (r, g, b uint8, ok bool) {
	return uint8(c >> 16), uint8(c >> 8), uint8(c), c>>24 == 2
}

// Style is how text looks. Inverse has not been applied to the colours.
type Style struct {
	Foreground, Background                           Color
	Bold, Faint, Italic, Underline, Inverse, Striked bool
}

// Span is a piece of a line in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is a line, without its end. An empty one has no spans.
type Line []Span

// Text is the line without styles.
func (l Line) Text() string { return "" }

// Match is a place where a search was successful.
type Match struct {
	Line     int // absolute, as Buffer.Lines has it
	From, To int // in runes
}

// Buffer is the end of the output. Its methods may be called concurrently.
type Buffer struct{}

// New makes an empty one that keeps about so many bytes.
func New(bytes int) *Buffer { return &Buffer{} }

// Write takes output in. It never fails; bytes that are no UTF-8 become U+FFFD.
func (b *Buffer) Write(p []byte) (int, error) { return len(p), nil }

// Range returns the numbers of the lines that are kept: first to next-1. Lines are numbered from 0 since the beginning, so first tells how many are gone.
func (b *Buffer) Range() (first, next int) { return 0, 0 }

// Lines returns the lines from to to-1, as far as they are kept, and the number of the first of them.
func (b *Buffer) Lines(from, to int) (lines []Line, first int) { return nil, 0 }

// Text returns lines as plain text, for the clipboard.
func (b *Buffer) Text(from, to int) string { return "" }

// Search returns at most limit places that have the text, without regard to case, oldest first.
func (b *Buffer) Search(text string, limit int) []Match { return nil }

// Clear forgets all lines; the numbers go on.
func (b *Buffer) Clear() {}
