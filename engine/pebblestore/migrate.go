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

// A migration writes one OpMigrate for every record that it changes, each with the whole record as it is from then on. So
// recovery, which goes through the records one by one, needs no second one to make it again.

// migration is what moving some subjects takes. The records of to are loaded into the places of their kinds, as
// they will be.
type migration struct {
	domain  hashing.DomainID
	now     int64
	to      hashing.Version
	moved   []moved
	swept   []hashing.Subject // idle ones, of which nothing is left to move
	listed  []onList          // entries that are written already
	older   []hashing.Version // by whose tags others may know them
	changed hashing.Subjects  // those of to whose records change
}

// moved is a subject whose record goes elsewhere, with the lists that it is on.
type moved struct {
	from, to hashing.Subject
	lists    []uint16
}

// onList is a subject on a list.
type onList struct {
	list    uint16
	subject hashing.Subject
}

// Migrate implements engine.Store. It looks first, since nearly always there is nothing to move.
func (s *Store) Migrate(ctx context.Context, m *engine.Migration) error {
	if len(m.From) == 0 {
		return nil
	}
	t, g, err := s.beginMigration(ctx, m, s.beginLook)
	if err != nil {
		return err
	}
	t.end()
	if !g.needed() {
		return nil
	}
	if t, g, err = s.beginMigration(ctx, m, s.begin); err != nil {
		return err
	}
	defer t.end()
	if !g.needed() { // somebody else did it
		return nil
	}
	t.now, t.later = s.clock.advance(m.Now), m.Later
	if err := t.migrate(g); err != nil {
		return err
	}
	return t.commit(m.Domain, nil)
}

func (g *migration) needed() bool { return g.changed != hashing.Subjects{} || len(g.swept) > 0 }

// beginMigration locks all versions of the subjects, and says what has to move.
func (s *Store) beginMigration(ctx context.Context, m *engine.Migration,
	begin func(context.Context, ...hashing.Subject) (*tx, error),
) (*tx, *migration, error) {
	g := &migration{domain: m.Domain, now: s.clock.see(m.Now), to: m.To}
	for {
		if _, err := s.follow(g.to.Subjects[:], nil); err != nil { // one given by an old token
			return nil, nil, err
		}
		all := append([]hashing.Subject(nil), g.to.Subjects[:]...)
		for i := range m.From {
			all = append(all, m.From[i].Subjects[:]...)
		}
		t, err := begin(ctx, all...)
		if err != nil {
			return nil, nil, err
		}
		again, err := s.follow(g.to.Subjects[:], nil)
		if err == nil && !again {
			if err = t.plan(g, m.From); err == nil {
				return t, g, nil
			}
		}
		t.end()
		if err != nil {
			return nil, nil, err
		}
	}
}

// plan finds out what has to move, and edits the records of g.to in memory.
func (t *tx) plan(g *migration, from []hashing.Version) error {
	if err := t.loadAll(&g.to.Subjects); err != nil {
		return err
	}
	for i := range from {
		for kind, s := range from[i].Subjects {
			if err := t.planOne(g, s, g.to.Subjects[kind]); err != nil {
				return err
			}
		}
	}
	if err := t.s.backs(g, from); err != nil {
		return err
	}
	for i := range g.older {
		t.retag(g, &g.older[i])
	}
	return nil
}

// backs adds the older names of a phone that came without them, by a token.
func (s *Store) backs(g *migration, from []hashing.Version) error {
	g.older = append(g.older[:0], from...)
	phone := g.to.Subjects[hashing.Phone]
	if !phone.Given() {
		return nil
	}
	names, err := s.namesOf(phone)
	if err != nil {
		return err
	}
	for _, old := range names[1:] {
		g.older = append(g.older, hashing.Version{Subjects: onlyPhone(old)})
	}
	return nil
}

