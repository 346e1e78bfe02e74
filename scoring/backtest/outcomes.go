package backtest

import (
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// outcome is what became of an event, until it is due.
type outcome struct {
	at         int64         // when it is due: the number of its change in the log, or unix seconds where that is not known
	seq        record.Seq    // of the event
	time, now  int64         // unix seconds: when it became known, and when it was recorded
	kind       scoring.Event // 0 when the account was unlinked
	replaced   scoring.Event
	records    [hashing.Kinds]*record.Record // of the event's subjects
	link       hashing.LinkTag
	generation uint32
	claims     bool // a verification links the account
	again      bool // another one of the same event may, too
}

// outcomes are those that are not due yet, the next one first, and by event where several are due at once. It is a binary heap of places, so that
// what is moved about is small; container/heap would take an allocation and a dozen calls by interface for each.
type outcomes struct {
	heap  []dueAt
	all   []outcome
	spare []uint32 // places in all that are free
}

// dueAt is where an outcome stands in the order, and its place.
type dueAt struct {
	at    int64
	seq   record.Seq
	place uint32
}

func (d *dueAt) before(o *dueAt) bool { return d.at < o.at || d.at == o.at && d.seq < o.seq }

// by reports whether an outcome is due.
func (o *outcomes) by(at int64) bool { return len(o.heap) > 0 && o.heap[0].at <= at }

// waiting is how many are not due.
func (o *outcomes) waiting() int { return len(o.heap) }

// add takes an outcome.
func (o *outcomes) add(what outcome) {
	place := uint32(len(o.all)) //nolint:gosec // 4 billion outcomes do not fit into memory
	if n := len(o.spare); n > 0 {
		place, o.spare = o.spare[n-1], o.spare[:n-1]
		o.all[place] = what
	} else {
		o.all = append(o.all, what)
	}
	o.heap = append(o.heap, dueAt{})
	h, moving := o.heap, dueAt{what.at, what.seq, place}
	hole := len(h) - 1
	for hole > 0 {
		above := (hole - 1) / 2
		if !moving.before(&h[above]) {
			break
		}
		h[hole] = h[above]
		hole = above
	}
	h[hole] = moving
}

// next takes the first one out, of which there has to be one. The result is good until add.
func (o *outcomes) next() *outcome {
	first, last := o.heap[0], len(o.heap)-1
	h, moving := o.heap[:last], o.heap[last]
	o.heap = h
	o.spare = append(o.spare, first.place)
	if last == 0 {
		return &o.all[first.place]
	}
	hole := 0
	for below := 1; below < last; below = 2*hole + 1 {
		if below+1 < last && h[below+1].before(&h[below]) {
			below++
		}
		if !h[below].before(&moving) {
			break
		}
		h[hole] = h[below]
		hole = below
	}
	h[hole] = moving
	return &o.all[first.place]
}
