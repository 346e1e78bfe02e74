package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
)

// format is the version of the layout that this package writes. In format 1, records were
// written with every change and there was neither journal nor watermark. In format 2, nothing was erased, and
// a phone's events were linked to one another only as far as it was neither released nor forgotten. In format 3, the log
// did not say when an outcome was recorded, which outcomes it replaced, and which accounts were unlinked.
const format = 4

// openMeta checks the format and the keyring, or writes them to a new store. Nothing is
// changed before the keyring is known to be the right one.
func (s *Store) openMeta() error {
	stored, err := s.get(keyFormat)
	if err != nil {
		return err
	}
	if stored == nil {
		err = s.initMeta()
	} else {
		err = s.checkMeta(stored)
	}
	if err != nil {
		return err
	}
	if err := s.openRetention(); err != nil {
		return err
	}
	return errors.Join(s.loadLists(), s.loadForwards())
}

// openRetention completes Options.Retention, from what the store was last opened with if it is
// empty, and keeps it.
func (s *Store) openRetention() error {
	stored, err := s.get(keyRetention)
	if err != nil {
		return err
	}
	r := &s.opts.Retention
	if *r == (engine.Retention{}) && len(stored) == 24 {
		for i, field := range [...]*int64{(*int64)(&r.Subjects), (*int64)(&r.Log), &r.LogBytes} {
			*field = int64(binary.BigEndian.Uint64(stored[8*i:])) //nolint:gosec // kept bit by bit
		}
	}
	if *r, err = r.WithDefaults(); err != nil {
		return err
	}
	var b []byte
	for _, field := range [...]int64{int64(r.Subjects), int64(r.Log), r.LogBytes} {
		b = binary.BigEndian.AppendUint64(b, uint64(field)) //nolint:gosec // kept bit by bit
	}
	if bytes.Equal(b, stored) {
		return nil
	}
	return s.db.Set(keyRetention, b, s.writeOptions())
}

// Retention returns how long what is kept: Options.Retention, completed.
func (s *Store) Retention() engine.Retention { return s.opts.Retention }

func (s *Store) checkMeta(stored []byte) error {
	if len(stored) != 4 {
		return fmt.Errorf("%w: format version", engine.ErrCorrupt)
	}
	version := binary.BigEndian.Uint32(stored)
	switch {
	case version == 0:
		return fmt.Errorf("%w: format version", engine.ErrCorrupt)
	case version > format:
		return engine.ErrNewerFormat
	case version < format && !s.opts.Upgrade:
		return engine.ErrOlderFormat
	}
	if err := s.checkKeys(s.opts.Keys); err != nil || version == format {
		return err
	}
	return s.upgrade(version)
}

// UpgradedFrom returns the format that Open found and replaced by the present one, 0 when it was the present one.
func (s *Store) UpgradedFrom() uint32 { return s.upgraded }

// upgrade makes a store of an earlier format one of the present format. In format 1, the tables hold all there is.
func (s *Store) upgrade(from uint32) error {
	newest, err := s.newestSeq()
	if err != nil {
		return err
	}
	s.upgraded = from
	b := s.db.NewBatch()
	number := binary.BigEndian.AppendUint64(nil, newest)
	if from == 1 {
		if err := b.Set(keyWatermark, number, nil); err != nil {
			return err
		}
	}
	if from <= 2 {
		if err := b.Set(keyUnlinked, number, nil); err != nil {
			return err
		}
	}
	if err := b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, format), nil); err != nil {
		return err
	}
	return b.Commit(s.writeOptions())
}

// resume finds where the numbers of changes left off, and brings the records up to there.
func (s *Store) resume() error {
	watermark, err := s.getNumber(keyWatermark, "watermark")
	if err != nil {
		return err
	}
	kept, err := s.getNumber(keyClock, "clock")
	if err != nil {
		return err
	}
	if s.unlinked, err = s.getNumber(keyUnlinked, "number of an upgrade"); err != nil {
		return err
	}
	newest, err := s.newestSeq()
	if err != nil {
		return err
	}
	newest = max(newest, watermark)
	s.clock.begin(int64(kept), int64(newest/1e6)) //nolint:gosec // times
	s.numbers.beginNumbers(int64(newest / 1e6))   //nolint:gosec // a time
	s.lastSeq.Store(newest)
	s.watermark.Store(watermark)
	return s.recover(watermark)
}

// getNumber reads a number of the meta table, 0 when there is none.
func (s *Store) getNumber(key []byte, what string) (uint64, error) {
	stored, err := s.get(key)
	switch {
	case err != nil || len(stored) == 0:
		return 0, err
	case len(stored) != 8:
		return 0, fmt.Errorf("%w: %s", engine.ErrCorrupt, what)
	}
	return binary.BigEndian.Uint64(stored), nil
}

// initMeta makes an empty Pebble store ours.
func (s *Store) initMeta() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: it holds other data", engine.ErrNotAStore)
	}
	b := s.db.NewBatch()
	if err := b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, format), nil); err != nil {
		return err
	}
	for _, k := range s.opts.Keys {
		if k.Destroyed {
			continue
		}
		if err := b.Set(appendCheckKey(nil, k.Key), k.Value[:], nil); err != nil {
			return err
		}
	}
	return b.Commit(s.writeOptions())
}

func (s *Store) writeOptions() *pebble.WriteOptions {
	if s.opts.volatile {
		return pebble.NoSync
	}
	return pebble.Sync
}

// newestSeq returns the number of the newest change that the log or the journal holds, 0 for none.
func (s *Store) newestSeq() (newest uint64, err error) {
	domains, err := s.domains()
	if err != nil {
		return 0, err
	}
	prefixes := [][]byte{{tableJournal}}
	for _, d := range domains {
		prefixes = append(prefixes, appendTable(nil, tableLog, d))
	}
	for _, prefix := range prefixes {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return 0, err
		}
		if it.Last() {
			var seq record.Seq
			seq, err = seqOf(it.Key())
			newest = max(newest, uint64(seq))
		}
		if err := errors.Join(err, it.Error(), it.Close()); err != nil {
			return 0, err
		}
	}
	return newest, nil
}

// get returns a copy of a value, nil when there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, explainRead(err)
	}
	return append([]byte{}, v...), closer.Close()
}

func explainRead(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	return err
}
