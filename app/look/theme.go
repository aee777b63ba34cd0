// Package look is how the window looks: colours, type, spacing, and the few parts that all views are made of. It knows nothing of sessions.
//
// All distances are multiples of 8 (half steps of 4 inside controls), in the toolkit's device-independent pixels.
package look

import (
	_ "embed"
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// Step is the unit of spacing.
const Step float32 = 8

// Colours that the toolkit has no name for.
const (
	ColorSidebar   fyne.ThemeColorName = "sidebar"
	ColorSurface   fyne.ThemeColorName = "surface"   // cards and panels
	ColorSunken    fyne.ThemeColorName = "sunken"    // what lies behind a segmented control, a console, a badge
	ColorHairline  fyne.ThemeColorName = "hairline"  // borders and separators
	ColorText      fyne.ThemeColorName = "text"      // = the toolkit's foreground
	ColorSecondary fyne.ThemeColorName = "secondary" // text that explains
	ColorAccent    fyne.ThemeColorName = "accent"    // the only accent: what acts, what is chosen
	ColorOnAccent  fyne.ThemeColorName = "onAccent"
	ColorTint      fyne.ThemeColorName = "tint" // the accent behind text
	ColorGood      fyne.ThemeColorName = "good"
	ColorWarn      fyne.ThemeColorName = "warn"
	ColorBad       fyne.ThemeColorName = "bad"
	ColorWarnTint  fyne.ThemeColorName = "warnTint"
	ColorBadTint   fyne.ThemeColorName = "badTint"
	ColorClear     fyne.ThemeColorName = "clear"
)

// Sizes of text, in points.
const (
	TextCaption float32 = 11
	TextBody    float32 = 13
	TextLead    float32 = 15
	TextTitle   float32 = 22
)

var (
	//go:embed fonts/Inter-Regular.otf
	regular []byte
	//go:embed fonts/Inter-SemiBold.otf
	semibold []byte
	//go:embed fonts/JetBrainsMono-Regular.ttf
	mono []byte
	//go:embed fonts/JetBrainsMono-Bold.ttf
	monoBold []byte

	fontRegular  = fyne.NewStaticResource("Inter-Regular.otf", regular)
	fontSemibold = fyne.NewStaticResource("Inter-SemiBold.otf", semibold)
	fontMono     = fyne.NewStaticResource("JetBrainsMono-Regular.ttf", mono)
	fontMonoBold = fyne.NewStaticResource("JetBrainsMono-Bold.ttf", monoBold)
)

// Variant is which of the two palettes is used.
type Variant int

// Follow is the system's choice.
const (
	Follow Variant = iota
	Light
	Dark
)

// Theme is the toolkit's theme of the window.
type Theme struct{ Variant Variant }

// pair is a colour in the light and the dark palette.
type pair struct{ light, dark uint32 } // 0xRRGGBBAA

var palette = map[fyne.ThemeColorName]pair{
	theme.ColorNameBackground: {0xfbfbfcff, 0x1e1e20ff},
	ColorSidebar:              {0xf0f0f3ff, 0x18181aff},
	ColorSurface:              {0xffffffff, 0x28282bff},
	ColorSunken:               {0xefeff2ff, 0x161618ff},
	ColorHairline:             {0xe0e0e5ff, 0x39393dff},
	ColorText:                 {0x1d1d1fff, 0xf2f2f4ff},
	ColorSecondary:            {0x66666dff, 0xa0a0a8ff},
	ColorAccent:               {0x4f56d3ff, 0x8088f7ff},
	ColorOnAccent:             {0xffffffff, 0x12122aff},
	ColorTint:                 {0x4f56d31c, 0x8088f733},
	ColorGood:                 {0x1f8a4cff, 0x4cc27bff},
	ColorWarn:                 {0xa85a00ff, 0xf0a63cff},
	ColorBad:                  {0xc9302cff, 0xff6b63ff},
	ColorWarnTint:             {0xfff4e0ff, 0x3a2d17ff},
	ColorBadTint:              {0xfdeceaff, 0x3f2021ff},
	ColorClear:                {0x00000000, 0x00000000},

	theme.ColorNameButton:              {0xffffffff, 0x343438ff},
	theme.ColorNameDisabledButton:      {0xf0f0f3ff, 0x28282bff},
	theme.ColorNameDisabled:            {0xb4b4bbff, 0x5c5c63ff},
	theme.ColorNamePlaceHolder:         {0x8a8a92ff, 0x7c7c84ff},
	theme.ColorNameHover:               {0x0000000a, 0xffffff0f},
	theme.ColorNamePressed:             {0x00000014, 0xffffff1c},
	theme.ColorNameFocus:               {0x4f56d366, 0x8088f780},
	theme.ColorNameSelection:           {0x4f56d333, 0x8088f74d},
	theme.ColorNameInputBackground:     {0xffffff00, 0x28282b00}, // Field draws it
	theme.ColorNameMenuBackground:      {0xffffffff, 0x2c2c30ff},
	theme.ColorNameOverlayBackground:   {0xffffffff, 0x28282bff},
	theme.ColorNameHeaderBackground:    {0xf6f6f8ff, 0x232325ff},
	theme.ColorNameScrollBar:           {0x00000040, 0xffffff40},
	theme.ColorNameScrollBarBackground: {0x00000000, 0x00000000},
	theme.ColorNameShadow:              {0x00000026, 0x00000066},
}

// same are the toolkit's names for colours that have ours.
var same = map[fyne.ThemeColorName]fyne.ThemeColorName{
	theme.ColorNameForeground: ColorText, theme.ColorNamePrimary: ColorAccent, theme.ColorNameForegroundOnPrimary: ColorOnAccent, theme.ColorNameHyperlink: ColorAccent,
	theme.ColorNameSeparator: ColorHairline, theme.ColorNameInputBorder: theme.ColorNameInputBackground, theme.ColorNameInnerWindowBorder: ColorHairline,
	theme.ColorNameSuccess: ColorGood, theme.ColorNameWarning: ColorWarn, theme.ColorNameError: ColorBad,
}

// Color is part of [fyne.Theme].
func (t Theme) Color(name fyne.ThemeColorName, variant fyne.ThemeVariant) color.Color {
	switch t.Variant {
	case Light:
		variant = theme.VariantLight
	case Dark:
		variant = theme.VariantDark
	}
	if own, ok := same[name]; ok {
		name = own
	}
	p, ok := palette[name]
	if !ok {
		return theme.DefaultTheme().Color(name, variant)
	}
	if variant == theme.VariantLight {
		return rgba(p.light)
	}
	return rgba(p.dark)
}

func rgba(v uint32) color.Color {
	return color.NRGBA{R: uint8(v >> 24), G: uint8(v >> 16), B: uint8(v >> 8), A: uint8(v)}
}

// Font is part of [fyne.Theme].
func (t Theme) Font(s fyne.TextStyle) fyne.Resource {
	switch {
	case s.Symbol:
		return theme.DefaultTheme().Font(s)
	case s.Monospace && s.Bold:
		return fontMonoBold
	case s.Monospace:
		return fontMono
	case s.Bold:
		return fontSemibold
	}
	return fontRegular
}

// Icon is part of [fyne.Theme].
func (t Theme) Icon(name fyne.ThemeIconName) fyne.Resource { return theme.DefaultTheme().Icon(name) }

// Size is part of [fyne.Theme].
func (t Theme) Size(name fyne.ThemeSizeName) float32 {
	switch name {
	case theme.SizeNameText:
		return TextBody
	case theme.SizeNameCaptionText:
		return TextCaption
	case theme.SizeNameSubHeadingText:
		return TextLead
	case theme.SizeNameHeadingText:
		return TextTitle
	case theme.SizeNamePadding:
		return Step / 2
	case theme.SizeNameInnerPadding:
		return 6 // an entry is 28 high, as a button
	case theme.SizeNameInlineIcon:
		return 16
	case theme.SizeNameInputRadius, theme.SizeNameSelectionRadius, theme.SizeNameButtonRadius:
		return 6
	case theme.SizeNameMenuRadius, theme.SizeNamePopupRadius, theme.SizeNameDialogRadius:
		return Step
	case theme.SizeNameScrollBar:
		return 8
	case theme.SizeNameScrollBarSmall:
		return 4
	}
	return theme.DefaultTheme().Size(name)
}

// Color is a colour of the theme in force.
func Color(name fyne.ThemeColorName) color.Color {
	s := fyne.CurrentApp().Settings()
	return s.Theme().Color(name, s.ThemeVariant())
}

// IsDark tells whether the dark palette is used.
func IsDark() bool {
	r, g, b, _ := Color("background").RGBA()
	return r+g+b < 3*0x8000
}
