package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// tx is one atomic step on some subjects: lock their shards, load, edit,
// commit. It belongs to one goroutine and is used again by others.
type tx struct {
	s       *Store
	now     int64 // unix seconds: the time at which things expire
	locked  []int
	rewrite bool                         // an event is read to be written anew: Store.trims is held for reading
	records [hashing.Kinds]record.Record // of the subjects of one event
	seen    engine.Observation           // points into records
	entry   record.Entry
	effect  record.Effect
	batch   *pebble.Batch
	changes int64  // in the batch
	later   bool   // the caller waits for the log by itself: see Store.Durable
	staged  []edit // records to keep once the batch is applied
	bytes   []byte // of staged
	key     []byte
	value   []byte
}

// edit is a record as it will be: a part of tx.bytes, or the one in tx.records of its subject's kind.
type edit struct {
	subject    hashing.Subject
	copied     bool
	start, end int // in tx.bytes
}

func newTx(s *Store) *tx { return &tx{s: s} }

// begin starts a step that changes subjects, once there is room for changes. After nil, the
// caller must call end.
func (s *Store) begin(ctx context.Context, subjects ...hashing.Subject) (*tx, error) {
	if err := s.checkSpace(); err != nil {
		return nil, err
	}
	return s.beginSweep(ctx, subjects...)
}

// beginSweep is begin for changes that make room on the disk.
func (s *Store) beginSweep(ctx context.Context, subjects ...hashing.Subject) (*tx, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	if err := s.flush.makeRoom(ctx); err != nil {
		s.leave()
		return nil, err
	}
	return s.lockAll(subjects), nil
}

// beginLook starts a step that changes nothing. After nil, the caller must call end.
func (s *Store) beginLook(ctx context.Context, subjects ...hashing.Subject) (*tx, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return s.lockAll(subjects), nil
}

func (s *Store) lockAll(subjects []hashing.Subject) *tx {
	t := s.txs.Get().(*tx) //nolint:forcetypeassert // the pool holds nothing else
	t.lock(subjects)
	return t
}

func (t *tx) lock(subjects []hashing.Subject) {
	t.locked = shardsOf(t.locked, subjects...)
	for _, i := range t.locked {
		t.s.shards[i].mu.Lock()
	}
}

// unlock lets others at the subjects and the log. Calling it again does nothing.
func (t *tx) unlock() {
	if t.rewrite {
		t.rewrite = false
		t.s.trims.RUnlock()
	}
	for _, i := range t.locked {
		t.s.shards[i].mu.Unlock()
	}
	t.locked = t.locked[:0]
}

// end finishes a step. What was put and not committed, because the step was
// refused or panicked, is forgotten: nobody else has seen it.
func (t *tx) end() {
	t.staged, t.bytes, t.changes, t.later = t.staged[:0], t.bytes[:0], 0, false
	t.entry.Values, t.entry.Shadows = nil, nil // the caller's: the next one must not write there
	t.entry.Country = ""                       // nor may it outlive the call: it can be a part of a text that has a number
	t.unlock()
	s := t.s
	if t.batch != nil {
		_ = t.batch.Close() // frees memory; there is nothing left to fail
		t.batch = nil
	}
	s.txs.Put(t)
	s.leave()
}

// load reads the record of a subject, whose shard is locked. Reading the tables under the lock
// keeps it simple: nobody can change, flush and evict the record in between.
func (t *tx) load(s hashing.Subject, r *record.Record) error {
	sh := &t.s.shards[shardOf(s)]
	if b, known := sh.get(s); known {
		r.Reload(b)
		return nil
	}
	t.key = appendSubjectKey(t.key[:0], s)
	b, done, err := t.s.readRecord(t.key, s.Kind)
	switch {
	case err != nil:
		return err
	case done == nil:
		sh.put(s, nil, false)
		return r.Load(nil)
	}
	if err = r.Load(b); err != nil {
		err = fmt.Errorf("%w: subject record", engine.ErrCorrupt)
	} else {
		sh.put(s, b, false)
	}
	return errors.Join(err, done.Close())
}

// loadAll reads the records of an event's subjects and shows them as what was
// seen.
func (t *tx) loadAll(subjects *hashing.Subjects) error {
	for kind := range subjects { // all before the first is read: a processor looks for several at a time, and waits for memory once
		if s := &subjects[kind]; s.Given() {
			t.s.shards[shardOf(*s)].seek(s)
		}
	}
	for kind, s := range subjects {
		t.seen.Records[kind] = nil
		if !s.Given() {
			continue
		}
		if err := t.load(s, &t.records[kind]); err != nil {
			return err
		}
		t.seen.Records[kind] = &t.records[kind]
	}
	return nil
}

// put stages records, whose shards are locked. They must not change any more.
func (t *tx) put(subjects *hashing.Subjects) {
	for _, s := range subjects {
		if s.Given() {
			t.staged = append(t.staged, edit{subject: s})
		}
	}
}

// putCopy stages a record whose place in t.records is needed for another one.
func (t *tx) putCopy(s hashing.Subject, r *record.Record) {
	start := len(t.bytes)
	t.bytes = append(t.bytes, r.Bytes()...)
	t.staged = append(t.staged, edit{subject: s, copied: true, start: start, end: len(t.bytes)})
}

// putEvent writes the entry of an event that the records now hold.
func (t *tx) putEvent(domain hashing.DomainID) error {
	t.changes++
	return t.putEntry(domain)
}

// putEntry writes the entry of the event log.
func (t *tx) putEntry(domain hashing.DomainID) error {
	t.key = appendLogKey(t.key[:0], domain, t.entry.ID)
	t.value = t.entry.Append(t.value[:0])
	return t.writes().Set(t.key, t.value, nil)
}

