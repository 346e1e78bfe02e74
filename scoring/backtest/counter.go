package backtest

import (
	"container/heap"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// counter holds the record of every subject it met, and counts in them as a store does.
type counter struct {
	records  *population
	seen     engine.Observation
	entry    record.Entry
	event    engine.Event
	values   []float64
	maxLinks int
	due      outcomes
	touched  byte // a sum of what was touched, so that it is
}

func newCounter(p *scoring.Policy) *counter {
	c := &counter{records: newPopulation(), values: make([]float64, p.Slots())}
	c.maxLinks, _ = p.AccountsPerPhone()
	return c
}

// count applies what became known before an event, then the event, and has judge decide on it.
func (c *counter) count(e *record.Entry, judge func(*engine.Observation, *engine.Event) scoring.Decision) {
	for len(c.due) > 0 && c.due[0].at <= e.Time {
		o := c.due[0]
		heap.Pop(&c.due)
		c.apply(o)
	}
	c.find(&e.Subjects)
	for _, r := range c.seen.Records {
		if r != nil && r.Idle(record.TimeOf(e.Now), uint32(engine.DefaultSubjectRetention/time.Second)) {
			r.Forget()
		}
	}
	phone := c.seen.Records[hashing.Phone]
	for phone != nil && phone.Generation() < e.Generation {
		phone.Release()
	}
	e = c.complete(e)
	mark := e.Mark()
	for kind, r := range c.seen.Records {
		if r != nil {
			r.Apply(hashing.Kind(kind), &mark)
		}
	}
	c.event = engine.Event{Kind: e.Kind, Time: e.Time, Subjects: e.Subjects, Link: e.Link, Verified: e.Verified}
	decision := judge(&c.seen, &c.event)
	e.Linked = phone != nil && decision != scoring.Block && c.event.Claims() && phone.Link(e.Link, record.TimeOf(e.Time), c.maxLinks)
	for kind, r := range c.seen.Records {
		if r != nil {
			e.Settle(hashing.Kind(kind), r)
		}
	}
	c.schedule(e)
}

// complete returns a copy of an entry to work on. Entries of version 1 lack the country, which stands
// among the values too.
func (c *counter) complete(e *record.Entry) *record.Entry {
	c.entry = *e
	if e.Country == "" {
		c.entry.Country = region(e.Values[scoring.SlotIPCountry])
	}
	return &c.entry
}

// find looks up the records of an event's subjects, and makes those of subjects never seen.
func (c *counter) find(subjects *hashing.Subjects) {
	for kind := range subjects {
		c.seen.Records[kind] = nil
		if s := &subjects[kind]; s.Given() {
			c.seen.Records[kind] = c.records.record(&s.ID)
		}
	}
	c.touched += touch(&c.seen.Records)
}

// touch has the memory of all records fetched at once.
func touch(all *[hashing.Kinds]*record.Record) (sum byte) {
	for _, r := range all {
		if r != nil {
			sum += r.Touch()
		}
	}
	return sum
}

// outcome is what became of an event, until it is due.
type outcome struct {
	at         int64 // unix seconds: when it became known
	seq        record.Seq
	kind       scoring.Event
	records    [hashing.Kinds]*record.Record // of the event's subjects
	link       hashing.LinkTag
	generation uint32
	claims     bool // a verification links the account
}

// schedule puts off what became of an event until it became known.
func (c *counter) schedule(e *record.Entry) {
	for _, kind := range [...]scoring.Event{scoring.Verified, scoring.Abuse} {
		o := e.Outcome(kind)
		if o.Kind == 0 || e.Verified && o.Kind == scoring.Verified {
			continue // none, or it came with the event
		}
		claims := o.Kind == scoring.Verified && !e.Linked && e.Subjects[hashing.Account].Given()
		heap.Push(&c.due, &outcome{o.Time, e.ID.Seq(), o.Kind, c.seen.Records, e.Link, e.Generation, claims})
	}
}

// apply does what a store does with an outcome.
func (c *counter) apply(o *outcome) {
	phone := o.records[hashing.Phone]
	if phone != nil && phone.Generation() != o.generation {
		return // stale: the phone is somebody else's by now
	}
	c.touched += touch(&o.records)
	effect := record.Effect{Op: record.OpOutcome, Time: o.at, Now: o.at, Event: o.kind, Link: o.link}
	effect.Linked = o.claims && phone != nil && phone.Link(o.link, record.TimeOf(o.at), c.maxLinks)
	for kind, r := range o.records {
		if r != nil {
			effect.Apply(hashing.Kind(kind), r)
		}
	}
}

// outcomes is a heap by time, and by event within a second.
type outcomes []*outcome

func (h outcomes) Len() int { return len(h) }

func (h outcomes) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].seq < h[j].seq
}

func (h outcomes) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *outcomes) Push(x any) { *h = append(*h, x.(*outcome)) } //nolint:forcetypeassert // nothing else is pushed

func (h *outcomes) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}
