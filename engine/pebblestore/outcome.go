package pebblestore

import (
	"context"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// RecordOutcome implements engine.Store.
func (s *Store) RecordOutcome(ctx context.Context, o *engine.Outcome) error {
	before, err := s.Entry(ctx, o.Domain, o.Event)
	if err != nil {
		return err
	}
	t, err := s.begin(ctx, before.Subjects[:]...)
	if err != nil {
		return err
	}
	defer t.end()
	// Read again: before the locks were held, another outcome may have come in.
	if err := t.readEntry(o.Domain, o.Event); err != nil {
		return err
	}
	if err := t.loadAll(&t.entry.Subjects); err != nil {
		return err
	}
	if t.applyOutcome(o) {
		if err := t.putAll(&t.entry.Subjects); err != nil {
			return err
		}
		if err := t.putEntry(o.Domain); err != nil {
			return err
		}
	}
	return t.commit(o.Domain, o.Once)
}

// applyOutcome edits the entry and the records, fills in the results, and
// reports whether anything is to be written.
func (t *tx) applyOutcome(o *engine.Outcome) (written bool) {
	e, phone := &t.entry, t.seen.Records[hashing.Phone]
	o.Stale = phone != nil && phone.Generation() != e.Generation
	o.Changed = e.Outcome(o.Kind).Kind != o.Kind
	if o.Changed {
		became := record.Outcome{Kind: o.Kind, Time: o.Time, Source: o.Source}
		replaced := e.SetOutcome(became)
		if !o.Stale {
			t.countOutcome(became, replaced, o.Now)
		}
	}
	claimed := t.claimLater(o)
	if phone != nil {
		o.Links = linksOf(phone, e.Link)
	}
	return o.Changed || claimed
}

// claimLater links the account of an event that turned out to be verified. An
// event claims once: an account that was unlinked since stays so, however often
// the outcome is reported.
func (t *tx) claimLater(o *engine.Outcome) bool {
	e, phone := &t.entry, t.seen.Records[hashing.Phone]
	if o.Kind != scoring.Verified || o.Stale || e.Claimed || phone == nil || !e.Subjects[hashing.Account].Given() {
		return false
	}
	e.Claimed = phone.Link(e.Link, record.TimeOf(o.Time), o.MaxLinks)
	return e.Claimed
}

// Unlink implements engine.Store.
func (s *Store) Unlink(ctx context.Context, u *engine.Unlink) error {
	t, phone, err := s.beginPhone(ctx, u.Phone)
	if err != nil {
		return err
	}
	defer t.end()
	if u.Unlinked = phone.Unlink(u.Link); u.Unlinked {
		if err := t.put(u.Phone, phone); err != nil {
			return err
		}
	}
	u.Links = linksOf(phone, u.Link)
	return t.commit(u.Domain, u.Once)
}

// Release implements engine.Store.
func (s *Store) Release(ctx context.Context, r *engine.Release) error {
	t, phone, err := s.beginPhone(ctx, r.Phone)
	if err != nil {
		return err
	}
	defer t.end()
	phone.Release()
	r.Generation = phone.Generation()
	if err := t.put(r.Phone, phone); err != nil {
		return err
	}
	return t.commit(r.Domain, r.Once)
}

// beginPhone starts a step on one phone and loads its record.
func (s *Store) beginPhone(ctx context.Context, phone hashing.Subject) (*tx, *record.Record, error) {
	t, err := s.begin(ctx, phone)
	if err != nil {
		return nil, nil, err
	}
	r := &t.records[hashing.Phone]
	if err := t.load(phone, r); err != nil {
		t.end()
		return nil, nil, err
	}
	return t, r, nil
}
