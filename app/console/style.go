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

// sgr changes the style as "select graphic rendition" (ECMA-48 8.3.117, with the colours of ITU T.416 as terminals write them) says. Numbers that are missing are 0.
func (s *Style) sgr(numbers []int) {
	if len(numbers) == 0 {
		numbers = []int{0}
	}
	for i := 0; i < len(numbers); i++ {
		switch n := numbers[i]; {
		case n == 0:
			*s = Style{}
		case n == 1:
			s.Bold = true
		case n == 2:
			s.Faint = true
		case n == 3:
			s.Italic = true
		case n == 4:
			s.Underline = true
		case n == 7:
			s.Inverse = true
		case n == 9:
			s.Striked = true
		case n == 21 || n == 22:
			s.Bold, s.Faint = false, false
		case n == 23:
			s.Italic = false
		case n == 24:
			s.Underline = false
		case n == 27:
			s.Inverse = false
		case n == 29:
			s.Striked = false
		case n >= 30 && n <= 37:
			s.Foreground = Indexed(uint8(n - 30))
		case n == 39:
			s.Foreground = 0
		case n >= 40 && n <= 47:
			s.Background = Indexed(uint8(n - 40))
		case n == 49:
			s.Background = 0
		case n >= 90 && n <= 97:
			s.Foreground = Indexed(uint8(n - 90 + 8))
		case n >= 100 && n <= 107:
			s.Background = Indexed(uint8(n - 100 + 8))
		case n == 38 || n == 48:
			c, used := extended(numbers[i+1:])
			if i += used; used == 0 {
				return // what follows cannot be told from its parts
			}
			if n == 38 {
				s.Foreground = c
			} else {
				s.Background = c
			}
		}
	}
}

// extended is a colour as 5;N or 2;R;G;B, and how many numbers it took; 0 when it is none.
func extended(n []int) (Color, int) {
	part := func(i int) uint8 { return uint8(min(max(n[i], 0), 255)) }
	switch {
	case len(n) >= 2 && n[0] == 5:
		return Indexed(part(1)), 2
	case len(n) >= 4 && n[0] == 2:
		return RGB(part(1), part(2), part(3)), 4
	}
	return 0, 0
}
