package pebblestore

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// hour is the unit, in numbers of changes, in which the log is given up; and minute where a single hour is larger than the
// whole log may be.
const (
	hour   = 60 * minute
	minute = record.Seq(60 * 1e6)
)

// sweepLog gives up the hours of every domain's log that are over and out of force, in one range each; and
// the oldest hour of all, when the log is larger than it may be.
func (s *Store) sweepLog(now int64, swept *engine.Swept) error {
	n, err := s.trimLog(s.logHas(now))
	swept.Ranges += n
	if err != nil {
		return err
	}
	bytes, oldest, err := s.logSize()
	s.sweeper.logBytes.Store(bytes)
	s.sweeper.logOldest.Store(uint64(oldest))
	if err != nil || bytes <= uint64(s.opts.Retention.LogBytes) { //nolint:gosec // positive
		return err
	}
	before := (oldest/hour + 1) * hour
	if uint64(before) > s.watermark.Load() {
		return s.sweepMinutes(oldest, swept)
	}
	n, err = s.trimLog(before)
	swept.Ranges += n
	return err
}

// sweepMinutes gives up the oldest minutes of the hour in which events still arrive, until the log is as small as it has to be, but
// never the last minute.
func (s *Store) sweepMinutes(oldest record.Seq, swept *engine.Swept) error {
	for range hour / minute {
		before := (oldest/minute + 1) * minute
		if uint64(before) > s.lastSeq.Load() {
			return nil
		}
		n, err := s.trimLog(before)
		swept.Ranges += n
		if err != nil {
			return err
		}
		var bytes uint64
		if bytes, oldest, err = s.logSize(); err != nil || bytes <= uint64(s.opts.Retention.LogBytes) { //nolint:gosec // positive
			return err
		}
	}
	return nil
}

// trimLog deletes every event whose number is below a bound. Records must hold them all before: recovery
// could not make them again. It returns how many ranges it deleted.
func (s *Store) trimLog(before record.Seq) (ranges int, err error) {
	if uint64(before) > s.watermark.Load()+1 {
		if err := s.flushAll(); err != nil {
			return 0, err
		}
	}
	domains, err := s.domains()
	if err != nil {
		return 0, err
	}
	before = min(before, record.Seq(s.watermark.Load()+1))
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; there is nothing left to fail
	for _, d := range domains {
		oldest, err := s.oldestEvent(d)
		if err != nil {
			return 0, err
		}
		if oldest >= before {
			continue
		}
		ranges++
		if err := b.DeleteRange(appendTable(nil, tableLog, d), appendLogKey(nil, d, record.NewEventID(before, 0)), nil); err != nil {
			return 0, err
		}
	}
	if ranges == 0 {
		return 0, nil
	}
	s.trims.Lock()
	defer s.trims.Unlock()
	return ranges, s.db.Apply(b, pebble.NoSync)
}

// freeTrimmed has what was trimmed leave the memory: whoever looks for the oldest event would pass it all, one by one.
func (s *Store) freeTrimmed(ranges int) error {
	if ranges == 0 {
		return nil
	}
	_, err := s.db.AsyncFlush()
	return err
}

// oldestEvent returns the number of the oldest event of a domain, 0 for none.
func (s *Store) oldestEvent(d hashing.DomainID) (record.Seq, error) {
	it, err := s.db.NewIter(logBounds(d))
	if err != nil {
		return 0, err
	}
	var seq record.Seq
	if it.First() {
		seq, err = seqOf(it.Key())
	}
	return seq, errors.Join(err, it.Error(), it.Close())
}

// logSize returns about how many bytes the log takes up on the disk, and the number of its oldest event, 0 for none.
func (s *Store) logSize() (bytes uint64, oldest record.Seq, err error) {
	domains, err := s.domains()
	if err != nil {
		return 0, 0, err
	}
	for _, d := range domains {
		first, err := s.oldestEvent(d)
		if err != nil {
			return 0, 0, err
		}
		// From the first event on: what was given up before takes up space until the next compaction.
		n, err := s.db.EstimateDiskUsage(appendLogKey(nil, d, record.NewEventID(first, 0)), after(appendTable(nil, tableLog, d)))
		if err != nil {
			return 0, 0, err
		}
		if bytes += n; oldest == 0 || first < oldest {
			oldest = first
		}
	}
	return bytes, oldest, nil
}

// LogState is how much the event log holds.
type LogState struct {
	Bytes  uint64    // on the disk, about
	Oldest time.Time // when the oldest event was recorded; zero for none
}

// LogState returns what the last call of Sweep saw.
func (s *Store) LogState() LogState {
	return logState(s.sweeper.logBytes.Load(), record.Seq(s.sweeper.logOldest.Load()))
}

// LookAtLog returns how much the log holds now.
func (s *Store) LookAtLog(ctx context.Context) (LogState, error) {
	if err := s.enter(ctx); err != nil {
		return LogState{}, err
	}
	defer s.leave()
	bytes, oldest, err := s.logSize()
	return logState(bytes, oldest), err
}

func logState(bytes uint64, oldest record.Seq) LogState {
	state := LogState{Bytes: bytes}
	if oldest > 0 {
		state.Oldest = time.UnixMicro(int64(oldest)) //nolint:gosec // microseconds fit for 290,000 years
	}
	return state
}

// ClockBehind returns how far the time by which things expire is behind the machine's clock, after
// that jumped ahead: see engine.Store.
func (s *Store) ClockBehind() time.Duration { return s.clock.behind() }
