package pebblestore

import (
	"context"
	"fmt"

	"github.com/ringfence/ringfence/hashing"
)

// Usage is how many bytes of the disk a store takes, about: without what has been replaced and not been compacted
// away it would take less, and a table counts with its share where it holds more than one thing.
type Usage struct {
	Records [hashing.Kinds]uint64 // by kind of subject; what is not flushed yet is not there
	Log     uint64                // events and other changes, in tables
	All     uint64                // everything, the write-ahead log included
}

// Usage returns what the store takes at present. Unlike Stats it reads no keys.
func (s *Store) Usage(ctx context.Context) (u Usage, err error) {
	if err := s.enter(ctx); err != nil {
		return u, err
	}
	defer s.leave()
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		if u.Records[kind], err = s.db.EstimateDiskUsage([]byte{tableSubject, byte(kind)}, []byte{tableSubject, byte(kind) + 1}); err != nil {
			return u, fmt.Errorf("usage: %w", err)
		}
	}
	if u.Log, err = s.db.EstimateDiskUsage([]byte{tableLog}, []byte{tableJournal + 1}); err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	u.All = s.db.Metrics().DiskSpaceUsage()
	return u, nil
}
