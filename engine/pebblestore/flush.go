package pebblestore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/ringfence/ringfence/hashing"
)

// groupCount is in how many steps a flush writes the shards: each holds a part of
// the dirty records in memory twice while it is written.
const groupCount = 16

// flusher brings records from memory to the tables. It goes round when enough is dirty, or
// enough happened, and holds writers up when too much is.
//
// A flush takes one group of shards after the other. For each it copies the dirty records under
// their locks; waits until the log on the disk holds all that they hold; writes sorted tables,
// and makes them part of the store. After the last group it raises the watermark to the newest
// change that was numbered before the flush began: everything up to there is in the tables,
// since a change holds its locks from before it has a number until it is in memory. The
// watermark may lag and never leads; records skip what they hold already.
type flusher struct {
	s *Store

	dirty atomic.Int64 // bytes of records that the tables do not have
	since atomic.Int64 // changes that the watermark does not cover

	wake chan struct{} // capacity 1: there is something to do
	quit chan struct{} // closed: stop
	done chan struct{} // closed: stopped

	round sync.Mutex // held during a flush
	count uint32     // flushes so far; guarded by round
	trim  uint64     // the journal is forgotten up to here; guarded by round
	buf   copies     // guarded by round
	marks sync.Mutex // held while the watermark rises, and while it must not: see copyTo

	mu    sync.Mutex
	moved chan struct{} // closed and renewed when something became clean; guarded by mu
}

func newFlusher(s *Store) *flusher {
	return &flusher{s: s, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), moved: make(chan struct{})}
}

// run flushes whenever it is woken, and seals the log and guards the manifest, until quit.
func (f *flusher) run() {
	defer close(f.done)
	seals := &sealer{s: f.s}
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	if f.s.opts.volatile {
		tick.Stop() // there is no log to seal
	}
	for {
		var err error
		select {
		case <-f.quit:
			return
		case <-f.wake:
			err = f.flush(f.s.lastSeq.Load)
		case <-f.s.guard.wake:
			err = f.s.guard.renew()
		case <-tick.C:
			err = seals.look()
		}
		if err != nil {
			f.s.fail(err)
		}
	}
}

// stop ends run.
func (f *flusher) stop() {
	close(f.quit)
	<-f.done
}

// note counts a change that was committed, and wakes run when a flush is due: at half of what
// is bearable, so that writers seldom have to wait.
func (f *flusher) note(changes, dirty int64) {
	since, soiled := f.since.Add(changes), f.dirty.Add(dirty)
	if since > f.s.opts.MaxUnflushed/2 || soiled > f.s.opts.DirtyBytes/2 {
		f.nudge()
	}
}

func (f *flusher) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flusher) full() bool {
	return f.since.Load() > f.s.opts.MaxUnflushed || f.dirty.Load() > f.s.opts.DirtyBytes
}

// makeRoom waits until there is room for another change.
func (f *flusher) makeRoom(ctx context.Context) error {
	if !f.full() {
		return nil
	}
	f.s.stalls.Add(1)
	for {
		f.mu.Lock()
		moved := f.moved
		f.mu.Unlock()
		if !f.full() {
			return nil
		}
		f.nudge()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress tells those who wait that something became clean.
func (f *flusher) progress() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.moved)
	f.moved = make(chan struct{})
}

// flush goes round once. reached returns the newest change that records in memory hold, all those before it
// included: in live use the newest that was numbered; during recovery the last that was made again,
// since the numbers go on from the end of the log.
func (f *flusher) flush(reached func() uint64) error {
	f.round.Lock()
	defer f.round.Unlock()
	covered, mark := f.since.Load(), reached()
	f.count++
	for group := range groupCount {
		if err := f.flushGroup(group); err != nil {
			return fmt.Errorf("flush of records: %w", err)
		}
		f.progress()
	}
	if err := f.s.guard.renew(); err != nil {
		return fmt.Errorf("guard of the manifest: %w", err)
	}
	f.marks.Lock()
	err := f.s.setWatermark(mark)
	f.marks.Unlock()
	if err != nil {
		return fmt.Errorf("watermark: %w", err)
	}
	f.since.Add(-covered)
	f.progress()
	return nil
}

func (f *flusher) flushGroup(group int) error {
	const size = shardCount / groupCount
	shards := f.s.shards[group*size : (group+1)*size]
	f.buf.reset()
	for i := range shards {
		sh := &shards[i]
		sh.mu.Lock()
		f.dirty.Add(-sh.clean(f.count, f.buf.add))
		sh.mu.Unlock()
		f.buf.sort()
		f.s.manners.giveWay(runtime.Gosched)
	}
	if f.buf.any() {
		if err := f.write(group); err != nil {
			return err
		}
	}
	for i := range shards {
		sh := &shards[i]
		sh.mu.Lock()
		sh.stored = f.count
		sh.mu.Unlock()
	}
	return nil
}