// namesOf returns a phone that is locked, and what it was called under older keys before it was moved.
func (s *Store) namesOf(phone hashing.Subject) ([]hashing.Subject, error) {
	names := []hashing.Subject{phone}
	if s.forwards.keys.Load() == nil {
		return names, nil
	}
	for i := 0; i < len(names); i++ {
		prefix := names[i].Append([]byte{tableBack})
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return nil, err
		}
		for ok := it.First(); ok; ok = it.Next() {
			old, known := hashing.SubjectFromBytes(it.Key()[len(prefix):])
			if known && old.Key < names[i].Key && !slices.Contains(names, old) {
				names = append(names, old)
			}
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// retag makes the records know each other by the present tags instead of older ones.
func (t *tx) retag(g *migration, old *hashing.Version) {
	for kind, s := range g.to.Subjects {
		if s.Given() && t.records[kind].Retag(hashing.Kind(kind), &old.Subjects, &g.to.Subjects) {
			g.changed[kind] = s
		}
	}
	phone := g.to.Subjects[hashing.Phone]
	if old.Link != (hashing.LinkTag{}) && phone.Given() && t.records[hashing.Phone].Relink(old.Link, g.to.Link) {
		g.changed[hashing.Phone] = phone
	}
}

// planOne moves the record of one subject in memory, if there is one. One that may be swept is swept: or what comes of its older name
// would depend on whether that was done before.
func (t *tx) planOne(g *migration, from, to hashing.Subject) error {
	if !from.Given() || !to.Given() || from.Key >= to.Key {
		return nil
	}
	var old record.Record
	if err := t.load(from, &old); err != nil || len(old.Bytes()) == 0 {
		return err
	}
	if old.Generation() == 0 && t.s.sweepable(from.Kind, &old, g.now) {
		g.swept = append(g.swept, from)
		return nil
	}
	if old.Void(record.TimeOf(g.now), t.s.logHas(g.now)) {
		return nil
	}
	m := moved{from: from, to: to}
	old.Memberships(func(list uint16, _ int64) { m.lists = append(m.lists, list) })
	t.records[to.Kind].Absorb(&old)
	g.moved, g.changed[to.Kind] = append(g.moved, m), to
	return nil
}

// migrate writes what was planned.
func (t *tx) migrate(g *migration) error {
	for _, s := range g.swept {
		var r record.Record
		if err := errors.Join(t.load(s, &r), t.sweepOne(s, &r)); err != nil {
			return err
		}
	}
	for _, m := range g.moved {
		var gone record.Record
		if err := t.putBecame(m.from, &gone); err != nil {
			return err
		}
		t.putCopy(m.from, &gone)
		if err := t.putForward(g, m); err != nil {
			return err
		}
	}
	for kind, s := range g.changed {
		if s.Given() {
			if err := t.putBecame(s, &t.records[kind]); err != nil {
				return err
			}
		}
	}
	t.put(&g.changed)
	return nil
}

// putBecame writes that a record is from now on what it is in memory.
func (t *tx) putBecame(s hashing.Subject, r *record.Record) error {
	t.effect = record.Became(t.s.nextSeq(), t.now, s, r)
	return t.putJournal()
}

// putForward writes where a subject has gone, and takes its list entries there.
func (t *tx) putForward(g *migration, m moved) error {
	link := hashing.LinkTag{}
	if m.to.Kind == hashing.Account {
		link = g.to.Link
	}
	t.s.forwards.add(m.from.Key)
	t.key = appendForwardKey(t.key[:0], m.from)
	t.value = appendForward(t.value[:0], m.to, link)
	if err := t.writes().Set(t.key, t.value, nil); err != nil {
		return err
	}
	if m.to.Kind == hashing.Phone { // the others always come with their older names
		t.key = appendBackKey(t.key[:0], m.to, m.from)
		if err := t.writes().Set(t.key, nil, nil); err != nil {
			return err
		}
	}
	for _, list := range m.lists {
		if err := t.moveListing(g, list, m); err != nil {
			return err
		}
	}
	return nil
}

// moveListing moves the entry of a subject on a list, unless there is one already, of a newer name of it maybe.
func (t *tx) moveListing(g *migration, list uint16, m moved) error {
	domain, known := t.s.lists.domain(list)
	if !known {
		return nil
	}
	old, err := t.s.entry(domain, list, m.from)
	if err != nil || old == nil {
		return err
	}
	there, err := t.s.entry(domain, list, m.to)
	if err != nil {
		return err
	}
	if at := (onList{list, m.to}); there == nil && !slices.Contains(g.listed, at) {
		g.listed = append(g.listed, at)
		t.key = m.to.Append(appendEntriesPrefix(t.key[:0], domain, list))
		t.value = appendListing(t.value[:0], *old)
		if err := t.writes().Set(t.key, t.value, nil); err != nil {
			return err
		}
	}
	t.key = m.from.Append(appendEntriesPrefix(t.key[:0], domain, list))
	return t.writes().Delete(t.key, nil)
}

// relink makes the account of an event that is linked to its phone by the tag of an older key linked by that of the
// present one, or an outcome of the event could link it twice. The record of the phone is loaded, and the account locked. The phone may know
// the account by the tag of the event, or by any that came after it: the account can have moved on with another phone.
func (t *tx) relink(owners *hashing.Version, now int64) error {
	phone := t.seen.Records[hashing.Phone]
	account, tag, known := t.entry.Subjects[hashing.Account], t.entry.Link, false
	for phone != nil && tag != owners.Link {
		known = phone.Relink(tag, owners.Link) || known
		to, next, err := t.s.forward(account)
		if err != nil {
			return err
		}
		if !to.Given() {
			break
		}
		account, tag = to, next
	}
	if !known {
		return nil
	}
	s := owners.Subjects[hashing.Phone]
	t.effect = record.Became(t.s.nextSeq(), now, s, phone)
	only := onlyPhone(s)
	t.put(&only)
	return t.putJournal()
}
