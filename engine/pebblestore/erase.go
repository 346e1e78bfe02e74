package pebblestore

import (
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// Erase implements engine.Store.
//
// What an event of the phone counted for others stays, and has to survive a crash before their records
// reach the tables. So the log entry of an event behind the watermark is not only deleted: an effect with
// the same number takes its place in the journal, which says what is left of the event and names no phone.
// Recovery makes it at the place of the event.
//
// What a phone was called under older keys is forgotten with it: nothing leads from there to where it was moved. So if it comes back by a token of the present key, accounts, addresses
// and devices that knew it by an older tag take it for another phone, until it comes by the number.
//
// The bytes leave the disk with compactions to come; Rewrite does not leave it at that.
func (s *Store) Erase(ctx context.Context, e *engine.Erasure) error {
	phones := slices.Clone(e.Phones)
	t, err := s.beginSweep(ctx, phones...)
	if err != nil {
		return err
	}
	defer t.end()
	if err := t.followTo(phones, nil); err != nil {
		return err
	}
	t.now = s.clock.advance(e.Now)
	for i, phone := range phones {
		if slices.Contains(phones[:i], phone) {
			continue
		}
		if err := t.erase(e, phone); err != nil {
			return err
		}
	}
	return t.commit(e.Domain, e.Once)
}

// erase forgets one phone, whose shard is locked. A phone of which nothing is known costs the same commit.
func (t *tx) erase(e *engine.Erasure, phone hashing.Subject) error {
	r := &t.records[phone.Kind]
	if err := t.load(phone, r); err != nil {
		return err
	}
	names, err := t.s.namesOf(phone)
	if err != nil {
		return err
	}
	if err := t.eraseEvents(e.Domain, names, r.Newest()); err != nil {
		return err
	}
	if err := t.eraseForwards(names); err != nil {
		return err
	}
	if err := t.eraseListings(e.Domain, phone, r); err != nil {
		return err
	}
	t.effect = record.Effect{Seq: t.s.nextSeq(), Op: record.OpErase, Time: e.Now, Now: e.Now, Subjects: onlyPhone(phone)}
	t.effect.Apply(phone.Kind, r)
	t.putCopy(phone, r)
	return t.putJournal()
}

// eraseEvents deletes every event of a phone from the log. The phone is locked, so that no further one
// comes in; they are found by walking from each event to the one before.
func (t *tx) eraseEvents(domain hashing.DomainID, names []hashing.Subject, newest record.Seq) (err error) {
	it, err := t.s.db.NewIter(logBounds(domain))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for seq := newest; seq != 0; {
		e, err := entryAt(it, domain, seq)
		if err != nil {
			return err
		}
		if e == nil {
			break // expired: so is everything before it
		}
		if err := t.eraseEvent(domain, e); err != nil {
			return err
		}
		seq = e.Prev
	}
	if t.s.unlinked < uint64(t.s.logFrom(t.now)) {
		return nil
	}
	return t.searchEvents(it, domain, names)
}

// searchEvents deletes the events of a phone from the part of the log that a store of an earlier format wrote: there, the
// walk ends where the number was released or forgotten. It looks at every event of that part.
func (t *tx) searchEvents(it *pebble.Iterator, domain hashing.DomainID, names []hashing.Subject) error {
	var e record.Entry
	for ok := it.First(); ok; ok = it.Next() {
		_, id, err := splitLogKey(it.Key())
		if err != nil || uint64(id.Seq()) > t.s.unlinked {
			return err
		}
		if err := decodeEntry(&e, id, it.Value()); err != nil {
			return err
		}
		if !slices.Contains(names, e.Subjects[hashing.Phone]) {
			continue
		}
		if err := t.eraseEvent(domain, &e); err != nil {
			return err
		}
	}
	return nil
}

// eraseEvent deletes one event, and keeps what is left of it where recovery may need it.
func (t *tx) eraseEvent(domain hashing.DomainID, e *record.Entry) error {
	t.key = appendLogKey(t.key[:0], domain, e.ID)
	if err := t.writes().Delete(t.key, nil); err != nil {
		return err
	}
	if uint64(e.ID.Seq()) <= t.s.watermark.Load() {
		return nil
	}
	var others bool
	if t.effect, others = record.RemainsOf(e); !others {
		return nil
	}
	return t.writeJournal()
}

// eraseForwards deletes what leads from the older names of a phone to the newest, which is the first.
func (t *tx) eraseForwards(names []hashing.Subject) error {
	for _, from := range names[1:] {
		t.key = appendForwardKey(t.key[:0], from)
		if err := t.writes().Delete(t.key, nil); err != nil {
			return err
		}
		for _, to := range names {
			if to.Key <= from.Key {
				continue
			}
			t.key = appendBackKey(t.key[:0], to, from)
			if err := t.writes().Delete(t.key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseListings deletes a subject's entries from the lists it is on.
func (t *tx) eraseListings(domain hashing.DomainID, subject hashing.Subject, r *record.Record) (err error) {
	r.Memberships(func(list uint16, _ int64) {
		t.key = subject.Append(appendEntriesPrefix(t.key[:0], domain, list))
		err = errors.Join(err, t.writes().Delete(t.key, nil))
	})
	return err
}
