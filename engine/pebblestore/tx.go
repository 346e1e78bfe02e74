package pebblestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// tx is one atomic step on some subjects: lock their stripes, load, edit,
// commit. It belongs to one goroutine and is used again by others.
type tx struct {
	s       *Store
	locked  []int
	records [hashing.Kinds]record.Record // of the subjects of one event
	seen    engine.Observation           // points into records
	entry   record.Entry
	batch   *pebble.Batch
	written []hashing.Subject // put, and not applied yet
	key     []byte
	value   []byte
}

func newTx(s *Store) *tx { return &tx{s: s} }

// begin starts a step on subjects. After nil, the caller must call end.
func (s *Store) begin(ctx context.Context, subjects ...hashing.Subject) (*tx, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	t := s.txs.Get().(*tx) //nolint:forcetypeassert // the pool holds nothing else
	t.locked = stripesOf(t.locked, subjects...)
	for _, i := range t.locked {
		s.stripes[i].mu.Lock()
	}
	return t, nil
}

// unlock lets others at the subjects. Calling it again does nothing.
func (t *tx) unlock() {
	for _, i := range t.locked {
		t.s.stripes[i].mu.Unlock()
	}
	t.locked = t.locked[:0]
}

// end finishes a step. What was put and not committed, because the step was
// refused or panicked, leaves memory before anybody else can see it.
func (t *tx) end() {
	for _, s := range t.written {
		t.s.stripes[stripeOf(s)].forget(s)
	}
	t.written = t.written[:0]
	t.unlock()
	s := t.s
	if t.batch != nil {
		_ = t.batch.Close() // frees memory; there is nothing left to fail
		t.batch = nil
	}
	s.txs.Put(t)
	s.leave()
}

// load reads the record of a subject, whose stripe is locked.
func (t *tx) load(s hashing.Subject, r *record.Record) error {
	st := &t.s.stripes[stripeOf(s)]
	if b, ok := st.cached(s); ok {
		return t.parse(r, b)
	}
	t.key = appendSubjectKey(t.key[:0], s)
	b, closer, err := t.s.db.Get(t.key)
	if err == pebble.ErrNotFound { //nolint:errorlint // documented to be returned as it is
		st.keep(s, nil)
		return r.Load(nil)
	}
	if err != nil {
		return explainRead(err)
	}
	err = t.parse(r, b)
	if err == nil {
		st.keep(s, b)
	}
	if closeErr := closer.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (t *tx) parse(r *record.Record, b []byte) error {
	if err := r.Load(b); err != nil {
		return fmt.Errorf("%w: subject record", engine.ErrCorrupt)
	}
	return nil
}

// loadAll reads the records of an event's subjects and shows them as what was
// seen.
func (t *tx) loadAll(subjects *hashing.Subjects) error {
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

// put writes the record of a subject, whose stripe is locked.
func (t *tx) put(s hashing.Subject, r *record.Record) error {
	t.key = appendSubjectKey(t.key[:0], s)
	b := r.Bytes()
	t.s.stripes[stripeOf(s)].keep(s, b)
	t.written = append(t.written, s)
	if len(b) == 0 {
		return t.writes().Delete(t.key, nil)
	}
	return t.writes().Set(t.key, b, nil)
}

func (t *tx) putAll(subjects *hashing.Subjects) error {
	for kind, s := range subjects {
		if !s.Given() {
			continue
		}
		if err := t.put(s, &t.records[kind]); err != nil {
			return err
		}
	}
	return nil
}

// putEntry writes the entry of the event log.
func (t *tx) putEntry(domain hashing.DomainID) error {
	t.key = appendLogKey(t.key[:0], domain, t.entry.ID)
	t.value = t.entry.Append(t.value[:0])
	return t.writes().Set(t.key, t.value, nil)
}

func (t *tx) writes() *pebble.Batch {
	if t.batch == nil {
		t.batch = t.s.db.NewBatch()
	}
	return t.batch
}

// commit applies everything written, with the answer to remember, unlocks,
// and returns when it is durable. What cannot be applied or made durable ends
// the process: records in memory are ahead of the disk then.
func (t *tx) commit(domain hashing.DomainID, once *engine.Once) error {
	if once != nil {
		if err := t.putOnce(domain, once); err != nil {
			return err
		}
	}
	if t.batch == nil {
		return nil
	}
	if t.s.opts.volatile {
		t.failOn(t.s.db.Apply(t.batch, pebble.NoSync))
		t.written = t.written[:0]
		return nil
	}
	// Pebble marks ApplyNoSyncWait as not yet meant for others. What we rely on
	// is that it applies and orders as Apply does, and that SyncWait returns
	// only when the log is durable past the batch: TestPowerCut holds both.
	t.failOn(t.s.db.ApplyNoSyncWait(t.batch, pebble.Sync))
	t.written = t.written[:0]
	t.unlock()
	t.s.waiting.Add(1)
	defer t.s.waiting.Add(-1)
	t.failOn(t.batch.SyncWait())
	return nil
}

func (t *tx) failOn(err error) {
	if err != nil {
		t.s.fail(err)
	}
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
	t.seen.Lists = t.listsAt(at)
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
