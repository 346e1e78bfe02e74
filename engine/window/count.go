package window

import "encoding/binary"

// counts is the shape of Count.
var counts = shape{entry: timeSize, most: 33, fixed: 4}

// mergeAt is how many entries make a level merge its two oldest.
const mergeAt = 34

// CountSize returns the length of the Count that b begins with. ok is false
// when b begins with none. It looks at any bytes without harm.
func CountSize(b []byte) (n int, ok bool) {
	n, ok = counts.size(b)
	return n, ok && aging(b)
}

// CountLen returns the length of the Count that b begins with, which CountSize accepted
// before.
func CountLen(b []byte) int { return counts.length(b) }

// aging reports whether the levels of b are as merging leaves them: each has at
// least 32 entries when there is one above it, and nothing above is newer.
func aging(b []byte) bool {
	at := counts.headSize(b)
	for i := range levels(b) - 1 {
		n, above := entries(b, i), entries(b, i+1)
		next := at + n*timeSize
		if n < mergeAt-2 || above == 0 || counts.timeAt(b, next+(above-1)*timeSize) > counts.timeAt(b, at) {
			return false
		}
		at = next
	}
	return true
}

// AddCount adds one event. One that is older than others is placed at its own
// time while the lowest level reaches back that far, or nothing has been
// merged yet. An older one enters no window, only Total, and placed is false.
func AddCount(b []byte, t Time) (after []byte, placed bool) {
	if len(b) == 0 {
		return binary.BigEndian.AppendUint32(append(b, 1), t), true
	}
	n := entries(b, 0)
	at := counts.start(b, 0)
	if levels(b) > 1 && t < counts.timeAt(b, at) {
		return addLate(b), false
	}
	behind := counts.newer(b, at, n, t)
	place := at + (n-behind)*timeSize
	b = open(b, place, timeSize)
	binary.BigEndian.PutUint32(b[place:], t)
	if n+1 < mergeAt {
		setEntries(b, 0, n+1)
		return b, true
	}
	return merge(b), true
}

// CountPlace returns where in b the time of one more event goes, for PutCount, when that is all there is to do; ok is
// false when it takes AddCount.
func CountPlace(b []byte, t Time) (place int, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := entries(b, 0)
	at := counts.start(b, 0)
	if n+1 >= mergeAt || levels(b) > 1 && t < counts.timeAt(b, at) {
		return 0, false
	}
	return at + (n-counts.newer(b, at, n, t))*timeSize, true
}

// CountEntry is how many bytes PutCount needs.
const CountEntry = timeSize

// PutCount adds an event to b, in which CountEntry bytes were opened at the place that CountPlace returned.
func PutCount(b []byte, place int, t Time) {
	binary.BigEndian.PutUint32(b[place:], t)
	setEntries(b, 0, entries(b, 0)+1)
}

// TurnCount does what AddCount does where the lowest level is full, in place and with one look at every entry: of each level that is full up to the first
// that is not, the two oldest entries become one of the next. b gets shorter by an entry for each level that overflows but the
// first. done is false, and b what it was, when it takes AddCount.
func TurnCount(b []byte, t Time) (after []byte, done bool) {
	full := 0
	for full < levels(b) && entries(b, full)+1 == mergeAt {
		full++
	}
	if full == 0 || full == levels(b) {
		return b, false
	}
	const n = mergeAt - 1
	at := counts.headSize(b)
	low := b[at : at+n*timeSize]
	if t < counts.timeAt(low, 0) {
		return b, false
	}
	merged := t
	place := (n - counts.newer(low, 0, n, t)) * timeSize // behind the oldest, at least
	if place > timeSize {
		merged = counts.timeAt(low, timeSize)
		copy(low, low[2*timeSize:place])
		binary.BigEndian.PutUint32(low[place-2*timeSize:], t)
	}
	copy(low[place-timeSize:], low[place:])
	setEntries(b, 0, n-1)

	to, from := at+(n-1)*timeSize, at+n*timeSize
	for i := 1; i < full; i++ {
		level := b[from : from+n*timeSize]
		next := counts.timeAt(level, timeSize)
		to += copy(b[to:], level[2*timeSize:])
		binary.BigEndian.PutUint32(b[to:], merged)
		setEntries(b, i, n-1)
		to, from, merged = to+timeSize, from+n*timeSize, next
	}
	above := entries(b, full)
	to += copy(b[to:], b[from:from+above*timeSize])
	binary.BigEndian.PutUint32(b[to:], merged)
	setEntries(b, full, above+1)
	if to, from = to+timeSize, from+above*timeSize; to < from {
		to += copy(b[to:], b[from:])
		return b[:to], true
	}
	return b, true
}

