package sip

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds for the arguments of env: -S may hold ${NAME} whose value holds -S again.
const (
	maxSplits   = 8
	maxEnvBytes = 1 << 20
)

// envOptions are what env understands of single letters: alone, and those with a value. Long names stand for letters. Sources: shell_cmds
// env/env.c and envopts.c (-C came after macOS 15), coreutils src/env.c.
var envOptions = [...]struct {
	alone, valued string
	long          map[string]byte
}{
	Linux: {alone: "i0v", valued: "uCSa", long: map[string]byte{
		"ignore-environment": 'i', "null": '0', "debug": 'v', "unset": 'u', "chdir": 'C', "split-string": 'S', "argv0": 'a',
	}},
	Darwin: {alone: "i0v", valued: "uCSP"},
}

// envPlan is what env will do.
type envPlan struct {
	words   []string // the program and its arguments; empty when env only prints
	env     []string // the program's environment
	plain   bool     // neither the environment nor the folder nor the name is changed: env adds nothing
	path    string   // where the program is looked for
	altPath bool     // path is of -P: the program is also called what was found
	chdir   string   // "" stays
	argv0   string   // "" is the first of words
}

// planEnv reads env's arguments (without argv[0]) as env does. env is the environment that it is given. An error is one that env itself would
// end with, or says that the arguments are beyond what is understood here.
func planEnv(k Kernel, args, env []string) (*envPlan, error) {
	p := &envPlan{env: slices.Clone(env), plain: true}
	clear, splits := false, 0
	for len(args) > 0 {
		word := args[0]
		if word == "-" {
			clear, args = true, args[1:]
			break // it is no option for getopt of GNU, and the last for BSD's
		}
		if word == "--" {
			args = args[1:]
			break
		}
		if len(word) < 2 || word[0] != '-' {
			break
		}
		letters, value, hasValue := word[1:], "", false
		if strings.HasPrefix(word, "--") {
			name, v, given := strings.Cut(word[2:], "=")
			letter, ok := envOptions[k].long[name]
			if !ok {
				return nil, fmt.Errorf("env's option %s is not understood", word)
			}
			letters, value, hasValue = string(letter), v, given
		}
		args = args[1:]
		for letters != "" {
			letter := letters[0]
			letters = letters[1:]
			if strings.IndexByte(envOptions[k].alone, letter) >= 0 {
				clear = clear || letter == 'i'
				continue
			}
			if strings.IndexByte(envOptions[k].valued, letter) < 0 {
				return nil, fmt.Errorf("env has no option -%c", letter)
			}
			switch {
			case hasValue:
			case letters != "":
				value, letters = letters, ""
			case len(args) > 0:
				value, args = args[0], args[1:]
			default:
				return nil, fmt.Errorf("env's option -%c needs a value", letter)
			}
			switch letter {
			case 'u':
				p.env, p.plain = without(p.env, value), false
			case 'C':
				p.chdir, p.plain = value, false
			case 'P':
				p.path, p.altPath, p.plain = value, true, false
			case 'a':
				p.argv0, p.plain = value, false
			case 'S':
				if splits++; splits > maxSplits {
					return nil, errors.New("env's -S holds itself")
				}
				split, err := splitWords(value, p.env)
				if err != nil {
					return nil, err
				}
				args = append(split, args...)
			}
		}
	}
	if clear {
		p.env, p.plain = nil, false
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		if name == "" {
			return nil, fmt.Errorf("env cannot set %q", args[0])
		}
		p.env, p.plain, args = append(without(p.env, name), args[0]), false, args[1:]
	}
	p.words = args
	if !p.altPath {
		p.path = variable(p.env, "PATH")
	}
	return p, nil
}

// splitWords takes the value of -S apart as env does.
func splitWords(s string, env []string) ([]string, error) {
	var words []string
	var word []byte
	inWord, quote, size := false, byte(0), 0
	add := func(text string) {
		word, inWord = append(word, text...), true
		size += len(text)
	}
	flush := func() {
		if inWord {
			words = append(words, string(word))
		}
		word, inWord = nil, false
	}
	for i := 0; i < len(s); i++ {
		if size > maxEnvBytes {
			return nil, errors.New("env's -S grows too long")
		}
		c := s[i]
		switch {
		case c == '\\' && i+1 == len(s):
			return nil, errors.New(`env's -S ends in "\"`)
		case quote == '\'' && c == '\\' && (s[i+1] == '\'' || s[i+1] == '\\'):
			i++
			add(s[i : i+1])
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			add("")
		case quote == '\'':
			add(s[i : i+1])
		case c == '$':
			name, n := reference(s[i:])
			if n == 0 {
				return nil, fmt.Errorf("env's -S knows only ${NAME}, not %q", s[i:])
			}
			i += n - 1
			if value := variable(env, name); value != "" {
				add(value)
			}
		case c == '\\':
			i++
			text, act := escape(s[i], quote != 0)
			switch act {
			case escapeEnds:
				flush()
				return words, nil
			case escapeParts:
				flush()
			case escapeUnknown:
				return nil, fmt.Errorf(`env's -S does not know "\%c"`, s[i])
			default:
				add(text)
			}
		case quote == 0 && space(c):
			flush()
		case quote == 0 && !inWord && c == '#':
			return words, nil
		default:
			add(s[i : i+1])
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("env's -S has no second %c", quote)
	}
	flush()
	return words, nil
}

type escapeAct uint8

const (
	escapeText escapeAct = iota
	escapeParts
	escapeEnds
	escapeUnknown
)

// escape is what a backslash and c stand for.
func escape(c byte, quoted bool) (string, escapeAct) {
	switch c {
	case '"', '#', '$', '\'', '\\':
		return string(c), escapeText
	case '_':
		if quoted {
			return " ", escapeText
		}
		return "", escapeParts
	case 'c':
		if quoted {
			return "", escapeUnknown
		}
		return "", escapeEnds
	case 'f', 'n', 'r', 't', 'v':
		return string("\f\n\r\t\v"[strings.IndexByte("fnrtv", c)]), escapeText
	}
	if space(c) {
		return string(c), escapeText
	}
	return "", escapeUnknown
}

// reference reads ${NAME} at the beginning of s; n is its length, 0 when it is none.
func reference(s string) (name string, n int) {
	end := strings.IndexByte(s, '}')
	if !strings.HasPrefix(s, "${") || end < 3 {
		return "", 0
	}
	name = s[2:end]
	for i := range len(name) {
		c := name[i] | 0x20
		if name[i] != '_' && (c < 'a' || c > 'z') && (i == 0 || name[i] < '0' || name[i] > '9') {
			return "", 0
		}
	}
	return name, end + 1
}

func space(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// variable is the value of a name in an environment, "" when there is none. The first counts, as in getenv.
func variable(env []string, name string) string {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// without is env less every value of a name.
func without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}
