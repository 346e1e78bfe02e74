package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// Verified is what a verification looked at, and what is wrong.
type Verified struct {
	Files    int `json:"files"` // sorted tables whose blocks have the right checksums
	Records  int `json:"records"`
	Links    int `json:"links"`
	Events   int `json:"events"`
	Entries  int `json:"list_entries"`
	Keys     int `json:"idempotency_keys"`
	Policies int `json:"policies"`
	Changes  int `json:"policy_changes"`

	Damages int      `json:"damages"`
	Damaged []string `json:"damaged,omitempty"` // the first of them: place and cause; nothing in them names a subject
}

// mostDamages is how many damages are told one by one.
const mostDamages = 20

func (v *Verified) damage(place, cause string) {
	if v.Damages++; len(v.Damaged) < mostDamages {
		v.Damaged = append(v.Damaged, place+": "+cause)
	}
}

// Verify reads everything that the store holds: the checksum of every block, every subject record, event, list entry,
// idempotency key and policy, and whether they agree: every event is in the records of all its subjects, and the events of a number lead from the newest
// to the oldest that is in the log. What no other part of the store knows of is not missed: events older than the oldest that is there, as if they had
// been given up. Others may go on meanwhile. The error is
// engine.ErrCorrupt when something is wrong. Without Options.Damaged it looks no further than at checksums
// when one is wrong.
func (s *Store) Verify(ctx context.Context) (*Verified, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.flushAll(); err != nil { // or records that lie in memory alone are not walked
		return nil, err
	}
	v := &verification{s: s, ctx: ctx}
	if err := v.files(); err != nil {
		return nil, err
	}
	if v.done.Damages > 0 && s.opts.Damaged == nil { // the walk would meet them and end the process
		return &v.done, fmt.Errorf("%w: %d files", engine.ErrCorrupt, v.done.Damages)
	}
	for _, table := range []struct {
		id    byte
		name  string
		check func(key, value []byte) (cause string, err error)
	}{
		{tableSubject, "subject records", v.record},
		{tableLog, "event log", v.event},
		{tableJournal, "journal", v.effect},
		{tableOnce, "idempotency keys", v.key},
		{tableEntries, "list entries", v.entry},
		{tablePolicy, "policies", v.policy},
		{tablePolicyNote, "notes on policies", v.policyNote},
		{tableRollouts, "changes of what is in force", v.rollout},
		{tableRolledOut, "what is in force", v.rolledOut},
		{tableForward, "forwards", v.forward},
		{tableBack, "older names", v.back},
	} {
		if err := v.table(table.id, table.name, table.check); err != nil {
			return nil, err
		}
	}
	if v.done.Damages > 0 {
		return &v.done, fmt.Errorf("%w: %d damages", engine.ErrCorrupt, v.done.Damages)
	}
	return &v.done, nil
}

// verification is one on its way. What two tables have to agree on is read under the lock of the subject,
// since others go on.
type verification struct {
	s    *Store
	ctx  context.Context //nolint:containedctx // lives as long as the verification
	done Verified
	rec  record.Record
	last map[hashing.DomainID]uint32 // newest policy version seen

	changes map[hashing.DomainID]uint64 // newest change of policies seen
}

// files checks every block of every sorted table.
func (v *verification) files() error {
	levels, err := v.s.db.SSTables()
	if err != nil {
		return err
	}
	for _, level := range levels {
		for _, table := range level {
			if err := v.ctx.Err(); err != nil {
				return err
			}
			name := fmt.Sprintf("%06d.sst", uint64(table.BackingSSTNum))
			err := v.s.checkFile(name)
			switch {
			case errors.Is(err, os.ErrNotExist): // compacted meanwhile; what is gone for no reason shows in the walk
			case err != nil:
				v.done.damage("file "+name, "a block is not what was written")
			default:
				v.done.Files++
			}
		}
	}
	return nil
}

func (s *Store) checkFile(name string) error {
	file, err := s.opts.FS.Open(s.opts.FS.PathJoin(s.dir, name))
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return err
	}
	r, err := sstable.NewReader(context.Background(), readable, s.readerOptions)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// table calls check with everything in a table. A cause is what is wrong.