// merge makes room in the lowest level, which has one entry more than its count says, and in
// every level that overflows in turn.
func merge(b []byte) []byte {
	for i := 0; ; i++ {
		n := entries(b, i) + 1
		if n < mergeAt {
			setEntries(b, i, n)
			return b
		}
		if i+1 == maxLevels {
			return forget(b, i)
		}
		if i+1 == levels(b) {
			b = counts.addLevel(b)
		}
		start := counts.start(b, i)
		merged := counts.timeAt(b, start+timeSize)
		b = remove(b, start, 2*timeSize)
		setEntries(b, i, n-2)
		end := counts.start(b, i+1) + entries(b, i+1)*timeSize
		b = open(b, end, timeSize)
		binary.BigEndian.PutUint32(b[end:], merged)
	}
}

// forget drops the oldest entry of the highest level, after some 10^11 events.
func forget(b []byte, top int) []byte {
	return remove(b, counts.start(b, top), timeSize)
}

// addLate remembers an event that is too old to be placed.
func addLate(b []byte) []byte {
	b = counts.extend(b)
	late := lateBytes(b)
	if n := binary.BigEndian.Uint32(late); n < 1<<32-1 {
		binary.BigEndian.PutUint32(late, n+1)
	}
	return b
}

func lateBytes(b []byte) []byte { return b[1+levels(b):] }

// Count returns how many events happened in (now-seconds, now]. It is exact when the
// window holds at most 32 events. Beyond, it is within 1/64 of the truth:
//
// Let the oldest entry counted be at level i. It stands for 2^i events, the
// newest of which is in the window, and each of them is as likely to be the
// last one that is, so it counts (1 + 2^i) / 2: wrong by at most (2^i - 1) / 2.
// Each of the levels below has at least 32 entries, all in the window, so the
// truth is at least 32 (2^i - 1) + 1. The quotient is less than 1/64.
//
// A result beyond 32 may therefore end in a half.
func Count(b []byte, now Time, seconds uint32) float64 {
	if len(b) == 0 {
		return 0
	}
	from, all := floor(now, seconds)
	total, oldest := 0.0, 1.0
	at := counts.headSize(b)
	for i := range levels(b) {
		n := entries(b, i)
		in := n
		if !all {
			in = counts.newer(b, at, n, from)
		}
		if counted := in - counts.newer(b, at, n, now); counted > 0 {
			oldest = float64(uint64(1) << i)
			total += float64(counted) * oldest
		}
		if in < n {
			break // what higher levels hold is older still
		}
		at += n * timeSize
	}
	return max(0, total-(oldest-1)/2)
}

// Total returns how many events were ever added, those too old to be placed
// included.
func Total(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	total := uint64(0)
	for i := range levels(b) {
		total += uint64(entries(b, i)) << i //nolint:gosec // at most 33
	}
	if b[0]&extended != 0 {
		total += uint64(binary.BigEndian.Uint32(lateBytes(b)))
	}
	return total
}

// Retime makes now of every later time, so that a clock that was ahead for a
// while leaves nothing that is never counted, or for too long.
func Retime(b []byte, now Time) []byte {
	if len(b) > 0 {
		counts.retime(b, now)
	}
	return b
}

// retime lowers times and so keeps every level in order.
func (s shape) retime(b []byte, now Time) {
	at := s.headSize(b)
	for i := range levels(b) {
		end := at + entries(b, i)*s.entry
		for e := end - s.entry; e >= at && s.timeAt(b, e) > now; e -= s.entry {
			binary.BigEndian.PutUint32(b[e+s.entry-timeSize:], now)
		}
		at = end
	}
}
