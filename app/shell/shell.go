// Package shell has words as a POSIX shell takes and finds them.
package shell

import (
	"os"
	"path/filepath"
	"strings"
)

// Quote is a word as a shell takes it.
func Quote(word string) string {
	plain := word != ""
	for _, c := range []byte(word) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_./:@%+,=", c) >= 0) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Command is a command as a shell takes it. A first word that the shell would take for a variable or for its own is quoted, too.
func Command(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Quote(w)
		if i == 0 && out[i] == w && (strings.Contains(w, "=") || reserved[w]) {
			out[i] = "'" + w + "'"
		}
	}
	return strings.Join(out, " ")
}

// reserved are the words that a shell takes for its own at the beginning of a command, as far as Quote leaves them.
var reserved = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "fi": true, "do": true, "done": true, "case": true, "esac": true, "while": true, "until": true, "for": true, "in": true,
}

// Lookup finds a variable in an environment; the last one counts, as in most programs.
func Lookup(env []string, name string) (value string) {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// Find finds a program in the folders of path, which is a variable PATH; "" when it is not there. Folders that are not absolute do not count.
func Find(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		if file := filepath.Join(dir, name); filepath.IsAbs(file) && Executable(file) {
			return file
		}
	}
	return ""
}

// Executable says whether a file is a program.
func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Split is the words of a command as one types it: what is between spaces, with quotes and backslashes as in a shell, of which nothing else is understood. A quote that does not end, ends at the end.
func Split(line string) (words []string) {
	var word strings.Builder
	within, open := rune(0), false
	end := func() {
		if open {
			words = append(words, word.String())
			word.Reset()
		}
		open = false
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\\' && within != '\'' && i+1 < len(runes):
			i++
			word.WriteRune(runes[i])
			open = true
		case within != 0 && r == within:
			within = 0
		case within == 0 && (r == '\'' || r == '"'):
			within, open = r, true
		case within == 0 && (r == ' ' || r == '\t' || r == '\n'):
			end()
		default:
			word.WriteRune(r)
			open = true
		}
	}
	end()
	return words
}