func (v *verification) table(id byte, name string, check func(key, value []byte) (string, error)) error {
	it, err := v.s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{id}, UpperBound: []byte{id + 1}})
	if err != nil {
		return err
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if err := v.ctx.Err(); err != nil {
			return errors.Join(err, it.Close())
		}
		n++
		cause, err := check(it.Key(), it.Value())
		if err != nil && !errors.Is(err, engine.ErrCorrupt) {
			return errors.Join(err, it.Close())
		}
		if err != nil && cause == "" {
			cause = "cannot be read"
		}
		if cause != "" {
			v.done.damage(fmt.Sprintf("%s, number %d", name, n), cause)
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		if !pebble.IsCorruptionError(err) {
			return err
		}
		v.done.damage(fmt.Sprintf("%s, behind number %d", name, n), "a block is not what was written")
	}
	return nil
}

func (v *verification) record(key, value []byte) (cause string, err error) {
	v.done.Records++
	subject, ok := hashing.SubjectFromBytes(key[1:])
	if !ok {
		return "its key names no subject", nil
	}
	if v.rec.Load(value) != nil {
		return "it is no record", nil
	}
	v.done.Links += v.rec.Links()
	if err := v.rec.Check(subject.Kind); err != nil {
		return err.Error(), nil
	}
	if uint64(v.rec.Applied()) > v.s.lastSeq.Load() {
		return "it holds a change that was never made", nil
	}
	return v.agrees(subject)
}

// has reports whether the log has an event with a number, or has given it up.
func (v *verification) has(seq record.Seq) (bool, error) {
	domains, err := v.s.domains()
	if err != nil {
		return false, err
	}
	for _, domain := range domains {
		it, err := v.s.db.NewIter(logBounds(domain))
		if err != nil {
			return false, err
		}
		found := it.SeekGE(appendLogKey(nil, domain, record.NewEventID(seq, 0)))
		if found {
			var next record.Seq
			next, err = seqOf(it.Key())
			found = next == seq
		}
		if err := errors.Join(err, it.Error(), it.Close()); err != nil || found {
			return found, err
		}
	}
	for _, domain := range domains {
		oldest, err := v.s.oldestEvent(domain)
		if err != nil || oldest != 0 && oldest <= seq {
			return false, err
		}
	}
	return true, nil
}

// agrees holds the record of a subject against what else is said of it.
func (v *verification) agrees(subject hashing.Subject) (cause string, err error) {
	t, err := v.s.beginLook(v.ctx, subject)
	if err != nil {
		return "", err
	}
	defer t.end()
	r := &t.records[subject.Kind]
	if err := t.load(subject, r); err != nil {
		return "", err
	}
	r.Memberships(func(list uint16, expires int64) {
		domain, known := v.s.lists.domain(list)
		if !known {
			cause = "it is on a list that there is not"
			return
		}
		e, readErr := v.s.entry(domain, list, subject)
		switch {
		case readErr != nil:
			err = readErr
		case e == nil:
			cause = "it is on a list that does not name it"
		case listed(e.Expires) != listed(expires):
			cause = "its entry on a list expires at another time"
		}
	})
	if cause != "" || err != nil || subject.Kind != hashing.Phone || r.Newest() == 0 {
		return cause, err
	}
	if has, err := v.has(r.Newest()); err != nil || !has {
		return "its newest event is not in the log", err
	}
	return "", nil
}

// listed is a time of expiry as records round it.
func listed(expires int64) record.Time {
	if expires == 0 {
		return 0
	}
	return record.TimeOf(expires)
}

func (v *verification) event(key, value []byte) (cause string, err error) {
	v.done.Events++
	_, id, err := splitLogKey(key)
	if err != nil {
		return "its key names no event", nil
	}
	var e record.Entry
	if err := decodeEntry(&e, id, value); err != nil {
		return "it is no event", nil
	}
	if e.Prev >= id.Seq() {
		return "it names a later event as the one before it", nil
	}
	t, err := v.s.beginLook(v.ctx, e.Subjects[:]...)
	if err != nil {
		return "", err
	}
	defer t.end()
	if err := t.follow(&e.Subjects, nil); err != nil {
		return "", err
	}
	v.s.withoutDestroyed(&e.Subjects)
	if err := t.loadAll(&e.Subjects); err != nil {
		return "", err
	}
	switch {
	case min(e.Time, e.Now)+int64(v.s.opts.Retention.Subjects.Seconds()) <= v.s.clock.now.Load(): // its subjects may be forgotten
	case !t.hold(id.Seq()):
		cause = "the record of one of its subjects does not hold it"
	case e.Prev != 0:
		has, err := v.has(e.Prev)
		if err != nil {
			return "", err
		}
		if !has {
			cause = "the event of its number before it is not in the log"
		}
	}
	if cause == "" {
		return "", nil
	}
	if b, err := v.s.get(key); err != nil || b == nil { // erased meanwhile
		return "", err
	}
	return cause, nil
}

