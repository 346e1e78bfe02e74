package record

import "github.com/ringfence/ringfence/hashing"

// Idle reports whether the subject is as good as one never seen: nothing happened to it in
// (now-seconds, now] nor later, no account is linked to it, and no list that it is on is in force. A subject to
// which nothing ever happened is not idle: there is nothing to forget.
//
// Stores show an idle subject as forgotten whether its bytes are still there or not, so that the moment at which
// they are swept shows in no answer.
func (r *Record) Idle(now Time, seconds uint32) bool {
	last := r.time(atLast)
	return last != 0 && int64(last)+int64(seconds) <= int64(now) && r.Links() == 0 && !r.listed(now)
}

// Void reports whether the record holds nothing but that the subject was on lists, none of which is in force, and the name of an event
// that is not in force either, since its number is below kept.
func (r *Record) Void(now Time, kept Seq) bool {
	return r.Empty() && r.Generation() == 0 && r.Newest() < max(kept, 1) && r.Links() == 0 && !r.listed(now)
}

// listed reports whether the subject is on a list in force.
func (r *Record) listed(now Time) (is bool) {
	r.Lists(now, func(uint16) { is = true })
	return is
}

// Forget makes an idle record that of a subject never seen. The lists stay, in force or not: whoever sweeps
// their entries takes them off. So does the generation, or an outcome of an earlier one would count again.
func (r *Record) Forget() { r.clear() }

// Lapse is Forget for a subject to which something is about to happen. A phone keeps the name of its newest event,
// which may still be in the log, so that erasure finds it: events are recorded late when they are imported.
func (r *Record) Lapse(owner hashing.Kind) {
	newest := r.Newest()
	r.clear()
	if owner == hashing.Phone && newest != 0 {
		r.nameNewest(newest)
	}
}

// Remnant reports whether the record names the newest event of a subject of which nothing else is kept.
func (r *Record) Remnant() bool {
	n := len(r.sections)
	return r.Empty() && r.Newest() != 0 && (n == 0 || n == 1 && r.sections[0].id == sectionApplied)
}
