package pebblestore

import (
	"time"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// What is in force at a time that the store's clock told. Reads and mutations ask here, whether
// anything was swept or not; the sweeper deletes only what is out of force here.

// idle reports whether a subject counts as never seen.
func (s *Store) idle(r *record.Record, now int64) bool {
	return r.Idle(record.TimeOf(now), uint32(s.opts.Retention.Subjects/time.Second)) //nolint:gosec // bounded by Open
}

// sweepable reports whether the record of a subject may go: it is idle, or all there is in it is the name of an event; and of the
// events that erasure would find from it, none is in the log.
func (s *Store) sweepable(kind hashing.Kind, r *record.Record, now int64) bool {
	if !s.idle(r, now) && !r.Remnant() {
		return false
	}
	return kind != hashing.Phone || r.Newest() < s.logHas(now)
}

// logHas returns a number before which no event is in force, and which the log is swept up to: whole hours go.
func (s *Store) logHas(now int64) record.Seq { return s.logFrom(now) / hour * hour }

// logFrom returns the first number that an event in force can have.
func (s *Store) logFrom(now int64) record.Seq {
	from := now - int64(s.opts.Retention.Log/time.Second) + 1
	return record.Seq(max(from, 0)) * 1e6
}

// inForce reports whether what expires at a time, 0 for never, has not.
func inForce(expires, now int64) bool { return expires == 0 || expires > now }

// hideIdle shows idle subjects as never seen, to a step that changes nothing.
func (t *tx) hideIdle() {
	for _, r := range t.seen.Records {
		if r != nil && t.s.idle(r, t.now) {
			r.Forget()
		}
	}
}

// isStale reports whether nothing that happened to a phone is kept, its record nil where none was given: see engine.ErrStalePhone. Lists that it is on
// move with the number when that comes.
func (t *tx) isStale(phone *record.Record) bool {
	return phone != nil && phone.Generation() == 0 && (phone.Empty() || t.s.idle(phone, t.now))
}

// forgetIdle forgets those of the subjects that are idle, whose records are loaded into the places of their kinds, since
// something is about to happen to them. The step has to put them, which are returned.
func (t *tx) forgetIdle(subjects *hashing.Subjects) (idle hashing.Subjects, err error) {
	found := false
	for kind, s := range subjects {
		if s.Given() && t.s.idle(&t.records[kind], t.now) {
			idle[kind], found = s, true
		}
	}
	if !found {
		return idle, nil
	}
	t.effect = record.Effect{Seq: t.s.nextSeq(), Op: record.OpLapse, Time: t.now, Now: t.now, Subjects: idle}
	for kind, s := range idle {
		if s.Given() {
			t.effect.Apply(hashing.Kind(kind), &t.records[kind])
		}
	}
	return idle, t.putJournal()
}