// hold reports whether all records that were seen hold a change.
func (t *tx) hold(seq record.Seq) bool {
	for _, r := range t.seen.Records {
		if r != nil && r.Applied() < seq {
			return false
		}
	}
	return true
}

// effect looks at what recovery would make again, what is left of erased events included.
func (v *verification) effect(key, value []byte) (cause string, err error) {
	seq, err := seqOf(key)
	if err != nil {
		return "its key names no change", nil
	}
	var f record.Effect
	if f.Decode(seq, value) != nil {
		return "it is no change", nil
	}
	if uint64(seq) > v.s.lastSeq.Load() {
		return "it was never made", nil
	}
	return "", nil
}

func (v *verification) key(_, value []byte) (cause string, err error) {
	if v.done.Keys++; len(value) < onceHead {
		return "it has no answer", nil
	}
	return "", nil
}

func (v *verification) entry(key, value []byte) (cause string, err error) {
	v.done.Entries++
	if len(key) < entriesPrefix {
		return "its key names no list", nil
	}
	e, err := parseListing(key[entriesPrefix:], value)
	if err != nil {
		return "it is no list entry", nil
	}
	domain, list := hashing.DomainID(key[1])<<8|hashing.DomainID(key[2]), uint16(key[3])<<8|uint16(key[4])
	if of, known := v.s.lists.domain(list); !known || of != domain {
		return "it is on a list that there is not", nil
	}
	t, err := v.s.beginLook(v.ctx, e.Subject)
	if err != nil {
		return "", err
	}
	defer t.end()
	r := &t.records[e.Subject.Kind]
	if err := t.load(e.Subject, r); err != nil {
		return "", err
	}
	now, err := v.s.entry(domain, list, e.Subject)
	if err != nil || now == nil { // taken off meanwhile
		return "", err
	}
	on := false
	r.Memberships(func(l uint16, _ int64) { on = on || l == list })
	if !on {
		return "the record of its subject does not know of it", nil
	}
	return "", nil
}

// forward checks that a subject that was moved has gone somewhere, and left no record behind.
func (v *verification) forward(key, value []byte) (cause string, err error) {
	from, ok := hashing.SubjectFromBytes(key[1:])
	to, _, err := parseForward(value)
	switch {
	case !ok || err != nil || to.Kind != from.Kind:
		return "it names no two subjects of a kind", nil
	case to.Key <= from.Key:
		return "it leads to an older key", nil
	case v.s.isDestroyed(to.Key):
		return "", nil
	}
	t, err := v.s.beginLook(v.ctx, from)
	if err != nil {
		return "", err
	}
	defer t.end()
	r := &t.records[from.Kind]
	if err := t.load(from, r); err != nil {
		return "", err
	}
	if len(r.Bytes()) > 0 {
		return "what was moved has a record", nil
	}
	if from.Kind != hashing.Phone { // only numbers are asked for their older names
		return "", nil
	}
	return v.missing(appendBackKey(nil, to, from), key, "what it leads to does not know the name")
}

// back checks that an older name of a number leads to it.
func (v *verification) back(key, _ []byte) (cause string, err error) {
	const size = hashing.SubjectSize
	if len(key) != 1+2*size {
		return "its key names no two subjects", nil
	}
	to, known := hashing.SubjectFromBytes(key[1 : 1+size])
	from, too := hashing.SubjectFromBytes(key[1+size:])
	if !known || !too || to.Kind != hashing.Phone || from.Kind != to.Kind || to.Key <= from.Key {
		return "its key names no two numbers, the newer first", nil
	}
	return v.missing(appendForwardKey(nil, from), key, "the name leads nowhere")
}

// missing returns a cause when a key is not there, and another one, which says that it should be, still is: others go on.
func (v *verification) missing(key, other []byte, cause string) (string, error) {
	b, err := v.s.get(key)
	if err != nil || b != nil {
		return "", err
	}
	if b, err = v.s.get(other); err != nil || b == nil {
		return "", err
	}
	return cause, nil
}

func (v *verification) policy(key, value []byte) (cause string, err error) {
	v.done.Policies++
	if len(key) != 1+2+4 || len(value) < policyHead {
		return "it is no policy", nil
	}
	domain := hashing.DomainID(key[1])<<8 | hashing.DomainID(key[2])
	version := uint32(key[3])<<24 | uint32(key[4])<<16 | uint32(key[5])<<8 | uint32(key[6])
	if v.last == nil {
		v.last = map[hashing.DomainID]uint32{}
	}
	before := v.last[domain]
	if v.last[domain] = version; version != before+1 {
		return "a version before it is missing", nil
	}
	return "", nil
}
