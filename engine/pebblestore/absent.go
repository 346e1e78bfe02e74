package pebblestore

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/hashing"
)

// guess foretells whether the next record of a kind that is not in memory is in the tables, from how it was with
// the ones before. Under an attack with numbers out of nowhere most are not.
type guess struct{ balance atomic.Int32 } // records that were absent, less those that were there, within sureness

// sureness is how many records it takes to change a mind that was sure.
const sureness = 32

func (g *guess) absent() bool { return g.balance.Load() > 0 }

// note learns from a record. Two at a time may lose one of them, which does no harm.
func (g *guess) note(absent bool) {
	step := int32(-1)
	if absent {
		step = 1
	}
	if next := g.balance.Load() + step; next >= -sureness && next <= sureness {
		g.balance.Store(next)
	}
}

// readRecord returns the record of a subject as the tables have it, valid until done is closed. Both are
// nil when there is none.
//
// Get does not ask the filters of the last level, where nearly all records are: to find nothing it has to read
// and search a block. An iterator asks them, and costs a microsecond more where there is a record.
func (s *Store) readRecord(key []byte, kind hashing.Kind) (b []byte, done io.Closer, err error) {
	g := &s.guesses[kind]
	if g.absent() {
		b, done, err = s.readFiltered(key)
	} else if b, done, err = s.db.Get(key); errors.Is(err, pebble.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return nil, nil, explainRead(err)
	}
	g.note(done == nil)
	return b, done, nil
}

var filtered = pebble.IterOptions{UseL6Filters: true}

func (s *Store) readFiltered(key []byte) (b []byte, done io.Closer, err error) {
	it, err := s.db.NewIter(&filtered)
	if err != nil {
		return nil, nil, err
	}
	if !it.SeekPrefixGE(key) {
		return nil, nil, errors.Join(it.Error(), it.Close())
	}
	return it.Value(), it, nil
}
