package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// sample is one repetition of some work.
type sample struct {
	took   time.Duration
	count  int    // what the work counted: lines, bytes
	errors int    // how often it failed
	first  string // the first failure

	least, p50, p99, most time.Duration // of the repetitions inside, where the work times each
}

// series is the repetitions of one work done in one way.
type series []sample

// best is the shortest time; 0 of an empty series.
func (s series) best() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.MinFunc(s, func(a, b sample) int { return cmp.Compare(a.took, b.took) }).took
}

// median is the middle time, the longer of the two middle ones; 0 of an empty series.
func (s series) median() time.Duration {
	return s.middle(func(one sample) time.Duration { return one.took })
}

// middle is the median of one of the times; 0 of an empty series.
func (s series) middle(of func(sample) time.Duration) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(s), func(a, b sample) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

func p50(one sample) time.Duration { return one.p50 }
func p99(one sample) time.Duration { return one.p99 }

func (s series) total() (d time.Duration) {
	for _, one := range s {
		d += one.took
	}
	return d
}

// faults tells how many errors there were in all series and the first of each; "" when there was none.
func faults(all ...series) string {
	var text []string
	for _, s := range all {
		errors, first := 0, ""
		for _, one := range s {
			if errors == 0 {
				first = one.first
			}
			errors += one.errors
		}
		if errors > 0 {
			text = append(text, fmt.Sprintf("%d errors, first: %s", errors, first))
		}
	}
	return strings.Join(text, "; ")
}

// way is one of the ways of doing some work.
type way struct {
	do   func() (sample, error)
	once bool // takes so long that it is measured only once
}

// tooLong is how long a way may take and still be repeated.
const tooLong = 8 * time.Second

// interleave does the work in all ways in turn, n times, after one round that is not counted. A way that takes too long in that round is measured
// by it alone.
func interleave(n int, ways ...way) ([]series, error) {
	all := make([]series, len(ways))
	for round := range n + 1 {
		for i, w := range ways {
			if w.once && round != 1 || len(all[i]) > 0 && all[i][0].took > tooLong {
				continue
			}
			one, err := w.do()
			if err != nil {
				return nil, err
			}
			if round > 0 || one.took > tooLong {
				all[i] = append(all[i], one)
			}
		}
	}
	return all, nil
}

// ms is a time in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e3) }

// perSecond is the rate of n things in a time.
func perSecond(n int, d time.Duration) string { return fmt.Sprintf("%.0f", float64(n)/d.Seconds()) }

// both is the best and the median of a series, in milliseconds.
func both(s series) string { return ms(s.best()) + " / " + ms(s.median()) }

// ratios compares the bests and the medians of two series.
func ratios(a, b series) string {
	return fmt.Sprintf("%.3f / %.3f", a.best().Seconds()/b.best().Seconds(), a.median().Seconds()/b.median().Seconds())
}

// goal says whether a goal is met; work that failed has met none.
func goal(text string, met bool, all ...series) string {
	if met && faults(all...) == "" {
		return text + ": met"
	}
	return text + ": **missed**"
}