// write brings what was copied into the tables.
func (f *flusher) write(group int) error {
	if err := f.s.logIsDurable(); err != nil {
		return err
	}
	var paths []string
	for _, p := range f.buf.parts {
		if len(p.rows) == 0 {
			continue
		}
		path := f.s.opts.FS.PathJoin(f.s.aside, fmt.Sprintf("%d-%d-%d.sst", f.count, group, len(paths)))
		if err := f.s.writeTable(path, p.rows, f.buf.data); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	return f.s.db.Ingest(context.Background(), paths)
}

// copies are records on their way into tables.
type copies struct {
	parts []part
	data  []byte
}

// part is the records of one kind and key, which make a table: tables do not span each other then.
type part struct {
	kind   hashing.Kind
	key    hashing.KeyID
	rows   []copied
	sorted int // rows in order, from the first
}

type copied struct {
	key         [1 + hashing.SubjectSize]byte
	start, size int // of the record in data; no bytes for a record that is no more
}

// reset forgets the records. The room for those of a kind and key stays as long as there were some.
func (c *copies) reset() {
	c.parts = slices.DeleteFunc(c.parts, func(p part) bool { return len(p.rows) == 0 })
	for i := range c.parts {
		c.parts[i].rows, c.parts[i].sorted = c.parts[i].rows[:0], 0
	}
	c.data = c.data[:0]
}

func (c *copies) any() bool {
	return slices.ContainsFunc(c.parts, func(p part) bool { return len(p.rows) > 0 })
}

func (c *copies) add(s hashing.Subject, b []byte) {
	row := copied{start: len(c.data), size: len(b)}
	appendSubjectKey(row.key[:0], s)
	c.data = append(c.data, b...)
	p := c.part(s)
	p.rows = append(p.rows, row)
}

func (c *copies) part(s hashing.Subject) *part {
	for i := range c.parts {
		if p := &c.parts[i]; p.kind == s.Kind && p.key == s.Key {
			return p
		}
	}
	c.parts = append(c.parts, part{kind: s.Kind, key: s.Key})
	return &c.parts[len(c.parts)-1]
}

// sort brings what was added since the last call into the order of its keys: all of it lies behind what was there, as shards follow
// each other. Sorting a group at once would take a processor for ten milliseconds.
func (c *copies) sort() {
	for i := range c.parts {
		p := &c.parts[i]
		slices.SortFunc(p.rows[p.sorted:], func(a, b copied) int {
			return cmp.Or(
				cmp.Compare(binary.BigEndian.Uint64(a.key[:]), binary.BigEndian.Uint64(b.key[:])),
				bytes.Compare(a.key[8:], b.key[8:]))
		})
		p.sorted = len(p.rows)
	}
}

// writeTable writes sorted records to a file that the store can take over.
func (s *Store) writeTable(path string, rows []copied, data []byte) error {
	file, err := s.fs.Create(path, "ringfence-flush")
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), s.tableOptions)
	for i := range rows {
		row := &rows[i]
		if row.size == 0 {
			err = w.Delete(row.key[:])
		} else {
			err = w.Set(row.key[:], data[row.start:row.start+row.size])
		}
		if err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// logIsDurable returns when everything that was applied to the log is on the disk: what
// is synced after it cannot be there without it.
func (s *Store) logIsDurable() error {
	if s.opts.volatile {
		return nil
	}
	return s.syncLog(nil)
}

// openAside makes the folder for tables that are not part of the store yet, and drops what a
// crash left in it.
func (s *Store) openAside(dir string) error {
	s.aside = s.opts.FS.PathJoin(dir, "flush")
	if err := s.opts.FS.RemoveAll(s.aside); err != nil && !os.IsNotExist(err) {
		return err
	}
	return s.opts.FS.MkdirAll(s.aside, 0o700)
}

// setWatermark notes, durably, that the tables hold every change up to one, and forgets the
// journal up to there. The caller holds flush.round.
func (s *Store) setWatermark(mark uint64) error {
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; there is nothing left to fail
	if err := b.Set(keyWatermark, binary.BigEndian.AppendUint64(nil, mark), nil); err != nil {
		return err
	}
	if s.journaled.Load() > s.flush.trim {
		s.flush.trim = mark
		if err := b.DeleteRange([]byte{tableJournal}, appendJournalKey(nil, mark+1), nil); err != nil {
			return err
		}
	}
	if err := s.db.Apply(b, s.writeOptions()); err != nil {
		return err
	}
	s.watermark.Store(mark)
	return nil
}
