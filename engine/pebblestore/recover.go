package pebblestore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// recoverAtOnce is how many changes recovery holds in memory at a time, unless options say otherwise.
const recoverAtOnce = 1 << 16

// recovery makes the changes again that the tables may lack: those behind the watermark. It
// reads them in order, sorts who they touch, and goes through the records in the order of
// their keys, which reads the tables from front to back.
type recovery struct {
	s       *Store
	sources []source
	changes []change
	touches [][]touch // by part of the shards: each part is applied by a goroutine of its own
	reached uint64    // number of the last change that was collected
}

// change is an event or an effect to make again.
type change struct {
	entry  record.Entry // of an event; its ID is zero for an effect
	mark   record.Mark  // of the entry
	effect record.Effect
}

// touch says that a change touches the record of a subject.
type touch struct {
	subject hashing.Subject
	change  int32 // index of changes, which are in order
}

// source is one sequence of changes: the log of a domain, or the journal.
type source struct {
	it   *pebble.Iterator
	read func(key, value []byte, c *change) error
	seq  record.Seq // of the change that it stands at
}

// recover brings the records in memory to what the log says.
func (s *Store) recover(watermark uint64) (err error) {
	r := &recovery{s: s, touches: make([][]touch, runtime.GOMAXPROCS(0))}
	defer func() {
		for _, src := range r.sources {
			err = errors.Join(err, src.it.Close())
		}
	}()
	if err := r.open(watermark); err != nil {
		return err
	}
	for {
		more, err := r.collect()
		if err != nil {
			return err
		}
		if err := r.apply(); err != nil {
			return err
		}
		if s.flush.full() {
			if err := s.flush.flush(func() uint64 { return r.reached }); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// open finds what lies behind the watermark.
func (r *recovery) open(watermark uint64) error {
	domains, err := r.s.domains()
	if err != nil {
		return err
	}
	for _, d := range domains {
		start := appendLogKey(nil, d, record.NewEventID(record.Seq(watermark+1), 0))
		if err := r.add(start, after(start[:3]), readEvent); err != nil {
			return err
		}
	}
	return r.add(appendJournalKey(nil, watermark+1), []byte{tableJournal + 1}, readEffect)
}

func (r *recovery) add(lower, upper []byte, read func(key, value []byte, c *change) error) error {
	it, err := r.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	if !it.First() {
		return errors.Join(it.Error(), it.Close())
	}
	src := source{it: it, read: read}
	if src.seq, err = seqOf(it.Key()); err != nil {
		return errors.Join(err, it.Close())
	}
	r.sources = append(r.sources, src)
	return nil
}

// seqOf returns the number of the change that a key of the log or of the journal names.
func seqOf(key []byte) (record.Seq, error) {
	switch {
	case len(key) == logKeySize:
		return record.Seq(binary.BigEndian.Uint64(key[3:])), nil
	case len(key) == journalKeySize:
		return record.Seq(binary.BigEndian.Uint64(key[1:])), nil
	}
	return 0, fmt.Errorf("%w: key of the log", engine.ErrCorrupt)
}

func readEvent(key, value []byte, c *change) error {
	_, id, err := splitLogKey(key)
	if err != nil {
		return err
	}
	if err := decodeEntry(&c.entry, id, value); err != nil {
		return err
	}
	c.mark = c.entry.Mark()
	return nil
}

func readEffect(key, value []byte, c *change) error {
	c.entry.ID = engine.EventID{}
	seq, err := seqOf(key)
	if err != nil {
		return err
	}
	if err := c.effect.Decode(seq, value); err != nil {
		return fmt.Errorf("%w: entry of the journal", engine.ErrCorrupt)
	}
	return nil
}

// collect reads the next changes, and reports whether there are more behind them.
func (r *recovery) collect() (more bool, err error) {
	r.changes = r.changes[:0]
	for i := range r.touches {
		r.touches[i] = r.touches[i][:0]
	}
	for len(r.changes) < r.s.opts.recoverAtOnce && len(r.sources) > 0 {
		next := 0
		for i := range r.sources {
			if r.sources[i].seq < r.sources[next].seq {
				next = i
			}
		}
		if err := r.take(next); err != nil {
			return false, err
		}
	}
	return len(r.sources) > 0, nil
}

// take reads the change that a source stands at, and moves it on.
func (r *recovery) take(i int) error {
	src := &r.sources[i]
	r.reached = uint64(src.seq)
	r.changes = slices.Grow(r.changes, 1)[:len(r.changes)+1]
	c := &r.changes[len(r.changes)-1]
	if err := src.read(src.it.Key(), src.it.Value(), c); err != nil {
		return err
	}
	subjects := &c.entry.Subjects
	if !c.entry.ID.Given() {
		subjects = &c.effect.Subjects
		r.s.noteJournal(c.effect.Seq)
	}
	for _, s := range subjects {
		if s.Given() {
			part := shardOf(s) * len(r.touches) / shardCount
			r.touches[part] = append(r.touches[part], touch{subject: s, change: int32(len(r.changes) - 1)}) //nolint:gosec // at most recoverAtOnce
		}
	}
	if src.it.Next() {
		var err error
		src.seq, err = seqOf(src.it.Key())
		return err
	}
	err := errors.Join(src.it.Error(), src.it.Close())
	r.sources = slices.Delete(r.sources, i, i+1)
	return err
}

// apply makes the changes that were collected. Parts have no shard in common, and nobody else is there yet, so
// nothing is locked.
func (r *recovery) apply() error {
	failed := make([]error, len(r.touches))
	var parts sync.WaitGroup
	for i, touches := range r.touches {
		parts.Go(func() { failed[i] = r.applyPart(touches) })
	}
	parts.Wait()
	r.s.flush.since.Add(int64(len(r.changes)))
	return errors.Join(failed...)
}

// applyPart makes the changes that touch some of the subjects.
func (r *recovery) applyPart(touches []touch) error {
	slices.SortFunc(touches, func(a, b touch) int {
		return cmp.Or(compareSubjects(a.subject, b.subject), cmp.Compare(a.change, b.change))
	})
	it, err := r.s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableSubject}, UpperBound: []byte{tableSubject + 1}})
	if err != nil {
		return err
	}
	var rec record.Record
	for rest := touches; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].subject == rest[0].subject {
			n++
		}
		if err := r.applyTo(it, rest[:n], &rec); err != nil {
			return errors.Join(err, it.Close())
		}
		rest = rest[n:]
	}
	return errors.Join(it.Error(), it.Close())
}

