package window

import (
	"encoding/binary"
	"math/bits"
)

// members is the shape of Distinct.
var members = shape{entry: MemberEntry, most: 64, perLevel: timeSize}

const tagSize = 4

// DistinctSize returns the length of the Distinct that b begins with. ok is
// false when b begins with none. It looks at any bytes without harm.
func DistinctSize(b []byte) (n int, ok bool) { return members.size(b) }

// DistinctLen returns the length of the Distinct that b begins with, which DistinctSize
// accepted before.
func DistinctLen(b []byte) int { return members.length(b) }

// AddMember notes that a member was seen. Tags must be uniformly distributed;
// members whose tags are equal are one. A member seen before moves to the later
// of its two times.
func AddMember(b []byte, tag uint32, t Time) []byte {
	if len(b) == 0 {
		b = append(b, 0)
	}
	for i := 0; i < levels(b) && bits.LeadingZeros32(tag) >= i; i++ {
		b = addAt(b, i, tag, t)
	}
	return b
}

// TouchMember does what AddMember does as far as b keeps its length, as it nearly always does
// once it is full. done is false when the rest is left for AddMember.
func TouchMember(b []byte, tag uint32, t Time) (done bool) {
	if len(b) == 0 {
		return false
	}
	at := members.headSize(b)
	for i := 0; i < levels(b) && bits.LeadingZeros32(tag) >= i; i++ {
		n := entries(b, i)
		if !touchAt(b, i, at, n, tag, t) {
			return false
		}
		at += n * members.entry
	}
	return true
}

// touchAt moves a member of level i, which begins at start and has n entries, to its new time; or
// lets it take the place of the oldest where the level is full and the next one has begun.
func touchAt(b []byte, i, start, n int, tag uint32, t Time) bool {
	level := b[start : start+n*members.entry]
	at := findMember(level, tag)
	switch {
	case at >= 0 && members.timeAt(level, at) >= t:
		return true
	case at < 0 && (n < members.most || i+1 == levels(b)):
		return false
	case at < 0 && t <= members.timeAt(level, 0):
		setEvicted(b, i, t)
		return true
	case at < 0:
		setEvicted(b, i, members.timeAt(level, 0))
		at = 0
	}
	place := (n - 1 - members.newer(level, 0, n, t)) * members.entry
	copy(level[at:], level[at+members.entry:place+members.entry])
	binary.BigEndian.PutUint32(level[place:], tag)
	binary.BigEndian.PutUint32(level[place+tagSize:], t)
	return true
}

// MemberPlace returns where in b a member goes for which TouchMember has left the rest, for PutMember, when that is all there is to do: b has one level
// with room in it, and so the member is not there. ok is false when it takes AddMember.
func MemberPlace(b []byte, t Time) (place int, ok bool) {
	if levels(b) != 1 || entries(b, 0) == members.most {
		return 0, false
	}
	n, at := entries(b, 0), members.headSize(b)
	return at + (n-members.newer(b, at, n, t))*members.entry, true
}

// MemberEntry is how many bytes PutMember needs.
const MemberEntry = tagSize + timeSize

// PutMember adds a member to b, in which MemberEntry bytes were opened at the place that MemberPlace returned.
func PutMember(b []byte, place int, tag uint32, t Time) {
	binary.BigEndian.PutUint32(b[place:], tag)
	binary.BigEndian.PutUint32(b[place+tagSize:], t)
	setEntries(b, 0, entries(b, 0)+1)
}

// ReplaceMember gives a member that is known by one tag another one, with the time it was last seen at. It reports
// whether it was known; when it is known by both, they become one. What was evicted stays what it was, so that counts beyond
// 64 stay estimates as good as before: which levels a member is kept at is drawn anew.
func ReplaceMember(b []byte, from, to uint32) (after []byte, known bool) {
	seen := Time(0)
	for i := 0; i < levels(b) && bits.LeadingZeros32(from) >= i; i++ {
		start, n := members.start(b, i), entries(b, i)
		at := findMember(b[start:start+n*members.entry], from)
		if at < 0 {
			continue
		}
		seen, known = max(seen, members.timeAt(b, start+at)), true
		b = remove(b, start+at, members.entry)
		setEntries(b, i, n-1)
	}
	if !known {
		return b, false
	}
	return AddMember(b, to, seen), true
}

