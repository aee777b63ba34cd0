package launches

// Level says how much of something is the pod's.
type Level uint8

// The levels. Not every feature has each.
const (
	Off Level = iota
	Read
	Full
)

// String is the level as a switch shows it.
func (l Level) String() string { return [...]string{"Off", "Read", "Full"}[l] }

// Feature is a row of what is shared.
type Feature uint8

// The features.
const (
	Environment Feature = iota
	Files
	NetworkOut
	TrafficIn
	features
)

// Features are all, in the order in which they are shown.
var Features = []Feature{Environment, Files, NetworkOut, TrafficIn}

// String is the feature as a row shows it.
func (f Feature) String() string {
	return [...]string{"Environment", "Files", "Network out", "Traffic in"}[f]
}

// Shared is a level for each feature.
type Shared [features]Level

// Default is what holds when nothing is said.
func Default() Shared { return Shared{Full, Read, Full, Read} }

// Levels are those that a feature has, lowest first.
func (f Feature) Levels() []Level { return []Level{Off, Read, Full} }

// Effect is what a level means for the program, in a sentence, and whether it changes something for others: then it has the warning colour.
func (f Feature) Effect(l Level) (sentence string, danger bool) { return "", false }
