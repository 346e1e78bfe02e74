package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// listNames knows the id of every list. Ids are unique in a store, not only in
// a domain, so that an id alone names a list. They are never given out again.
type listNames struct {
	mu    sync.RWMutex
	ids   map[listName]uint16 // guarded by mu
	names []string            // by id; guarded by mu
}

type listName struct {
	domain hashing.DomainID
	name   string
}

// name returns the name of a list, "" for an id that was never given out.
func (l *listNames) name(id uint16) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if int(id) < len(l.names) {
		return l.names[id]
	}
	return ""
}

// domain returns the domain of a list.
func (l *listNames) domain(id uint16) (hashing.DomainID, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for name, i := range l.ids {
		if i == id {
			return name.domain, true
		}
	}
	return 0, false
}

// id returns the id of a list; ok is false when it was never written to.
func (l *listNames) id(domain hashing.DomainID, name string) (id uint16, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	id, ok = l.ids[listName{domain, name}]
	return id, ok
}

// add makes an id known. l.mu is held for writing, or l is not shared yet.
func (l *listNames) add(domain hashing.DomainID, name string, id uint16) {
	if l.ids == nil {
		l.ids = make(map[listName]uint16)
	}
	l.ids[listName{domain, name}] = id
	for len(l.names) <= int(id) {
		l.names = append(l.names, "")
	}
	l.names[id] = name
}

// loadLists reads the names of all lists.
func (s *Store) loadLists() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableNames}, UpperBound: []byte{tableNames + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		key, value := it.Key(), it.Value()
		if len(key) < 4 || len(value) != 2 {
			return errors.Join(fmt.Errorf("%w: list name", engine.ErrCorrupt), it.Close())
		}
		s.lists.add(hashing.DomainID(binary.BigEndian.Uint16(key[1:])), string(key[3:]), binary.BigEndian.Uint16(value))
	}
	return errors.Join(it.Error(), it.Close())
}

// listID returns the id of a list, and makes one that is durable before
// anything refers to it.
func (s *Store) listID(domain hashing.DomainID, name string) (uint16, error) {
	if id, ok := s.lists.id(domain, name); ok {
		return id, nil
	}
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	if id, ok := s.lists.ids[listName{domain, name}]; ok {
		return id, nil
	}
	if len(s.lists.names) >= record.MaxLists {
		return 0, engine.ErrTooManyLists
	}
	id := uint16(len(s.lists.names)) //nolint:gosec // below record.MaxLists
	key := append(appendTable(nil, tableNames, domain), name...)
	if err := s.db.Set(key, binary.BigEndian.AppendUint16(nil, id), s.writeOptions()); err != nil {
		s.fail(err)
	}
	s.lists.add(domain, name, id)
	return id, nil
}

// PutEntries implements engine.Store.
func (s *Store) PutEntries(ctx context.Context, domain hashing.DomainID, entries []engine.ListEntry, once *engine.Once) error {
	sorted := slices.Clone(entries)
	t, err := s.beginEntries(ctx, sorted)
	if err != nil {
		return err
	}
	defer t.end()
	for _, e := range sorted {
		t.now = s.clock.advance(e.Added)
	}
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].Subject == sorted[0].Subject {
			n++
		}
		if err := t.putListings(domain, sorted[:n]); err != nil {
			return err
		}
		sorted = sorted[n:]
	}
	return t.commit(domain, once)
}

// beginEntries starts a step on the subjects of list entries, which it names as they are by now, and sorts by.
func (s *Store) beginEntries(ctx context.Context, entries []engine.ListEntry) (*tx, error) {
	subjects := make([]hashing.Subject, len(entries))
	for i := range entries {
		subjects[i] = entries[i].Subject
	}
	for {
		if _, err := s.follow(subjects, nil); err != nil {
			return nil, err
		}
		t, err := s.begin(ctx, subjects...)
		if err != nil {
			return nil, err
		}
		moved, err := s.follow(subjects, nil)
		if err == nil && !moved {
			for i, subject := range subjects {
				entries[i].Subject = subject
			}
			slices.SortStableFunc(entries, func(a, b engine.ListEntry) int { return compareSubjects(a.Subject, b.Subject) })
			return t, nil
		}
		t.end()
		if err != nil {
			return nil, err
		}
	}
}

