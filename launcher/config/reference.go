package config

// Key is what people are told about a key.
type Key struct {
	Path        string   // "feature.fs.mode"
	Class       string   // "works", "ignored" (one warning) or "unbuilt" (an error)
	Section     bool     // others are below it
	Variable    string   // the environment variable that sets it; "" when there is none
	Words       []string // those that it takes, for one that is one of a few words
	Description string   // a sentence without a full stop
	Fine        string   // of an unbuilt one: the value that is no error; may be ""
	Hint        string   // of an unbuilt one: what to do instead; may be ""
}

// Keys are all keys, those that work and those that users of the leading peer know, in the order in which people meet them.
func Keys() []Key {
	all := make([]Key, len(keys))
	for i, k := range keys {
		all[i] = Key{
			Path: k.path, Class: [...]string{works: "works", ignored: "ignored", unbuilt: "unbuilt"}[k.class], Section: len(children(k.path)) > 0,
			Variable: k.variable, Words: k.words(), Description: describe(k.path), Fine: k.fine, Hint: k.hint,
		}
	}
	return all
}
