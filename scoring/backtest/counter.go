package backtest

import (
	"cmp"
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
	keep     uint32 // seconds that idle subjects are kept
	place    func(*record.Entry) record.Seq
	told     outcomes            // by their place in the log
	due      outcomes            // those of entries that do not tell it, by when they became known
	claimed  map[record.Seq]bool // events whose account a verification linked and another one may link again
	touched  byte                // a sum of what was touched, so that it is
}

func (cfg *Config) newCounter() *counter {
	p := cfg.Policy
	c := &counter{records: newPopulation(engine.Unread(p)), values: make([]float64, p.Slots()), claimed: map[record.Seq]bool{}, place: cfg.Place}
	if c.place == nil {
		c.place = func(e *record.Entry) record.Seq { return e.ID.Seq() }
	}
	c.maxLinks, _ = p.AccountsPerPhone()
	c.keep = uint32(cmp.Or(cfg.KeepSubjects, engine.DefaultSubjectRetention) / time.Second) //nolint:gosec // a century
	return c
}

// count applies what became known before an event, then the event, and has judge decide on it.
func (c *counter) count(e *record.Entry, judge func(*engine.Observation, *engine.Event) scoring.Decision) {
	for c.due.by(e.Time) { // first: reports came after what they replaced
		c.apply(c.due.next(), false)
	}
	for place := int64(c.place(e)); c.told.by(place); { //nolint:gosec // microseconds
		c.apply(c.told.next(), true)
	}
	c.find(&e.Subjects)
	c.forgetIdle(&c.seen.Records, e.Now)
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

// forgetIdle forgets subjects to which nothing happened for long, as a store does before something happens to them.
func (c *counter) forgetIdle(all *[hashing.Kinds]*record.Record, now int64) {
	for _, r := range all {
		if r != nil && r.Idle(record.TimeOf(now), c.keep) {
			r.Forget()
		}
	}
}

// schedule puts off what became of an event until it is due.
func (c *counter) schedule(e *record.Entry) {
	claims := !e.Linked && e.Subjects[hashing.Account].Given()
	o := outcome{seq: e.ID.Seq(), records: c.seen.Records, link: e.Link, generation: e.Generation}
	for _, kind := range [...]scoring.Event{scoring.Verified, scoring.Abuse} {
		first := e.First(kind)
		if first.Kind == 0 || e.Verified && first.Kind == scoring.Verified {
			continue // none, or it came with the event
		}
		o.at, o.time, o.now, o.kind, o.claims = first.Time, first.Time, first.Time, first.Kind, claims && first.Kind == scoring.Verified
		o.again = o.claims && len(e.Reports()) > 0
		c.due.add(o)
	}
	if reports := e.Reports(); len(reports) > 0 {
		c.scheduleReports(e, reports, o, claims)
	}
}

// scheduleReports is schedule for what has its place in the log.
func (c *counter) scheduleReports(e *record.Entry, reports []record.Report, o outcome, claims bool) {
	proof, label := e.First(scoring.Verified).Kind, e.First(scoring.Abuse).Kind
	for i := range reports {
		r := &reports[i]
		o.at, o.time, o.now, o.kind, o.replaced = int64(r.Seq), r.Time, r.Now, r.Kind, 0 //nolint:gosec // microseconds
		switch r.Kind {
		case scoring.Verified, scoring.Unverified:
			o.replaced, proof = proof, r.Kind
		case scoring.Abuse, scoring.Legitimate:
			o.replaced, label = label, r.Kind
		}
		if r.Stale {
			continue // counted nothing
		}
		o.claims = claims && r.Kind == scoring.Verified
		o.again = o.claims && len(reports) > 1
		c.told.add(o)
	}
}

// apply does what a store does with an outcome. recorded says that it is known when that was.
func (c *counter) apply(o *outcome, recorded bool) {
	phone := o.records[hashing.Phone]
	if phone != nil && phone.Generation() != o.generation {
		return // stale: the phone is somebody else's by now
	}
	c.touched += touch(&o.records)
	if o.kind == 0 {
		if phone != nil {
			phone.Unlink(o.link)
		}
		return
	}
	if recorded {
		c.forgetIdle(&o.records, o.now)
	}
	effect := record.Effect{Op: record.OpOutcome, Time: o.time, Now: o.now, Event: o.kind, Replaced: o.replaced, Link: o.link}
	effect.Linked = o.claims && phone != nil && !c.claimed[o.seq] && phone.Link(o.link, record.TimeOf(o.time), c.maxLinks)
	if effect.Linked && o.again {
		c.claimed[o.seq] = true
	}
	for kind, r := range o.records {
		if r != nil {
			effect.Apply(hashing.Kind(kind), r)
		}
	}
}
