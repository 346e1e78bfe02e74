package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// Backup writes the store as it is now to a folder that must not be there yet; its parents are made. Others may go on meanwhile, another
// Backup waits: every change that was answered before Backup began is in it, each whole or not at all. The folder opens by itself, with the
// same keyring. It is read once, for SumsName: some seconds for a few GiB.
//
// Where the folder is on the disk of the store, its tables are the same files under a second name: copy it
// elsewhere to survive the disk. On another disk it takes the room of the store there, and here that of the log that is in memory for as long as it is copied.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	select {
	case s.backups <- struct{}{}:
		defer func() { <-s.backups }()
	case <-ctx.Done():
		return ctx.Err()
	}
	fs := s.opts.FS
	if _, err := fs.Stat(dir); err == nil {
		return &os.PathError{Op: "backup", Path: dir, Err: os.ErrExist}
	}
	if err := makeFolder(fs, fs.PathDir(dir)); err != nil {
		return err
	}
	if err := s.flushAll(); err != nil {
		return err
	}
	partial := dir + ".partial" // a backup that was cut off must not look like one
	err := s.copyTo(ctx, partial)
	if err == nil {
		err = errors.Join(newGuard(fs, partial).renew(), writeSums(ctx, fs, partial))
	}
	if err == nil {
		err = fs.Rename(partial, dir)
	}
	if err != nil { // what is left would keep the room of tables that are given up
		return errors.Join(err, fs.RemoveAll(partial))
	}
	return syncDir(fs, fs.PathDir(dir))
}

// copyTo copies the store as it is now to a folder, in place of what is there.
//
// The watermark stands still while Pebble makes a checkpoint, which has the tables of when that begins and the log of when it ends: one that
// rose in between would speak of tables that are not there. On the disk of the store it is made of links, and takes no longer than copying the log that is in
// memory; so it is made there in any case, and copied when it is for another disk, unless the disk of the store knows no links.
func (s *Store) copyTo(ctx context.Context, dir string) error {
	fs := s.opts.FS
	here := fs.PathJoin(s.aside, "backup")
	for _, folder := range []string{here, dir} {
		if err := fs.RemoveAll(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if !s.hasLinks() {
		return s.checkpoint(dir)
	}
	err := s.checkpoint(here)
	if err == nil {
		err = linkAll(ctx, fs, dir, here)
	}
	return errors.Join(err, fs.RemoveAll(here))
}

// checkpoint makes a folder of the store as it is now.
func (s *Store) checkpoint(dir string) error {
	s.flush.marks.Lock()
	defer s.flush.marks.Unlock()
	return s.db.Checkpoint(dir, pebble.WithFlushedWAL())
}

// hasLinks reports whether a file of the store can have a second name on its disk.
func (s *Store) hasLinks() bool {
	name := s.opts.FS.PathJoin(s.aside, "link")
	return s.opts.FS.Link(s.opts.FS.PathJoin(s.dir, guardName), name) == nil && s.opts.FS.Remove(name) == nil
}

// linkAll gives the files of a folder a second name in a new one that is its owner's alone, or copies them where that is on another disk, durably but for their names.
func linkAll(ctx context.Context, fs vfs.FS, to, from string) error {
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	if err := fs.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := vfs.LinkOrCopy(fs, fs.PathJoin(from, name), fs.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder and those that it lies in, durably.
func makeFolder(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent == dir {
		return nil
	}
	if err := makeFolder(fs, parent); err != nil {
		return err
	}
	return errors.Join(fs.MkdirAll(dir, 0o700), syncDir(fs, parent))
}

// flushAll brings all records in memory to the tables.
func (s *Store) flushAll() error {
	if s.flush.since.Load() == 0 {
		return nil
	}
	if err := s.flush.flush(s.lastSeq.Load); err != nil {
		s.fail(err)
	}
	return nil
}

// Stats is what a store holds.
type Stats struct {
	Subjects  map[string]int    `json:"subjects"` // records by kind
	Events    int               `json:"events"`
	Oldest    time.Time         `json:"oldest_event,omitzero"`
	Newest    time.Time         `json:"newest_event,omitzero"`
	Keys      int               `json:"idempotency_keys"`
	Entries   int               `json:"list_entries"`
	Policies  int               `json:"policies"`
	Bytes     map[string]uint64 `json:"bytes"`      // on the disk, about, by table
	DiskBytes uint64            `json:"disk_bytes"` // all files of Pebble's, what waits for compaction included
	Dirty     int64             `json:"dirty_bytes"`
	Unflushed int64             `json:"unflushed_changes"` // what would have to be made again after a crash
}

// statTables names the tables of Stats.
var statTables = []struct {
	id   byte
	name string
}{
	{tableSubject, "subjects"}, {tableLog, "events"}, {tableJournal, "journal"}, {tableOnce, "idempotency_keys"},
	{tableEntries, "list_entries"}, {tablePolicy, "policies"}, {tablePolicyNote, "policy_notes"}, {tableRollouts, "policy_changes"}, {tableRolledOut, "policies_in_force"},
	{tableForward, "moved_subjects"}, {tableBack, "older_names"},
}

// Stats counts what the store holds. It reads all keys, which takes about a second for a few million.
func (s *Store) Stats(ctx context.Context) (*Stats, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	st := &Stats{
		Subjects: map[string]int{}, Bytes: map[string]uint64{}, DiskBytes: s.db.Metrics().DiskSpaceUsage(),
		Dirty: s.flush.dirty.Load(), Unflushed: s.flush.since.Load(),
	}
	if err := s.flushAll(); err != nil { // or what lies in memory alone is not counted
		return nil, err
	}
	for _, table := range statTables {
		n, err := s.db.EstimateDiskUsage([]byte{table.id}, []byte{table.id + 1})
		if err != nil {
			return nil, err
		}
		st.Bytes[table.name] = n
		if err := s.countTable(ctx, table.id, st); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (s *Store) countTable(ctx context.Context, table byte, st *Stats) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, it.Close())
		}
		st.count(table, it.Key())
	}
	return errors.Join(explainRead(it.Error()), it.Close())
}

func (st *Stats) count(table byte, key []byte) {
	switch table {
	case tableSubject:
		st.Subjects[hashing.Kind(key[1]).String()]++
	case tableLog:
		st.Events++
		if _, id, err := splitLogKey(key); err == nil {
			at := id.Recorded().Truncate(time.Second)
			if st.Oldest.IsZero() || at.Before(st.Oldest) {
				st.Oldest = at
			}
			if at.After(st.Newest) {
				st.Newest = at
			}
		}
	case tableOnce:
		st.Keys++
	case tableEntries:
		st.Entries++
	case tablePolicy:
		st.Policies++
	}
}

// Compact rewrites the tables without what was deleted. Others may go on meanwhile, slower.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := s.flushAll(); err != nil {
		return err
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		return fmt.Errorf("compaction: %w", err)
	}
	return nil
}

// Purge takes every event that was recorded before a time, in unix seconds, out of the log: timelines, outcomes and
// backtests know them no more. What was counted stays. It reports whether there was any.
func (s *Store) Purge(ctx context.Context, before int64) (purged bool, err error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	n, err := s.trimLog(record.Seq(max(before, 0)) * 1e6)
	if err != nil || n == 0 {
		return false, err
	}
	return true, errors.Join(s.freeTrimmed(n), s.logIsDurable())
}