func compareSubjects(a, b hashing.Subject) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	if a.Key != b.Key {
		return int(a.Key) - int(b.Key)
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// putListings writes all entries of one subject.
func (t *tx) putListings(domain hashing.DomainID, entries []engine.ListEntry) error {
	subject := entries[0].Subject
	r := &t.records[subject.Kind]
	if err := t.load(subject, r); err != nil {
		return err
	}
	var alone hashing.Subjects
	alone[subject.Kind] = subject
	if _, err := t.forgetIdle(&alone); err != nil {
		return err
	}
	for _, e := range entries {
		id, err := t.s.listID(domain, e.List)
		if err != nil {
			return err
		}
		t.effect = record.Effect{Seq: t.s.nextSeq(), Op: record.OpList, Time: e.Added, Now: e.Added, List: id, Expires: e.Expires}
		t.effect.Subjects[subject.Kind] = subject
		if !t.effect.Apply(subject.Kind, r) {
			return engine.ErrTooManyLists
		}
		if err := t.putJournal(); err != nil {
			return err
		}
		t.key = subject.Append(appendEntriesPrefix(t.key[:0], domain, id))
		t.value = appendListing(t.value[:0], e)
		if err := t.writes().Set(t.key, t.value, nil); err != nil {
			return err
		}
	}
	t.putCopy(subject, r)
	return nil
}

// RemoveEntry implements engine.Store.
func (s *Store) RemoveEntry(ctx context.Context, domain hashing.DomainID, list string, subject hashing.Subject, now int64) (bool, error) {
	t, _, err := s.beginPhone(ctx, &subject)
	if err != nil {
		return false, err
	}
	defer t.end()
	t.now = s.clock.advance(now)
	id, known := s.lists.id(domain, list)
	if !known {
		return false, nil
	}
	e, err := s.entry(domain, id, subject)
	if err != nil {
		return false, err
	}
	if e == nil || !inForce(e.Expires, t.now) {
		return false, t.commit(domain, nil)
	}
	if err := t.unlist(domain, id, subject); err != nil {
		return false, err
	}
	return true, t.commit(domain, nil)
}

// entry returns the entry of a subject on a list, nil when there is none.
func (s *Store) entry(domain hashing.DomainID, list uint16, subject hashing.Subject) (*engine.ListEntry, error) {
	key := subject.Append(appendEntriesPrefix(nil, domain, list))
	b, err := s.get(key)
	if err != nil || b == nil {
		return nil, err
	}
	e, err := parseListing(key[entriesPrefix:], b)
	return &e, err
}

// unlist takes a subject, whose record is loaded into the place of its kind, off a list, and puts the record.
func (t *tx) unlist(domain hashing.DomainID, list uint16, subject hashing.Subject) error {
	t.effect = record.Effect{Seq: t.s.nextSeq(), Op: record.OpUnlist, Time: t.now, Now: t.now, List: list}
	t.effect.Subjects[subject.Kind] = subject
	r := &t.records[subject.Kind]
	if t.effect.Apply(subject.Kind, r) {
		t.putCopy(subject, r)
		if err := t.putJournal(); err != nil {
			return err
		}
	}
	t.key = subject.Append(appendEntriesPrefix(t.key[:0], domain, list))
	return t.writes().Delete(t.key, nil)
}

// Entries implements engine.Store.
func (s *Store) Entries(ctx context.Context, domain hashing.DomainID, list string, from hashing.Subject, limit int, now int64) ([]engine.ListEntry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	id, known := s.lists.id(domain, list)
	if !known {
		return nil, nil
	}
	prefix := appendEntriesPrefix(nil, domain, id)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	start := prefix
	if from.Given() {
		start = append(from.Append(slices.Clone(prefix)), 0)
	}
	now = s.clock.see(now)
	var entries []engine.ListEntry
	for ok := it.SeekGE(start); ok && len(entries) < limit && err == nil; ok = it.Next() {
		var e engine.ListEntry
		e, err = parseListing(it.Key()[len(prefix):], it.Value())
		if e.List = list; err == nil && inForce(e.Expires, now) {
			entries = append(entries, e)
		}
	}
	return entries, errors.Join(err, it.Error(), it.Close())
}

// listingHead is the times of a list entry, before the reason.
const listingHead = 16

func appendListing(dst []byte, e engine.ListEntry) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Added))   //nolint:gosec // kept bit by bit
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Expires)) //nolint:gosec // kept bit by bit
	return append(dst, e.Reason...)
}

func parseListing(subject, b []byte) (engine.ListEntry, error) {
	s, ok := hashing.SubjectFromBytes(subject)
	if !ok || len(b) < listingHead {
		return engine.ListEntry{}, fmt.Errorf("%w: list entry", engine.ErrCorrupt)
	}
	return engine.ListEntry{
		Subject: s,
		Added:   int64(binary.BigEndian.Uint64(b)),     //nolint:gosec // kept bit by bit
		Expires: int64(binary.BigEndian.Uint64(b[8:])), //nolint:gosec // kept bit by bit
		Reason:  string(b[listingHead:]),
	}, nil
}

// Lists implements engine.Store.
func (s *Store) Lists(ctx context.Context, domain hashing.DomainID) ([]string, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	s.lists.mu.RLock()
	defer s.lists.mu.RUnlock()
	var names []string
	for l := range s.lists.ids {
		if l.domain == domain {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	return names, nil
}