// addAt notes a member at one level, and begins the next level when this one
// is about to evict for the first time.
func addAt(b []byte, i int, tag uint32, t Time) []byte {
	start, n := members.start(b, i), entries(b, i)
	if at := findMember(b[start:start+n*members.entry], tag); at >= 0 {
		if members.timeAt(b, start+at) >= t {
			return b
		}
		b = remove(b, start+at, members.entry)
		setEntries(b, i, n-1)
		return insert(b, i, tag, t)
	}
	if n < members.most {
		return insert(b, i, tag, t)
	}
	if i+1 == levels(b) && i+1 < maxLevels {
		b = beginLevel(b, i)
		start = members.start(b, i)
	}
	oldest := members.timeAt(b, start)
	if t <= oldest {
		return setEvicted(b, i, t)
	}
	b = setEvicted(b, i, oldest)
	b = remove(b, members.start(b, i), members.entry)
	setEntries(b, i, n-1)
	return insert(b, i, tag, t)
}

// findMember returns where a member's entry begins, -1 when it has none.
func findMember(entries []byte, tag uint32) int {
	const four = 4 * MemberEntry
	here, want := entries, bits.ReverseBytes32(tag) // turned once, not every entry
	for len(here) >= four {
		a, b := binary.LittleEndian.Uint32(here), binary.LittleEndian.Uint32(here[MemberEntry:])
		c, d := binary.LittleEndian.Uint32(here[2*MemberEntry:]), binary.LittleEndian.Uint32(here[3*MemberEntry:])
		if a == want || b == want || c == want || d == want {
			break
		}
		here = here[four:]
	}
	for len(here) >= MemberEntry {
		if binary.LittleEndian.Uint32(here) == want {
			return len(entries) - len(here)
		}
		here = here[MemberEntry:]
	}
	return -1
}

// insert puts an entry at its time's place in a level that has room.
func insert(b []byte, i int, tag uint32, t Time) []byte {
	start, n := members.start(b, i), entries(b, i)
	place := start + (n-members.newer(b, start, n, t))*members.entry
	b = open(b, place, members.entry)
	binary.BigEndian.PutUint32(b[place:], tag)
	binary.BigEndian.PutUint32(b[place+tagSize:], t)
	setEntries(b, i, n+1)
	return b
}

// beginLevel adds the level above i, which has evicted nothing yet and
// therefore holds everything that the new level has to.
func beginLevel(b []byte, i int) []byte {
	b = members.addLevel(b)
	start, n := members.start(b, i), entries(b, i)
	for at := start; at < start+n*members.entry; at += members.entry {
		tag := binary.BigEndian.Uint32(b[at:])
		if bits.LeadingZeros32(tag) > i {
			b = binary.BigEndian.AppendUint64(b, binary.BigEndian.Uint64(b[at:]))
			setEntries(b, i+1, entries(b, i+1)+1)
		}
	}
	return b
}

// evicted returns the newest time that a level has evicted, 0 for none.
func evicted(b []byte, i int) Time {
	if b[0]&extended == 0 {
		return 0
	}
	return binary.BigEndian.Uint32(b[1+levels(b)+i*timeSize:])
}

func setEvicted(b []byte, i int, t Time) []byte {
	b = members.extend(b)
	at := 1 + levels(b) + i*timeSize
	if t > binary.BigEndian.Uint32(b[at:]) {
		binary.BigEndian.PutUint32(b[at:], t)
	}
	return b
}

// Distinct returns how many different members were last seen in
// (now-seconds, now]. It is read at the lowest level that has evicted nothing
// from the window, where each member found stands for 2^level. So it is exact
// when the window holds at most 64 members, and beyond has a standard error of
// about 1.2/sqrt(64), 15 %.
func Distinct(b []byte, now Time, seconds uint32) float64 {
	if len(b) == 0 {
		return 0
	}
	from, all := floor(now, seconds)
	k := levels(b)
	i := 0
	for i+1 < k && evicted(b, i) > from {
		i++
	}
	at, n := members.start(b, i), entries(b, i)
	in := n
	if !all {
		in = members.newer(b, at, n, from)
	}
	return float64(in-members.newer(b, at, n, now)) * float64(uint64(1)<<i)
}

// RetimeMembers makes now of every later time: see Retime.
func RetimeMembers(b []byte, now Time) []byte {
	if len(b) == 0 {
		return b
	}
	members.retime(b, now)
	for i := range levels(b) {
		if evicted(b, i) > now {
			binary.BigEndian.PutUint32(b[1+levels(b)+i*timeSize:], now)
		}
	}
	return b
}
