package pebblestore

import (
	"context"
	"errors"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// RecordOutcome implements engine.Store.
func (s *Store) RecordOutcome(ctx context.Context, o *engine.Outcome) error {
	s.clock.advance(o.Now)
	before, err := s.Entry(ctx, o.Domain, o.Event)
	if err != nil {
		return err
	}
	// The entry keeps the subjects of its time; those who are counted are where they are by now.
	owners := hashing.Version{Subjects: before.Subjects, Link: before.Link}
	t, err := s.begin(ctx, owners.Subjects[:]...)
	if err != nil {
		return err
	}
	defer t.end()
	if err := t.follow(&owners.Subjects, &owners.Link); err != nil {
		return err
	}
	s.withoutDestroyed(&owners.Subjects)
	t.later = o.Later
	if t.now = s.clock.advance(o.Now); o.Event.Seq() < s.logFrom(t.now) {
		return engine.ErrUnknownEvent
	}
	// Read again: before the locks were held, another outcome may have come in.
	if err := t.readEntry(o.Domain, o.Event); err != nil {
		return err
	}
	if err := t.loadAll(&owners.Subjects); err != nil {
		return err
	}
	idle, err := t.forgetIdle(&owners.Subjects)
	if err != nil {
		return err
	}
	t.put(&idle)
	if err := t.relink(&owners, o.Now); err != nil {
		return err
	}
	if err := t.applyOutcome(o, &owners); err != nil {
		return err
	}
	return t.commit(o.Domain, o.Once)
}

// applyOutcome edits the entry and the records, and fills in the results.
func (t *tx) applyOutcome(o *engine.Outcome, owners *hashing.Version) error {
	e, phone := &t.entry, t.seen.Records[hashing.Phone]
	o.Stale = phone != nil && phone.Generation() != e.Generation
	replaced := e.Outcome(o.Kind).Kind
	o.Changed = replaced != o.Kind
	report := record.Report{Outcome: record.Outcome{Kind: o.Kind, Time: o.Time, Source: o.Source}, Stale: o.Stale}
	claimed := t.mayClaim(o, owners) && phone.Link(owners.Link, record.TimeOf(o.Time), o.MaxLinks)
	e.Claimed = e.Claimed || claimed
	if !o.Stale && (o.Changed || claimed) {
		t.effect = record.Effect{
			Op: record.OpOutcome, Time: o.Time, Now: o.Now, Subjects: owners.Subjects,
			Event: o.Kind, Replaced: replaced, Linked: claimed, Link: owners.Link,
		}
		if !o.Changed { // the others have counted it
			t.effect.Subjects = onlyPhone(owners.Subjects[hashing.Phone])
		}
		if _, err := t.putEffect(); err != nil {
			return err
		}
		report.Seq, report.Now = t.effect.Seq, o.Now
	}
	if phone != nil {
		o.Links = linksOf(phone, owners.Link)
	}
	if !o.Changed && !claimed {
		return nil
	}
	e.Report(report)
	return t.putEntry(o.Domain)
}

// mayClaim reports whether an outcome may link the account of its event, which turned out to be
// verified. An event claims once: an account that was unlinked since stays so, however often
// the outcome is reported.
func (t *tx) mayClaim(o *engine.Outcome, owners *hashing.Version) bool {
	return o.Kind == scoring.Verified && !o.Stale && !t.entry.Claimed &&
		owners.Subjects[hashing.Phone].Given() && owners.Subjects[hashing.Account].Given()
}

func onlyPhone(phone hashing.Subject) (s hashing.Subjects) {
	s[hashing.Phone] = phone
	return s
}

// Unlink implements engine.Store.
func (s *Store) Unlink(ctx context.Context, u *engine.Unlink) error {
	of, t, phone, err := s.beginUnlink(ctx, u)
	if err != nil {
		return err
	}
	defer t.end()
	t.effect = record.Effect{Op: record.OpUnlink, Time: u.Now, Now: u.Now, Subjects: onlyPhone(u.Phone), Link: u.Link}
	if u.Unlinked, err = t.putEffect(); err != nil {
		return err
	}
	u.Links = linksOf(phone, u.Link)
	if u.Unlinked && of.Given() {
		if err := t.reportUnlink(u, of); err != nil {
			return err
		}
	}
	return t.commit(u.Domain, u.Once)
}

// beginUnlink is beginPhone, and finds the event that tells of it. That is found before the phone is locked; where the account turns out to be
// linked and no event was found, it may have been linked meanwhile, and is looked for once more.
func (s *Store) beginUnlink(ctx context.Context, u *engine.Unlink) (of engine.EventID, t *tx, phone *record.Record, err error) {
	for again := false; ; again = true {
		if of, err = s.eventOf(ctx, u); err != nil {
			return of, nil, nil, err
		}
		if t, phone, err = s.beginPhone(ctx, &u.Phone); err != nil {
			return of, nil, nil, err
		}
		t.now = s.clock.advance(u.Now)
		if u.Known && t.isStale(phone) {
			t.end()
			return of, nil, nil, engine.ErrStalePhone
		}
		if again || of.Given() || phone.LinkedSince(u.Link) == 0 {
			return of, t, phone, nil
		}
		t.end()
	}
}

// maxUnlinkWalk is how many events of a phone are looked at for one of an account that is unlinked.
const maxUnlinkWalk = 1000

// eventOf returns the newest event of the phone and the account, zero when they are not linked or there is none among the newest of the phone.
func (s *Store) eventOf(ctx context.Context, u *engine.Unlink) (of engine.EventID, err error) {
	err = s.walk(ctx, u.Domain, u.Phone, maxUnlinkWalk, func(e *record.Entry, phone *record.Record) bool {
		linked := phone.LinkedSince(u.Link) != 0
		if linked && e.Link == u.Link {
			of = e.ID
		}
		return linked && !of.Given()
	})
	return of, err
}

// reportUnlink notes with an event of the account that it was unlinked from the phone. Whether the log still has the event is of no matter.
func (t *tx) reportUnlink(u *engine.Unlink, of engine.EventID) error {
	if of.Seq() < t.s.logFrom(t.now) {
		return nil
	}
	err := t.readEntry(u.Domain, of)
	if errors.Is(err, engine.ErrUnknownEvent) {
		return nil
	}
	if err != nil {
		return err
	}
	t.entry.Report(record.Report{Outcome: record.Outcome{Time: u.Now}, Seq: t.effect.Seq, Now: u.Now})
	return t.putEntry(u.Domain)
}

// Release implements engine.Store.
func (s *Store) Release(ctx context.Context, r *engine.Release) error {
	t, phone, err := s.beginPhone(ctx, &r.Phone)
	if err != nil {
		return err
	}
	defer t.end()
	t.now = s.clock.advance(r.Now)
	if r.Known && t.isStale(phone) {
		return engine.ErrStalePhone
	}
	t.effect = record.Effect{Op: record.OpRelease, Time: r.Now, Now: r.Now, Subjects: onlyPhone(r.Phone)}
	if _, err := t.putEffect(); err != nil {
		return err
	}
	r.Generation = phone.Generation()
	return t.commit(r.Domain, r.Once)
}

// beginPhone starts a step on one phone, or another subject, and loads its record into the place
// of its kind. phone becomes the subject that it is by now.
func (s *Store) beginPhone(ctx context.Context, phone *hashing.Subject) (*tx, *record.Record, error) {
	t, err := s.begin(ctx, *phone)
	if err != nil {
		return nil, nil, err
	}
	r := &t.records[phone.Kind]
	if err := errors.Join(t.followOne(phone), t.load(*phone, r)); err != nil {
		t.end()
		return nil, nil, err
	}
	return t, r, nil
}
