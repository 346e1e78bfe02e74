package pebblestore

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/hashing"
)

// index finds the slot of a subject. It is a table with open addressing: a pseudonym is as good as random, so
// some of its bits are the place where the search begins, and nobody who does not have the key can make
// many begin at one. A search looks at one slot, save for one accident in 2^32: what it costs is
// how often memory has to be waited for.
type index struct {
	table []place // its length is 0 or a power of two
	n     int     // subjects
}

// place leads to the slot of a subject.
type place struct {
	tag  uint32 // of the subject: the search begins there, modulo the length of the table
	slot uint32 // number plus one, 0 for none
}

// minIndex is the length of the smallest table.
const minIndex = 8

// tagOf returns the tag of a subject. The first bits of a pseudonym are left out: they tell the shard.
func tagOf(s *hashing.Subject) uint32 { return binary.LittleEndian.Uint32(s.ID[4:]) ^ uint32(s.Kind) }

func (x *index) mask() uint32 { return uint32(len(x.table) - 1) } //nolint:gosec // as many as there are slots, about

// find returns the slot of a subject.
func (x *index) find(slots []slot, s *hashing.Subject) (slot uint32, known bool) {
	if x.n == 0 {
		return 0, false
	}
	tag, mask := tagOf(s), x.mask()
	for at := tag & mask; ; at = (at + 1) & mask {
		p := x.table[at]
		if p.slot == 0 {
			return 0, false
		}
		if p.tag == tag && slots[p.slot-1].subject == *s {
			return p.slot - 1, true
		}
	}
}

// add leads from a subject that has no slot yet to its slot.
func (x *index) add(s *hashing.Subject, slot uint32) {
	if 4*(x.n+1) > 3*len(x.table) {
		old := x.table
		x.table = make([]place, max(2*len(old), minIndex))
		for _, p := range old {
			if p.slot != 0 {
				x.insert(p)
			}
		}
	}
	x.n++
	x.insert(place{tag: tagOf(s), slot: slot + 1})
}

func (x *index) insert(p place) {
	mask := x.mask()
	at := p.tag & mask
	for x.table[at].slot != 0 {
		at = (at + 1) & mask
	}
	x.table[at] = p
}

// remove forgets a subject that has this slot. Those behind it move up, so that no search ends at the gap.
func (x *index) remove(s *hashing.Subject, slot uint32) {
	mask := x.mask()
	gap := tagOf(s) & mask
	for x.table[gap].slot != slot+1 {
		gap = (gap + 1) & mask
	}
	x.n--
	for at := (gap + 1) & mask; x.table[at].slot != 0; at = (at + 1) & mask {
		// What lies here may move to the gap unless its search begins behind the gap.
		if begins := x.table[at].tag & mask; (at-begins)&mask >= (at-gap)&mask {
			x.table[gap], gap = x.table[at], at
		}
	}
	x.table[gap] = place{}
}
