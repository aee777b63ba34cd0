package sip

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chainLines are first lines, and the words that each kernel makes of them; nil is ENOEXEC.
var chainLines = []struct {
	name, head    string
	linux, darwin []string
}{
	{"plain", "#!/bin/sh\n", []string{"/bin/sh"}, []string{"/bin/sh"}},
	{"blanks before and behind", "#! \t /bin/sh \t\n", []string{"/bin/sh"}, []string{"/bin/sh"}},
	{"one argument", "#!/bin/sh -e\n", []string{"/bin/sh", "-e"}, []string{"/bin/sh", "-e"}},
	{"several", "#!/usr/bin/env -S  node\t--x  \nrest", []string{"/usr/bin/env", "-S  node\t--x"}, []string{"/usr/bin/env", "-S", "node", "--x"}},
	{"a comment", "#!/bin/sh -e # why\n", []string{"/bin/sh", "-e # why"}, []string{"/bin/sh", "-e"}},
	{"a number sign in a word", "#!/bin/a#b\n", []string{"/bin/a#b"}, []string{"/bin/a"}},
	{"a number sign first", "#!#/bin/sh\n", []string{"#/bin/sh"}, nil},
	{"carriage return", "#!/bin/sh\r\n", []string{"/bin/sh\r"}, []string{"/bin/sh\r"}},
	{"carriage return behind a word", "#!/bin/sh -e\r\n", []string{"/bin/sh", "-e\r"}, []string{"/bin/sh", "-e\r"}},
	{"carriage return alone", "#!/bin/sh \r\n", []string{"/bin/sh", "\r"}, []string{"/bin/sh", "\r"}},
	{"no newline", "#!/bin/sh", []string{"/bin/sh"}, nil},
	{"no newline, but a comment", "#!/bin/sh #", []string{"/bin/sh", "#"}, []string{"/bin/sh"}},
	{"NUL in the line", "#!/bin/sh a\x00b c\n", []string{"/bin/sh", "a"}, []string{"/bin/sh", "a"}},
	{"relative", "#!bin/sh\n", []string{"bin/sh"}, []string{"bin/sh"}},
	{"nothing", "#!\n", nil, nil},
	{"only blanks", "#! \t\n", nil, nil},
	{"empty file", "", nil, nil},
	{"no script", "echo\n", nil, nil},
	{"blank before the sign", " #!/bin/sh\n", nil, nil},
	{"byte order mark", "\xef\xbb\xbf#!/bin/sh\n", nil, nil},
	{"newline at 255", "#!/bin/sh " + strings.Repeat("a", 245) + "\n", []string{"/bin/sh", strings.Repeat("a", 245)}, []string{"/bin/sh", strings.Repeat("a", 245)}},
	{"newline at 256", "#!/bin/sh " + strings.Repeat("a", 246) + "\n", []string{"/bin/sh", strings.Repeat("a", 245)}, []string{"/bin/sh", strings.Repeat("a", 246)}},
	{"newline at 511", "#!/bin/sh " + strings.Repeat("a", 501) + "\n", []string{"/bin/sh", strings.Repeat("a", 245)}, []string{"/bin/sh", strings.Repeat("a", 501)}},
	{"newline at 512", "#!/bin/sh " + strings.Repeat("a", 502) + "\n", []string{"/bin/sh", strings.Repeat("a", 245)}, nil},
}

func TestChainLines(t *testing.T) {
	for _, tt := range chainLines {
		for kernel, want := range map[Kernel][]string{Linux: tt.linux, Darwin: tt.darwin} {
			got, ok := chains[kernel].read([]byte(tt.head[:min(len(tt.head), chains[kernel].head)]))
			if ok != (want != nil) {
				t.Errorf("%s, %v: executed %v", tt.name, kernel, ok)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %v: -want +got\n%s", tt.name, kernel, diff)
			}
		}
	}
}

func FuzzDarwinWords(f *testing.F) {
	for _, tt := range chainLines {
		f.Add([]byte(tt.head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		words, ok := darwinWords(head)
		if ok != (len(words) > 0) {
			t.Fatalf("%q, %v", words, ok)
		}
		size := 0
		for _, w := range words {
			size += len(w)
			if w == "" || strings.ContainsAny(w, " \t\n#\x00") {
				t.Errorf("word %q", w)
			}
		}
		if size >= darwinHead {
			t.Errorf("%d bytes of words", size)
		}
	})
}
