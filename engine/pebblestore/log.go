package pebblestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// logKeySize is table, domain and event id.
const logKeySize = 1 + 2 + 16

func splitLogKey(key []byte) (hashing.DomainID, engine.EventID, error) {
	if len(key) != logKeySize {
		return 0, engine.EventID{}, fmt.Errorf("%w: key of the event log", engine.ErrCorrupt)
	}
	return hashing.DomainID(key[1])<<8 | hashing.DomainID(key[2]), engine.EventID(key[3:]), nil
}

func decodeEntry(e *record.Entry, id engine.EventID, b []byte) error {
	if err := e.Decode(id, b); err != nil {
		return fmt.Errorf("%w: entry of the event log", engine.ErrCorrupt)
	}
	return nil
}

// readEntry reads one entry into t, to be written anew: until t unlocks, the log is not trimmed, or what was given up would come back.
// A step calls it once.
func (t *tx) readEntry(domain hashing.DomainID, id engine.EventID) error {
	t.s.trims.RLock()
	t.rewrite = true
	t.key = appendLogKey(t.key[:0], domain, id)
	b, closer, err := t.s.db.Get(t.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return engine.ErrUnknownEvent
	}
	if err != nil {
		return explainRead(err)
	}
	return errors.Join(decodeEntry(&t.entry, id, b), closer.Close())
}

// Entry implements engine.Store.
func (s *Store) Entry(ctx context.Context, domain hashing.DomainID, id engine.EventID) (*record.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	b, err := s.get(appendLogKey(nil, domain, id))
	switch {
	case err != nil:
		return nil, err
	case b == nil, id.Seq() < s.logFrom(s.clock.now.Load()):
		return nil, engine.ErrUnknownEvent
	}
	e := new(record.Entry)
	return e, errors.Join(decodeEntry(e, id, b), s.followEntry(e))
}

// Timeline implements engine.Store.
func (s *Store) Timeline(ctx context.Context, domain hashing.DomainID, phone hashing.Subject, limit int) (events []*record.Entry, err error) {
	err = s.walk(ctx, domain, phone, limit, func(e *record.Entry, r *record.Record) bool {
		if record.TimeOf(e.Time) < record.TimeOf(r.FirstSeen()) {
			return false // from before it was forgotten
		}
		events = append(events, e)
		return true
	})
	return events, err
}

// walk shows the events of a phone, at most limit, the newest first, with the record of the phone, until fn returns false: those of who has
// the number now.
func (s *Store) walk(
	ctx context.Context, domain hashing.DomainID, phone hashing.Subject, limit int, fn func(*record.Entry, *record.Record) bool,
) error {
	t, err := s.beginLook(ctx, phone)
	if err != nil {
		return err
	}
	defer t.end()
	r := &t.records[hashing.Phone]
	if err := errors.Join(t.followOne(&phone), t.load(phone, r)); err != nil {
		return err
	}
	t.unlock() // the log only grows at its end; an event that comes in meanwhile is newer than this walk
	now := s.clock.now.Load()
	if r.Empty() || s.idle(r, now) {
		return nil
	}
	oldest := s.logFrom(now)
	it, err := s.db.NewIter(logBounds(domain))
	if err != nil {
		return err
	}
	more := true
	for seq := r.Newest(); seq != 0 && seq >= oldest && limit > 0 && more && err == nil; limit-- {
		var e *record.Entry
		if e, err = entryAt(it, domain, seq); e == nil {
			break // expired: so is everything before it
		}
		if e.Generation != r.Generation() {
			break // of who had the number before
		}
		if err = errors.Join(err, s.followEntry(e)); err == nil {
			more, seq = fn(e, r), e.Prev
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}

// entryAt returns the event with a sequence number, nil when the log no longer
// holds it.
func entryAt(it *pebble.Iterator, domain hashing.DomainID, seq record.Seq) (*record.Entry, error) {
	if !it.SeekGE(appendLogKey(nil, domain, record.NewEventID(seq, 0))) {
		return nil, nil
	}
	_, id, err := splitLogKey(it.Key())
	if err != nil || id.Seq() != seq {
		return nil, err
	}
	e := new(record.Entry)
	return e, decodeEntry(e, id, it.Value())
}

func logBounds(domain hashing.DomainID) *pebble.IterOptions {
	prefix := appendTable(nil, tableLog, domain)
	return &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}
}

// Scan implements engine.Store.
func (s *Store) Scan(ctx context.Context, domain hashing.DomainID, from engine.EventID, fn func(*record.Entry) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(logBounds(domain))
	if err != nil {
		return err
	}
	start := append(appendLogKey(nil, domain, from), 0)
	if oldest := s.logFrom(s.clock.now.Load()); from.Seq() < oldest {
		start = appendLogKey(nil, domain, record.NewEventID(oldest, 0))
	}
	return errors.Join(s.scan(ctx, it, start, fn), it.Error(), it.Close())
}

func (s *Store) scan(ctx context.Context, it *pebble.Iterator, from []byte, fn func(*record.Entry) error) error {
	var e record.Entry
	for ok := it.SeekGE(from); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, id, err := splitLogKey(it.Key())
		if err != nil {
			return err
		}
		if err := errors.Join(decodeEntry(&e, id, it.Value()), s.followEntry(&e)); err != nil {
			return err
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	return nil
}
