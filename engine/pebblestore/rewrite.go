package pebblestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Keys below and above every other, for as long as Rewrite works.
var (
	keyLowest  = []byte{0x00}
	keyHighest = []byte{0xfe, 0xff}
	keyBeyond  = []byte{0xff}
)

// settling is how often Rewrite opens and closes the store once it is rewritten. Pebble keeps logs for use
// again while it runs, and the manifest before the present one: the first round drops the logs, the
// others the manifests.
const settling = 3

// Rewrite rewrites a store that nobody has open, so that its files hold nothing that was deleted,
// replaced or erased: not in tables, not in logs, not in manifests. It takes about as much room as the store
// has, for a while, and the time to read and write it all. Whether the disk has forgotten the files
// that were deleted is not for a program to say. It may be stopped at any time, and begun again.
func Rewrite(ctx context.Context, dir string, opts Options) error {
	opts.Create = false
	s, err := Open(dir, opts)
	if err != nil {
		return err
	}
	if err := errors.Join(s.rewrite(ctx), s.Close()); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	for range settling {
		if s, err = Open(dir, opts); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// rewrite has every table written anew.
func (s *Store) rewrite(ctx context.Context) error {
	if err := s.flush.flush(s.lastSeq.Load); err != nil {
		return err
	}
	// What lies in the journal behind the watermark was written while it was raised.
	end := appendJournalKey(nil, s.watermark.Load()+1)
	if err := s.db.DeleteRange([]byte{tableJournal}, end, s.writeOptions()); err != nil {
		return err
	}
	if err := s.db.Compact(ctx, keyLowest, keyBeyond, false); err != nil {
		return err
	}
	// Everything is in the lowest level now, and Pebble leaves a table there alone unless one from above
	// overlaps it, also when it holds nothing but a deletion. A table from the lowest to the highest key overlaps all.
	for _, key := range [][]byte{keyLowest, keyHighest} {
		if err := s.db.Set(key, nil, s.writeOptions()); err != nil {
			return err
		}
	}
	if err := s.db.Flush(); err != nil {
		return err
	}
	if err := s.db.Compact(ctx, keyLowest, keyBeyond, false); err != nil {
		return err
	}
	b := s.db.NewBatch()
	if err := errors.Join(b.Delete(keyLowest, nil), b.Delete(keyHighest, nil)); err != nil {
		return err
	}
	return s.db.Apply(b, pebble.Sync)
}
