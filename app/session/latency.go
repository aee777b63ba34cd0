package session

import (
	"math/bits"
	"time"
)

// latencies counts durations in buckets, four for each power of two of microseconds: a quantile is right within a fifth, and adding costs nothing.
type latencies struct {
	buckets [4 * 33]uint32 // up to 2^33 µs, which is more than two hours
	count   int64
}

func (l *latencies) add(d time.Duration) {
	l.buckets[bucket(d)]++
	l.count++
}

func bucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	power := bits.Len64(us) - 1
	quarter := us << 2 >> power & 3 // the two bits behind the first
	return min(4*power+int(quarter), 4*33-1)
}

// quantile is the duration that q of all are not above, 0 when there are none.
func (l *latencies) quantile(q float64) time.Duration {
	if l.count == 0 {
		return 0
	}
	left := min(int64(q*float64(l.count)), l.count-1)
	for i, n := range l.buckets {
		if left -= int64(n); left < 0 {
			return middle(i)
		}
	}
	return middle(len(l.buckets) - 1)
}

// middle is what stands for a bucket.
func middle(i int) time.Duration {
	low := float64(uint64(1)<<(i/4)) * (1 + float64(i%4)/4)
	return time.Duration(low * (1 + 1/(2*float64(4+i%4))) * float64(time.Microsecond))
}