// putEffect numbers t.effect, makes it in the records of its subjects, which are seen, and
// writes it to the journal. It reports whether it changed anything.
func (t *tx) putEffect() (changed bool, err error) {
	t.effect.Seq = t.s.nextSeq()
	for kind, s := range t.effect.Subjects {
		if s.Given() {
			changed = t.effect.Apply(hashing.Kind(kind), &t.records[kind]) || changed
		}
	}
	if !changed {
		return false, nil
	}
	t.put(&t.effect.Subjects)
	return true, t.putJournal()
}

// putJournal writes t.effect to the journal.
func (t *tx) putJournal() error {
	t.changes++
	t.s.noteJournal(t.effect.Seq)
	return t.writeJournal()
}

func (t *tx) writeJournal() error {
	t.key = appendJournalKey(t.key[:0], uint64(t.effect.Seq))
	t.value = t.effect.Append(t.value[:0])
	return t.writes().Set(t.key, t.value, nil)
}

// noteJournal notes that the journal holds an effect.
func (s *Store) noteJournal(seq record.Seq) {
	for {
		newest := s.journaled.Load()
		if uint64(seq) <= newest || s.journaled.CompareAndSwap(newest, uint64(seq)) {
			return
		}
	}
}

func (t *tx) writes() *pebble.Batch {
	if t.batch == nil {
		t.batch = t.s.db.NewBatch()
	}
	return t.batch
}

// commit applies everything written, with the answer to remember, keeps the
// records, unlocks, and returns when the log is durable, at once if that is for later. What cannot be applied or made durable
// ends the process: what memory says is ahead of the disk then.
func (t *tx) commit(domain hashing.DomainID, once *engine.Once) error {
	if once != nil {
		if err := t.putOnce(domain, once); err != nil {
			return err
		}
		t.s.once.RLock()
	}
	if t.batch != nil {
		if err := t.apply(); err != nil {
			t.s.fail(err)
		}
	}
	if once != nil {
		t.s.once.RUnlock()
	}
	t.keep()
	if !t.later { // where nothing changed, too: what made it so may be the change of somebody who still waits for the log
		t.unlock()
		t.s.awaitLog()
	}
	return nil
}

// Durable implements engine.Store.
func (s *Store) Durable(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.awaitLog()
	return nil
}

// awaitLog returns when everything that was applied is durable. Where it is already, the disk is not touched: it may be full.
func (s *Store) awaitLog() {
	if s.opts.volatile || s.logged.all() {
		return
	}
	if err := s.waits.share(func() error { return s.syncLog(nil) }); err != nil {
		s.fail(err)
	}
}

// syncLog writes a line that changes nothing to the log, and returns when all that was applied before is durable.
func (s *Store) syncLog(line []byte) error {
	n := s.logged.applied.Load()
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; there is nothing left to fail
	// Pebble's own LogData ends the process when the disk fails, and does not say why in a way that a program can read. What we rely on
	// is that SyncWait returns only when the log is durable past the batch: TestPowerCut holds it.
	err := b.LogData(line, nil)
	if err == nil {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err == nil {
		err = b.SyncWait()
	}
	if err == nil {
		s.logged.reach(n)
	}
	return err
}

// progress counts changes on their way to the disk.
type progress struct {
	begun   atomic.Uint64 // before anybody can see them
	applied atomic.Uint64 // behind their place in the log; so many lie before a line that is written from now on
	durable atomic.Uint64 // so many of those applied were, at least
}

// all reports whether every change that anybody can have seen is durable: as many are as have begun.
func (l *progress) all() bool { return l.durable.Load() >= l.begun.Load() }

func (l *progress) reach(n uint64) {
	for before := l.durable.Load(); before < n && !l.durable.CompareAndSwap(before, n); before = l.durable.Load() {
	}
}

// apply adds the batch to what others see, and to the log, which is not durable yet.
func (t *tx) apply() error {
	t.s.logged.begun.Add(1)
	defer t.s.logged.applied.Add(1)
	return t.s.db.Apply(t.batch, pebble.NoSync)
}

// keep makes the staged records those that others see.
func (t *tx) keep() {
	soiled := int64(0)
	for _, e := range t.staged {
		b := t.bytes[e.start:e.end]
		if !e.copied {
			b = t.records[e.subject.Kind].Bytes()
		}
		soiled += t.s.shards[shardOf(e.subject)].put(e.subject, b, true)
	}
	t.staged = t.staged[:0]
	t.s.flush.note(t.changes, soiled)
}

// observe counts an event in the records, in memory, and shows what is seen
// then. With no kind the event is not counted.
func (t *tx) observe(ev *engine.Event, seq record.Seq) {
	at, now := record.TimeOf(ev.Time), record.TimeOf(ev.Now)
	if ev.Kind != 0 {
		mark := record.NewMark(ev.Kind, at, now, seq, &ev.Subjects, ev.Country)
		placed := true
		for kind, r := range t.seen.Records {
			if r != nil {
				placed = r.Apply(hashing.Kind(kind), &mark) && placed
			}
		}
		if !placed && seq != 0 {
			t.s.late.Add(1)
		}
	}
	t.seen.Lists = t.listsAt(max(at, record.TimeOf(t.now)))
}

// listsAt returns the names of the lists that any of the subjects is on.
func (t *tx) listsAt(at record.Time) []string {
	var names []string
	for _, r := range t.seen.Records {
		if r != nil {
			r.Lists(at, func(id uint16) { names = append(names, t.s.lists.name(id)) })
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
