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

// recoverAtOnce returns how many changes a batch of recovery has, in some 250 bytes each, where so many bytes may be dirty: two are in memory at a time, and
// take half as much. Each reads the tables from front to back, so that fewer and larger ones read less.
func recoverAtOnce(dirty int64) int { return int(min(max(dirty>>10, 1<<16), 1<<19)) }

// recovery makes the changes again that the tables may lack: those behind the watermark. It
// reads them in order, batch by batch, and while it makes those of one, it reads those of the next.
type recovery struct {
	s       *Store
	sources []source
	entry   record.Entry // that is being read
}

// batch are changes in order. It notes whom they touch by shard, so that they can be made in the order of
// the shards, which for each kind of subject is that of the keys of their records.
type batch struct {
	s       *Store
	changes []change
	effects []record.Effect // of changes
	touches [shardCount][]touch
	reached uint64 // number of the last change
	last    bool
}

// change is an event or an effect to make again.
type change struct {
	step   record.Step // of an event
	effect int32       // index of effects plus one; 0 for an event
}

// touch says that a change touches the record of a subject.
type touch struct {
	subject hashing.Subject
	change  int32 // index of changes, which are in order
}

// source is one sequence of changes: the log of a domain, or the journal.
type source struct {
	it   *pebble.Iterator
	read func(r *recovery, b *batch, key, value []byte) (*hashing.Subjects, error)
	seq  record.Seq // of the change that it stands at
}

// recover brings the records in memory to what the log says.
func (s *Store) recover(watermark uint64) (err error) {
	r := &recovery{s: s}
	defer func() {
		for _, src := range r.sources {
			err = errors.Join(err, src.it.Close())
		}
	}()
	if err := r.open(watermark); err != nil {
		return err
	}
	now, next := &batch{s: s}, &batch{s: s}
	if err := r.collect(now); err != nil {
		return err
	}
	for {
		var ahead sync.WaitGroup
		var failed error
		if !now.last {
			ahead.Go(func() { failed = r.collect(next) })
		}
		err := now.apply()
		ahead.Wait()
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		if s.flush.full() {
			if err := s.flush.flush(func() uint64 { return now.reached }); err != nil {
				return err
			}
		}
		if now.last {
			return nil
		}
		now, next = next, now
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

func (r *recovery) add(lower, upper []byte, read func(r *recovery, b *batch, key, value []byte) (*hashing.Subjects, error)) error {
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

func readEvent(r *recovery, b *batch, key, value []byte) (*hashing.Subjects, error) {
	_, id, err := splitLogKey(key)
	if err != nil {
		return nil, err
	}
	if err := decodeEntry(&r.entry, id, value); err != nil {
		return nil, err
	}
	b.changes = append(b.changes, change{step: r.entry.Step()})
	return &r.entry.Subjects, nil
}

func readEffect(r *recovery, b *batch, key, value []byte) (*hashing.Subjects, error) {
	seq, err := seqOf(key)
	if err != nil {
		return nil, err
	}
	b.effects = append(b.effects, record.Effect{})
	f := &b.effects[len(b.effects)-1]
	if err := f.Decode(seq, value); err != nil {
		return nil, fmt.Errorf("%w: entry of the journal", engine.ErrCorrupt)
	}
	b.changes = append(b.changes, change{effect: int32(len(b.effects))}) //nolint:gosec // at most recoverAtOnce
	r.s.noteJournal(seq)
	return &f.Subjects, nil
}

// collect makes b the next changes.
func (r *recovery) collect(b *batch) error {
	b.changes, b.effects = b.changes[:0], b.effects[:0]
	for i := range b.touches {
		b.touches[i] = b.touches[i][:0]
	}
	for len(b.changes) < r.s.opts.recoverAtOnce && len(r.sources) > 0 {
		next := 0
		for i := range r.sources {
			if r.sources[i].seq < r.sources[next].seq {
				next = i
			}
		}
		if err := r.take(b, next); err != nil {
			return err
		}
	}
	b.last = len(r.sources) == 0
	return nil
}

// take reads the change that a source stands at, and moves it on.
func (r *recovery) take(b *batch, i int) error {
	src := &r.sources[i]
	b.reached = uint64(src.seq)
	subjects, err := src.read(r, b, src.it.Key(), src.it.Value())
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if s.Given() {
			there := &b.touches[shardOf(s)]
			*there = append(*there, touch{subject: s, change: int32(len(b.changes) - 1)}) //nolint:gosec // at most recoverAtOnce
		}
	}
	if src.it.Next() {
		src.seq, err = seqOf(src.it.Key())
		return err
	}
	err = errors.Join(src.it.Error(), src.it.Close())
	r.sources = slices.Delete(r.sources, i, i+1)
	return err
}

// apply makes the changes that were collected. Each processor takes some of the shards, and nobody else is there yet, so
// nothing is locked.
func (b *batch) apply() error {
	failed := make([]error, runtime.GOMAXPROCS(0))
	var parts sync.WaitGroup
	for i := range failed {
		from, to := i*shardCount/len(failed), (i+1)*shardCount/len(failed)
		parts.Go(func() { failed[i] = b.applyShards(from, to) })
	}
	parts.Wait()
	b.s.flush.since.Add(int64(len(b.changes)))
	return errors.Join(failed...)
}

// applyShards makes the changes that touch the subjects of some shards.
func (b *batch) applyShards(from, to int) (err error) {
	var its [hashing.Kinds]*pebble.Iterator // one a kind: shard by shard, each goes on in the order of the keys
	defer func() {
		for _, it := range its {
			if it != nil {
				err = errors.Join(err, it.Error(), it.Close())
			}
		}
	}()
	var rec record.Record
	for _, rest := range b.touches[from:to] {
		slices.SortFunc(rest, func(x, y touch) int {
			return cmp.Or(compareSubjects(x.subject, y.subject), cmp.Compare(x.change, y.change))
		})
		for len(rest) > 0 {
			n := 1
			for n < len(rest) && rest[n].subject == rest[0].subject {
				n++
			}
			it := &its[rest[0].subject.Kind]
			if *it == nil {
				prefix := []byte{tableSubject, byte(rest[0].subject.Kind)}
				if *it, err = b.s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}); err != nil {
					return err
				}
			}
			if err := b.applyTo(*it, rest[:n], &rec); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// applyTo makes all changes of one subject that its record does not hold yet.
func (b *batch) applyTo(it *pebble.Iterator, touches []touch, rec *record.Record) error {
	s := touches[0].subject
	sh := &b.s.shards[shardOf(s)]
	if old, known := sh.get(s); known {
		rec.Reload(old)
	} else if err := seekRecord(it, s, rec); err != nil {
		return err
	}
	changed := false
	for _, t := range touches {
		changed = b.applyChange(&b.changes[t.change], s.Kind, rec) || changed
	}
	if changed {
		b.s.flush.dirty.Add(sh.put(s, rec.Bytes(), true))
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

// applyChange makes a change in one record, unless that holds it.
func (b *batch) applyChange(c *change, owner hashing.Kind, rec *record.Record) bool {
	if c.effect > 0 {
		f := &b.effects[c.effect-1]
		return f.Seq > rec.Applied() && f.Apply(owner, rec)
	}
	if c.step.Seq() <= rec.Applied() {
		return false
	}
	c.step.Apply(owner, rec)
	return true
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