// applyTo makes all changes of one subject that its record does not hold yet.
func (r *recovery) applyTo(it *pebble.Iterator, touches []touch, rec *record.Record) error {
	s := touches[0].subject
	sh := &r.s.shards[shardOf(s)]
	if b, known := sh.get(s); known {
		rec.Reload(b)
	} else if err := seekRecord(it, s, rec); err != nil {
		return err
	}
	changed := false
	for _, t := range touches {
		changed = r.changes[t.change].applyTo(s.Kind, rec) || changed
	}
	if changed {
		r.s.flush.dirty.Add(sh.put(s, rec.Bytes(), true))
	}
	return nil
}

func seekRecord(it *pebble.Iterator, s hashing.Subject, rec *record.Record) error {
	key := appendSubjectKey(make([]byte, 0, 1+hashing.SubjectSize), s)
	if !it.SeekGE(key) || !bytes.Equal(it.Key(), key) {
		if err := it.Error(); err != nil {
			return explainRead(err)
		}
		return rec.Load(nil)
	}
	if err := rec.Load(it.Value()); err != nil {
		return fmt.Errorf("%w: subject record", engine.ErrCorrupt)
	}
	return nil
}

// applyTo makes the change in one record, unless that holds it.
func (c *change) applyTo(owner hashing.Kind, rec *record.Record) bool {
	if c.entry.ID.Given() {
		if c.entry.ID.Seq() <= rec.Applied() {
			return false
		}
		rec.Apply(owner, &c.mark)
		c.entry.Settle(owner, rec)
		return true
	}
	return c.effect.Seq > rec.Applied() && c.effect.Apply(owner, rec)
}

// domains returns the domains that have a log.
func (s *Store) domains() ([]hashing.DomainID, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableLog}, UpperBound: []byte{tableLog + 1}})
	if err != nil {
		return nil, err
	}
	var all []hashing.DomainID
	for ok := it.First(); ok; {
		d, _, err := splitLogKey(it.Key())
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		all = append(all, d)
		ok = it.SeekGE(after(appendTable(nil, tableLog, d)))
	}
	return all, errors.Join(it.Error(), it.Close())
}
