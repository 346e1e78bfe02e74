package backtest

import (
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// counter holds the record of every subject it met, and counts in them as a store does, but only what the policy asks for.
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
	c := &counter{records: newPopulation(engine.Unread(p)), values: make([]float64, p.Slots())}
	c.maxLinks, _ = p.AccountsPerPhone()
	return c
}

// count applies what became known before an event, then the event, and has judge decide on it.
func (c *counter) count(e *record.Entry, judge func(*engine.Observation, *engine.Event) scoring.Decision) {
	for c.due.by(e.Time) {
		c.apply(c.due.next())
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
	c.touched += byte(c.records.touch(subjects)) //nolint:gosec // means nothing
	for kind := range subjects {
		c.seen.Records[kind] = nil
		if s := &subjects[kind]; s.Given() {
			c.seen.Records[kind] = c.records.record(s)
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

// schedule puts off what became of an event until it became known.
func (c *counter) schedule(e *record.Entry) {
	for _, kind := range [...]scoring.Event{scoring.Verified, scoring.Abuse} {
		o := e.Outcome(kind)
		if o.Kind == 0 || e.Verified && o.Kind == scoring.Verified {
			continue // none, or it came with the event
		}
		claims := o.Kind == scoring.Verified && !e.Linked && e.Subjects[hashing.Account].Given()
		c.due.add(outcome{o.Time, e.ID.Seq(), o.Kind, c.seen.Records, e.Link, e.Generation, claims})
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
