package launches

import "slices"

// Level says how much of something is the pod's.
type Level uint8

// The levels. Not every feature has each.
const (
	Off Level = iota
	Read
	Full
)

// String is the level as a switch shows it.
func (l Level) String() string { return [...]string{"Off", "Read", "Full"}[min(l, Full)] }

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

// effects say what each level means; a feature has those with a sentence.
var effects = [features][Full + 1]string{
	Environment: {
		Off:  "The program has this machine's variables only.",
		Full: "The program has the pod's variables over this machine's own.",
	},
	Files: {
		Off:  "The program reads and writes this machine's files only.",
		Read: "The program reads the pod's files; what it writes stays on this machine.",
		Full: "The program reads and writes the pod's files: what it changes is changed for everybody.",
	},
	NetworkOut: {
		Off:  "Names are resolved and connections made from this machine.",
		Full: "Names are resolved and connections made from the pod.",
	},
	TrafficIn: {
		Off:  "Connections to the pod stay the pod's.",
		Read: "The program gets a copy of the connections to the pod; its answers go nowhere.",
		Full: "The program answers all connections to its ports in place of the pod.",
	},
}

// Levels are those that a feature has, lowest first.
func (f Feature) Levels() []Level {
	return slices.DeleteFunc([]Level{Off, Read, Full}, func(l Level) bool { return effects[f][l] == "" })
}

// Effect is what a level means for the program, in a sentence, and whether it changes something for others: then it has the warning colour.
func (f Feature) Effect(l Level) (sentence string, danger bool) {
	return effects[f][min(l, Full)], l == Full && (f == Files || f == TrafficIn)
}
