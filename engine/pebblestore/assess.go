package pebblestore

import (
	"context"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Assess implements engine.Store.
func (s *Store) Assess(ctx context.Context, ev *engine.Event, d *engine.Decision,
	decide func(*engine.Observation, *engine.Decision),
) error {
	t, err := s.begin(ctx, ev.Subjects[:]...)
	if err != nil {
		return err
	}
	defer t.end()
	if err := t.loadAll(&ev.Subjects); err != nil {
		return err
	}
	d.ID = s.nextID(s.opts.Random())
	t.newEntry(ev, d.ID)
	t.observe(ev, d.ID.Seq())
	decide(&t.seen, d)
	t.settle(ev, d)
	if err := t.putAll(&ev.Subjects); err != nil {
		return err
	}
	if err := t.putEntry(ev.Domain); err != nil {
		return err
	}
	return t.commit(ev.Domain, ev.Once)
}

// newEntry begins the log entry of an event with what is known before it is
// counted.
func (t *tx) newEntry(ev *engine.Event, id engine.EventID) {
	t.entry = record.Entry{
		ID: id, Kind: ev.Kind, Time: ev.Time, Verified: ev.Verified,
		Given: ev.Number.Given, Valid: ev.Number.Valid,
		Subjects: ev.Subjects, Link: ev.Link,
	}
	if phone := t.seen.Records[hashing.Phone]; phone != nil {
		t.entry.Prev, t.entry.Generation = phone.Newest(), phone.Generation()
	}
}

// settle does what was decided: the claim, and what a verified event leaves
// behind. It completes the log entry.
func (t *tx) settle(ev *engine.Event, d *engine.Decision) {
	phone := t.seen.Records[hashing.Phone]
	if phone != nil {
		if d.Claim && ev.Claims() {
			t.entry.Claimed = phone.Link(ev.Link, record.TimeOf(ev.Time), d.MaxLinks)
		}
		d.Links = linksOf(phone, ev.Link)
	}
	if ev.Verified && phone != nil {
		o := record.Outcome{Kind: scoring.Verified, Time: ev.Time}
		t.entry.SetOutcome(o)
		t.countOutcome(o, 0, ev.Now)
	}
	t.entry.Verdict, t.entry.Score, t.entry.Holdout = d.Verdict, d.Score, d.Holdout
	t.entry.Policy, t.entry.Values = d.Policy, d.Values
}

func linksOf(phone *record.Record, link hashing.LinkTag) engine.Links {
	since := phone.LinkedSince(link)
	return engine.Links{Count: phone.Links(), Linked: since != 0, Since: since}
}

// countOutcome counts an outcome in all records seen, and moves their labels.
func (t *tx) countOutcome(o record.Outcome, replaced scoring.Event, now int64) {
	for _, r := range t.seen.Records {
		if r == nil {
			continue
		}
		r.CountOutcome(o.Kind, record.TimeOf(o.Time), record.TimeOf(now))
		if isLabel(o.Kind) {
			r.Label(o.Kind, 1)
		}
		if isLabel(replaced) {
			r.Label(replaced, -1)
		}
	}
}

func isLabel(ev scoring.Event) bool { return ev == scoring.Abuse || ev == scoring.Legitimate }

// Observe implements engine.Store.
func (s *Store) Observe(ctx context.Context, ev *engine.Event) (*engine.Observation, error) {
	t, err := s.begin(ctx, ev.Subjects[:]...)
	if err != nil {
		return nil, err
	}
	defer t.end()
	if err := t.loadAll(&ev.Subjects); err != nil {
		return nil, err
	}
	t.observe(ev, 0)
	return t.handOver(), nil
}

// handOver returns what was seen for the caller to keep.
func (t *tx) handOver() *engine.Observation {
	o := &engine.Observation{Lists: t.seen.Lists}
	for kind, r := range t.seen.Records {
		if r != nil {
			kept := t.records[kind]
			t.records[kind] = record.Record{}
			o.Records[kind] = &kept
		}
	}
	return o
}
