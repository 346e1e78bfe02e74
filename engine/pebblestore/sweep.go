package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// A call of Sweep looks at up to sweepLook keys and deletes what sweepTake of them stand for.
// Either takes some milliseconds.
const (
	sweepLook = 4096
	sweepTake = 64
)

// sweeper goes round the tables of what expires one by one, a slice a call. The log, which expires in the
// order of its keys, is not walked.
type sweeper struct {
	mu     sync.Mutex // held during a call
	cursor []byte     // the key to go on with; guarded by mu

	logBytes  atomic.Uint64 // as of the last call
	logOldest atomic.Uint64 // number of the oldest event then, 0 for none
}

// sweepTables are the tables that the sweeper walks, in the order of their keys.
var sweepTables = [...]byte{tableSubject, tableOnce, tableEntries}

// Sweep implements engine.Store.
func (s *Store) Sweep(ctx context.Context, now int64) (swept engine.Swept, err error) {
	if err := s.enter(ctx); err != nil {
		return swept, err
	}
	defer s.leave()
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	now = s.clock.advance(now)
	if err := s.keepClock(); err != nil {
		return swept, fmt.Errorf("sweep: clock: %w", err)
	}
	if err := errors.Join(s.sweepLog(now, &swept), s.freeTrimmed(swept.Ranges)); err != nil {
		return swept, fmt.Errorf("sweep of the event log: %w", err)
	}
	found, err := s.look(now, &swept)
	if err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	return swept, errors.Join(s.sweepSubjects(ctx, found[tableSubject], now, &swept),
		s.sweepKeys(found[tableOnce], now, &swept), s.sweepEntries(ctx, found[tableEntries], now, &swept))
}

// expired are keys of what looked expired, by table. It has to be read again under its lock.
type expired map[byte][][]byte

// look goes on with the walk until it has seen or found enough.
func (s *Store) look(now int64, swept *engine.Swept) (expired, error) {
	w := &s.sweeper
	if w.cursor == nil { // not always at the front: a server that is often started anew gets round, too
		w.cursor = binary.BigEndian.AppendUint64([]byte{sweepTables[s.opts.Random()%uint64(len(sweepTables))], 1, 0}, s.opts.Random())
	}
	found, n := expired{}, 0
	for i, table := range sweepTables {
		if w.cursor[0] > table {
			continue
		}
		if w.cursor[0] < table {
			w.cursor = []byte{table}
		}
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
		if err != nil {
			return nil, err
		}
		ok := it.SeekGE(w.cursor)
		for ; ok && swept.Looked < sweepLook && n < sweepTake && err == nil; ok = it.Next() {
			swept.Looked++
			var gone bool
			if gone, err = s.looksExpired(table, it.Key(), it.Value(), now); gone {
				found[table] = append(found[table], bytes.Clone(it.Key()))
				n++
			}
		}
		if ok {
			w.cursor = bytes.Clone(it.Key())
		} else {
			w.cursor = []byte{table + 1}
			swept.Done = i == len(sweepTables)-1
		}
		if err := errors.Join(err, it.Error(), it.Close()); err != nil || ok {
			return found, err
		}
	}
	w.cursor = []byte{sweepTables[0]}
	return found, nil
}

// looksExpired reports whether a key stands for something that is not in force, as the tables have it.
func (s *Store) looksExpired(table byte, key, value []byte, now int64) (bool, error) {
	switch table {
	case tableSubject:
		var r record.Record
		if err := r.Load(value); err != nil {
			return false, fmt.Errorf("%w: subject record", engine.ErrCorrupt)
		}
		return s.sweepable(hashing.Kind(key[1]), &r, now), nil
	case tableOnce:
		if len(value) < onceHead {
			return false, fmt.Errorf("%w: idempotency entry", engine.ErrCorrupt)
		}
		return onceExpires(value) <= now, nil
	default:
		if len(key) < entriesPrefix {
			return false, fmt.Errorf("%w: list entry", engine.ErrCorrupt)
		}
		e, err := parseListing(key[entriesPrefix:], value)
		return err == nil && !inForce(e.Expires, now), err
	}
}

// sweepSubjects forgets subjects that are idle, by a change that the journal tells.
func (s *Store) sweepSubjects(ctx context.Context, keys [][]byte, now int64, swept *engine.Swept) error {
	if len(keys) == 0 {
		return nil
	}
	subjects := make([]hashing.Subject, len(keys))
	for i, key := range keys {
		var ok bool
		if subjects[i], ok = hashing.SubjectFromBytes(key[1:]); !ok {
			return fmt.Errorf("%w: key of a subject record", engine.ErrCorrupt)
		}
	}
	t, err := s.beginSweep(ctx, subjects...)
	if err != nil {
		return err
	}
	defer t.end()
	t.now, t.later = now, true // nobody was promised anything
	for _, subject := range subjects {
		r := &t.records[subject.Kind]
		if err := t.load(subject, r); err != nil {
			return err
		}
		if !s.sweepable(subject.Kind, r, now) {
			continue
		}
		if err := t.sweepOne(subject, r); err != nil {
			return err
		}
		swept.Subjects++
	}
	return t.commit(0, nil)
}

// sweepOne forgets a subject, whose record r is, and tells the journal.
func (t *tx) sweepOne(s hashing.Subject, r *record.Record) error {
	t.effect = record.Effect{Seq: t.s.nextSeq(), Op: record.OpSweep, Time: t.now, Now: t.now}
	t.effect.Subjects[s.Kind] = s
	t.effect.Apply(s.Kind, r)
	t.putCopy(s, r)
	return t.putJournal()
}

// sweepKeys forgets idempotency keys. While it looks again, nobody can use one of them anew.
func (s *Store) sweepKeys(keys [][]byte, now int64, swept *engine.Swept) error {
	if len(keys) == 0 {
		return nil
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; there is nothing left to fail
	s.once.Lock()
	defer s.once.Unlock()
	for _, key := range keys {
		value, err := s.get(key)
		if err != nil {
			return err
		}
		if len(value) < onceHead || onceExpires(value) > now {
			continue
		}
		if err := b.Delete(key, nil); err != nil {
			return err
		}
		swept.Keys++
	}
	return s.db.Apply(b, pebble.NoSync)
}

// sweepEntries takes subjects off lists on which they are not in force, one change for all.
func (s *Store) sweepEntries(ctx context.Context, keys [][]byte, now int64, swept *engine.Swept) error {
	if len(keys) == 0 {
		return nil
	}
	subjects := make([]hashing.Subject, len(keys))
	for i, key := range keys {
		subjects[i], _ = hashing.SubjectFromBytes(key[entriesPrefix:]) // looksExpired has read it
	}
	t, err := s.beginSweep(ctx, subjects...)
	if err != nil {
		return err
	}
	defer t.end()
	t.now, t.later = now, true
	for i, subject := range subjects {
		if slices.Contains(subjects[:i], subject) { // its record is changed and not in its place yet: the next round
			continue
		}
		domain, list := hashing.DomainID(binary.BigEndian.Uint16(keys[i][1:])), binary.BigEndian.Uint16(keys[i][3:])
		e, err := s.entry(domain, list, subject)
		if err != nil {
			return err
		}
		if e == nil || inForce(e.Expires, now) {
			continue
		}
		if err := t.load(subject, &t.records[subject.Kind]); err != nil {
			return err
		}
		if err := t.unlist(domain, list, subject); err != nil {
			return err
		}
		swept.Entries++
	}
	return t.commit(0, nil)
}
