package load

import (
	"math/bits"
	"time"
)

// Histogram counts times, each within 1/32 of its value, without growing. The zero Histogram is
// empty. It is not safe for concurrent use.
type Histogram struct {
	Counts [buckets]uint64
	N      uint64
}

// A bucket is the leading bit of the time in nanoseconds and the finer bits behind it.
const (
	fineBits = 5
	buckets  = (40 - fineBits + 1) << fineBits // up to 18 minutes
)

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 1<<fineBits {
		return int(n)
	}
	shift := bits.Len64(n) - fineBits - 1
	return min(shift<<fineBits+int(n>>shift), buckets-1) //nolint:gosec // below 2^(fineBits+1)
}

// middle returns a time in the middle of a bucket.
func middle(bucket int) time.Duration {
	if bucket < 1<<fineBits {
		return time.Duration(bucket)
	}
	shift := bucket>>fineBits - 1
	from := (1<<fineBits | bucket&(1<<fineBits-1)) << shift
	return time.Duration(from + 1<<shift/2)
}

// Add counts a time. Negative ones count as zero.
func (h *Histogram) Add(d time.Duration) {
	h.Counts[bucketOf(d)]++
	h.N++
}

// Merge counts everything that other counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.N += other.N
}

// Quantile returns the time that a share q of all, from 0 to 1, does not exceed; 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	seen, want := uint64(0), uint64(q*float64(h.N))
	for i, n := range h.Counts {
		if seen += n; n > 0 && (seen > want || seen == h.N) {
			return middle(i)
		}
	}
	return 0
}
