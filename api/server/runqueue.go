package server

import (
	"runtime/metrics"
	"time"
)

// runQueue tells how long goroutines that could go on have to wait for a processor. It is not safe for concurrent use.
type runQueue struct {
	sample []metrics.Sample
	before []uint64 // counts when it was asked last
}

func newRunQueue() *runQueue {
	return &runQueue{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
}

// lag returns what 99 of 100 waits took at most since it was asked last, about; 0 when nobody waited.
func (q *runQueue) lag() time.Duration {
	metrics.Read(q.sample)
	if q.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a runtime without it
	}
	h := q.sample[0].Value.Float64Histogram()
	if len(q.before) != len(h.Counts) {
		q.before = make([]uint64, len(h.Counts))
	}
	lag := slowest(h.Counts, q.before, h.Buckets)
	copy(q.before, h.Counts)
	return lag
}

// slowest returns the lower bound of the bucket in which the 99th of 100 is of what came to a histogram.
func slowest(now, before []uint64, bounds []float64) time.Duration {
	total := uint64(0)
	for i := range now {
		total += now[i] - before[i]
	}
	seen := uint64(0)
	for i := range now {
		if seen += now[i] - before[i]; total > 0 && 100*seen >= 99*total {
			return time.Duration(max(bounds[i], 0) * float64(time.Second)) // the first bound is minus infinity
		}
	}
	return 0
}
