// Command all runs go test with its arguments and prints a line for each package, the output of what failed, and what was left out with the
// reason: go test alone shows either everything or no reasons.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64 // seconds
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	summarise(out, os.Stdout)
	if cmd.Wait() != nil {
		os.Exit(1)
	}
}

func summarise(in io.Reader, out io.Writer) {
	said := map[string]*strings.Builder{} // of each test, package or build that has not ended
	var leftOut []string
	for d := json.NewDecoder(in); ; {
		var ev event
		if err := d.Decode(&ev); err != nil {
			break // the end, or go test itself failed and has said so on standard error
		}
		name := strings.TrimPrefix(ev.Package+ev.ImportPath, "mirrord/")
		if ev.Test != "" {
			name += " " + ev.Test
		}
		switch ev.Action {
		case "output", "build-output":
			if said[name] == nil {
				said[name] = &strings.Builder{}
			}
			said[name].WriteString(ev.Output)
		case "pass", "fail", "skip", "build-fail":
			text := ""
			if b := said[name]; b != nil {
				text = b.String()
			}
			delete(said, name)
			switch {
			case strings.HasSuffix(ev.Action, "fail"):
				fmt.Fprintf(out, "FAIL  %s (%.1f s)\n%s", name, ev.Elapsed, text)
			case ev.Test == "" && ev.Action == "pass":
				fmt.Fprintf(out, "ok    %s (%.1f s)\n", name, ev.Elapsed)
			case ev.Action == "skip" && ev.Test != "":
				leftOut = append(leftOut, name+": "+reason(text))
			}
		}
	}
	if len(leftOut) > 0 {
		fmt.Fprintln(out, "\nleft out here:\n  "+strings.Join(leftOut, "\n  "))
	}
}

// reason is what a test said when it skipped itself: its last line, without the place in the source.
func reason(text string) string {
	last := "no reason was given"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		last = line
	}
	if _, after, ok := strings.Cut(last, ": "); ok && strings.Contains(last[:len(last)-len(after)], ".go:") {
		last = after
	}
	return last
}
