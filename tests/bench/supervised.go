package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// supervised measures programs that make their own system calls: each of those that may be about a file or a connection of the pod is answered by the broker,
// although here all are this machine's.
func supervised(ctx context.Context, s *stage, r *report, o options) error {
	r.section("Under supervision", "Milliseconds of Go programs that do nothing of which the pod knows; of 20,000 calls also microseconds each. Goals: `go vet` at most 1.5 of plain,\n"+
		"`go build` 1.2, a walk like find's 3, reading 1500 files 1.5, also for node, which\n"+
		"requires them. The program is started by one with the layer, and the start is measured, too.",
		"work", "plain", "mirrord", "mirrord / plain", "µs per call", "goal", "remarks")
	if _, err := exec.LookPath("go"); err != nil {
		r.row("", err.Error())
		return nil
	}
	walker := filepath.Join(s.dir, "walker")
	build := command(ctx, ".", "go", "build", "-o", walker, "./tests/bench/walker")
	build.Env = append(build.Env, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("the walker: %w\n%s", err, out)
	}
	module := filepath.Join(s.dir, "module")
	for name, text := range map[string]string{
		"go.mod":  "module small\n\ngo 1.24\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() { fmt.Println(os.Args) }\n",
	} {
		if err := os.MkdirAll(module, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	const n = 20000
	file := filepath.Join(s.dir, "modules", "main.js")
	for _, work := range []struct {
		argv  []string
		calls int
		most  float64 // of plain; 0: no goal
	}{
		{[]string{walker, "stat", fmt.Sprint(n), file}, n, 0},
		{[]string{walker, "open", fmt.Sprint(n), file}, n, 0},
		{[]string{walker, "walk", "/usr"}, 0, 3},
		{[]string{walker, "read", filepath.Join(s.dir, "modules")}, 0, 1.5},
		{[]string{walker, "exec", "node", filepath.Join(s.dir, "modules", "main.js")}, 0, 1.5},
		{[]string{"go", "vet", "-C", module, "."}, 0, 1.5},
		{[]string{"go", "build", "-C", module, "-o", filepath.Join(s.dir, "small"), "."}, 0, 1.2},
	} {
		words := append([]string{"run"}, work.argv...)
		all, err := interleave(o.repeat, s.plain.way(words...), s.near.way(words...))
		if err != nil {
			return err
		}
		plain, layer := all[0], all[1]
		each, target := "", ""
		if work.calls > 0 {
			us := func(x series) string { return fmt.Sprintf("%.2f", x.median().Seconds()*1e6/float64(work.calls)) }
			each = us(plain) + " → " + us(layer)
		}
		if work.most > 0 {
			target = goal(fmt.Sprintf("≤ %g", work.most), layer.median().Seconds() <= work.most*plain.median().Seconds(), layer)
		}
		r.row("`"+s.show(strings.Join(work.argv, " "))+"`", both(plain), both(layer), ratios(layer, plain), each, target, faults(all...))
	}
	return nil
}
