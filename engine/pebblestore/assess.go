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
	if err := t.follow(&ev.Subjects, &ev.Link); err != nil {
		return err
	}
	t.now, t.later = s.clock.advance(ev.Now), ev.Later
	if err := t.loadAll(&ev.Subjects); err != nil {
		return err
	}
	if _, err := t.forgetIdle(&ev.Subjects); err != nil {
		return err
	}
	if ev.Known && t.isStale(t.seen.Records[hashing.Phone]) {
		return engine.ErrStalePhone
	}
	d.ID = record.NewEventID(s.nextSeq(), s.opts.Random())
	t.newEntry(ev, d.ID)
	t.observe(ev, d.ID.Seq())
	decide(&t.seen, d)
	t.settle(ev, d)
	t.put(&ev.Subjects)
	if err := t.putEvent(ev.Domain); err != nil {
		return err
	}
	return t.commit(ev.Domain, ev.Once)
}

// newEntry begins the log entry of an event with what is known before it is
// counted.
func (t *tx) newEntry(ev *engine.Event, id engine.EventID) {
	t.entry = record.Entry{
		ID: id, Kind: ev.Kind, Time: ev.Time, Now: ev.Now, Verified: ev.Verified,
		Given: ev.Number.Given, Valid: ev.Number.Valid, Country: ev.Country,
		Subjects: ev.Subjects, Link: ev.Link,
	}
	if phone := t.seen.Records[hashing.Phone]; phone != nil {
		t.entry.Prev, t.entry.Generation = phone.Newest(), phone.Generation()
	}
}

// settle does what was decided: the claim, and what a verified event leaves
// behind. It completes the log entry.
func (t *tx) settle(ev *engine.Event, d *engine.Decision) {
	e, phone := &t.entry, t.seen.Records[hashing.Phone]
	if phone != nil && d.Claim && ev.Claims() {
		e.Linked = phone.Link(ev.Link, record.TimeOf(ev.Time), d.MaxLinks)
		e.Claimed = e.Linked
	}
	for kind, r := range t.seen.Records {
		if r != nil {
			e.Settle(hashing.Kind(kind), r)
		}
	}
	if phone != nil {
		d.Links = linksOf(phone, ev.Link)
		if ev.Verified {
			e.SetOutcome(record.Outcome{Kind: scoring.Verified, Time: ev.Time})
		}
	}
	e.Verdict, e.Score, e.Holdout = d.Verdict, d.Score, d.Holdout
	e.Policy, e.Values, e.Shadows = d.Policy, d.Values, d.Shadows
}

func linksOf(phone *record.Record, link hashing.LinkTag) engine.Links {
	since := phone.LinkedSince(link)
	return engine.Links{Count: phone.Links(), Linked: since != 0, Since: since}
}

// Observe implements engine.Store.
func (s *Store) Observe(ctx context.Context, ev *engine.Event) (*engine.Observation, error) {
	t, err := s.beginLook(ctx, ev.Subjects[:]...)
	if err != nil {
		return nil, err
	}
	defer t.end()
	if err := t.follow(&ev.Subjects, &ev.Link); err != nil {
		return nil, err
	}
	t.now = s.clock.see(ev.Now)
	if err := t.loadAll(&ev.Subjects); err != nil {
		return nil, err
	}
	t.hideIdle()
	if ev.Known && t.isStale(t.seen.Records[hashing.Phone]) {
		return nil, engine.ErrStalePhone
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
