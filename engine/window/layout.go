package window

import (
	"encoding/binary"
	"slices"
)

// Time is whole seconds since Epoch.
type Time = uint32

// Epoch is 2020-01-01 00:00:00 UTC in unix seconds. A Time reaches to 2156.
const Epoch = 1577836800

const (
	extended  = 0x80 // flag of the first byte: more than a number of entries follows
	maxLevels = 32
	timeSize  = 4
)

// shape says how one of the two structures differs from the other.
type shape struct {
	entry    int // bytes of an entry; the last four are its time
	most     int // entries of a level
	fixed    int // bytes that an extended head has once
	perLevel int // bytes that an extended head has for each level, besides the count
}

// levels returns how many levels b has, none when it is empty.
func levels(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0]&extended == 0:
		return 1
	}
	return int(b[0] &^ extended)
}

// entries returns how many entries level i of b has.
func entries(b []byte, i int) int {
	if b[0]&extended == 0 {
		return int(b[0])
	}
	return int(b[1+i])
}

func setEntries(b []byte, i, n int) {
	if b[0]&extended == 0 {
		b[0] = byte(n) //nolint:gosec // at most 64
		return
	}
	b[1+i] = byte(n) //nolint:gosec // at most 64
}

// headSize returns how many bytes come before the first entry.
func (s shape) headSize(b []byte) int {
	if b[0]&extended == 0 {
		return 1
	}
	n := levels(b)
	return 1 + n*(1+s.perLevel) + s.fixed
}

// start returns where level i of b begins.
func (s shape) start(b []byte, i int) int {
	at := s.headSize(b)
	for l := range i {
		at += entries(b, l) * s.entry
	}
	return at
}

// size reads how long the structure at the beginning of b is. ok is false when there
// is none.
func (s shape) size(b []byte) (n int, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	k := levels(b)
	if b[0]&extended != 0 && (k < 1 || k > maxLevels) || len(b) < s.headSize(b) {
		return 0, false
	}
	for i := range k {
		if entries(b, i) > s.most {
			return 0, false
		}
	}
	n = s.start(b, k)
	return n, len(b) >= n && s.ordered(b, k)
}

// length returns how long the structure at the beginning of b is, where there is one.
func (s shape) length(b []byte) int { return s.start(b, levels(b)) }

// ordered reports whether the times of every level ascend.
func (s shape) ordered(b []byte, k int) bool {
	at := s.headSize(b)
	for i := range k {
		last := Time(0)
		for range entries(b, i) {
			at += s.entry
			t := binary.BigEndian.Uint32(b[at-timeSize:])
			if t < last {
				return false
			}
			last = t
		}
	}
	return true
}

// timeAt returns the time of the entry that begins at a place.
func (s shape) timeAt(b []byte, at int) Time {
	return binary.BigEndian.Uint32(b[at+s.entry-timeSize:])
}

// newer returns how many of the n entries from a place on have a time greater
// than t: entries ascend, so they are the last ones.
func (s shape) newer(b []byte, at, n int, t Time) int {
	if n == 0 || s.timeAt(b, at+(n-1)*s.entry) <= t { // as when t is the present
		return 0
	}
	if s.timeAt(b, at) > t { // as when a window reaches back far
		return n
	}
	lo, hi := 1, n-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.timeAt(b, at+mid*s.entry) > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return n - lo
}

// extend gives b the head that has room for everything.
func (s shape) extend(b []byte) []byte {
	if b[0]&extended != 0 {
		return b
	}
	n := b[0]
	grown := 1 + s.perLevel + s.fixed
	b = open(b, 1, grown)
	b[0], b[1] = extended|1, n
	clear(b[2 : 1+grown])
	return b
}

// addLevel adds an empty level on top.
func (s shape) addLevel(b []byte) []byte {
	b = s.extend(b)
	k := levels(b)
	b = open(b, 1+k, 1)
	b[1+k] = 0
	b[0]++
	if s.perLevel > 0 {
		at := 1 + (k + 1) + k*s.perLevel
		b = open(b, at, s.perLevel)
		clear(b[at : at+s.perLevel])
	}
	return b
}

// open makes room for n bytes at a place.
func open(b []byte, at, n int) []byte {
	old := len(b)
	b = slices.Grow(b, n)[:old+n]
	copy(b[at+n:], b[at:old])
	return b
}

// remove takes n bytes out at a place.
func remove(b []byte, at, n int) []byte {
	return append(b[:at], b[at+n:]...)
}

// floor returns the start of a window, which is not part of it.
func floor(now Time, seconds uint32) (from Time, all bool) {
	if seconds > now {
		return 0, true
	}
	return now - seconds, false
}
