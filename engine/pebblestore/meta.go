package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// format is the version of the layout that this package writes.
const format = 1

func newEventID(seq, random uint64) engine.EventID {
	return record.NewEventID(record.Seq(seq), random)
}

// openMeta checks the format and the keyring, or writes them to a new store, and
// finds where the ids left off.
func (s *Store) openMeta() error {
	stored, err := s.get(keyFormat)
	switch {
	case err != nil:
		return err
	case stored == nil:
		if err := s.initMeta(); err != nil {
			return err
		}
	case len(stored) != 4:
		return fmt.Errorf("%w: format version", engine.ErrCorrupt)
	case binary.BigEndian.Uint32(stored) > format:
		return engine.ErrNewerFormat
	default:
		if err := s.checkKeys(); err != nil {
			return err
		}
	}
	if err := s.loadLists(); err != nil {
		return err
	}
	return s.resumeIDs()
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

// checkKeys holds the keyring against the one the store was made with. A key
// that the store has not met yet is added, provided that it knows another one.
func (s *Store) checkKeys() error {
	var unknown []hashing.KeyCheck
	for _, k := range s.opts.Keys {
		stored, err := s.get(appendCheckKey(nil, k.Key))
		switch {
		case err != nil:
			return err
		case stored == nil:
			unknown = append(unknown, k)
		case !bytes.Equal(stored, k.Value[:]):
			return engine.ErrWrongKeyring
		}
	}
	if len(unknown) == len(s.opts.Keys) {
		return engine.ErrWrongKeyring
	}
	for _, k := range unknown {
		if err := s.db.Set(appendCheckKey(nil, k.Key), k.Value[:], s.writeOptions()); err != nil {
			return err
		}
	}
	return nil
}

// resumeIDs finds the newest event of every domain.
func (s *Store) resumeIDs() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableLog}, UpperBound: []byte{tableLog + 1}})
	if err != nil {
		return err
	}
	for ok := it.Last(); ok; {
		_, id, err := splitLogKey(it.Key())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		s.lastSeq.Store(max(s.lastSeq.Load(), uint64(id.Seq())))
		ok = it.SeekLT(it.Key()[:3])
	}
	return errors.Join(it.Error(), it.Close())
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
