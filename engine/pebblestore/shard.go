package pebblestore

import (
	"slices"
	"sync"

	"github.com/ringfence/ringfence/hashing"
)

// shardCount is how many locks the subjects share. Two events of five
// subjects each that have nothing in common meet by accident in about 25 of 1,024 cases.
const shardCount = 1024

// shardOf returns the shard of a subject: the first ten bits of its pseudonym, so that a walk
// over the shards meets the subjects of each kind in the order of their keys.
// Pseudonyms are uniformly distributed, whatever they stand for.
func shardOf(s hashing.Subject) int { return int(s.ID[0])<<2 | int(s.ID[1])>>6 }

// shard locks some of the subjects, and keeps the records of those last used. What it keeps
// is the truth: the tables may be behind.
type shard struct {
	mu sync.Mutex

	// Guarded by mu.
	index  index
	slots  []slot
	free   []uint32 // slots not in use
	dirty  []uint32 // slots whose record the tables do not have, in the order in which they changed
	cells  cells
	held   int64  // bytes, by cost
	budget int64  // bound of held, as long as there is something to evict
	hand   int    // where the search for something to evict goes on
	stored uint32 // newest flush whose tables are part of the store
	last   uint32 // slot that was found last: who looks for all subjects of an event, reads, and puts their records finds each three times in a row
}

// slot is one record in memory. It has no pointers.
type slot struct {
	subject hashing.Subject
	cell    cell   // empty for a subject known to have no record
	copied  uint32 // flush that last copied the record
	charge  uint32 // bytes that count as dirty; 0 when the record is not dirty
	recent  bool   // used since the hand last came by
	taken   bool
}

// maxLook is how many slots the hand passes in one search.
const maxLook = 128

// slotCost is about what a record in memory costs besides its cell: slot and index.
const slotCost = 96

func (sl *slot) cost() int64 { return int64(sl.cell.room()) + slotCost }

// seek looks for a subject, as find does, which finds it again for nothing when it comes next.
func (sh *shard) seek(s *hashing.Subject) (i uint32, known bool) {
	if i, known = sh.index.find(sh.slots, s); known {
		sh.last = i
	}
	return i, known
}

// find returns the slot of a subject.
func (sh *shard) find(s *hashing.Subject) (i uint32, known bool) {
	if int(sh.last) < len(sh.slots) && sh.slots[sh.last].taken && sh.slots[sh.last].subject == *s {
		return sh.last, true
	}
	return sh.seek(s)
}

// get returns the record of a subject if it is in memory, empty when there is none at all.
// The bytes are the shard's, until the next put.
func (sh *shard) get(s hashing.Subject) (b []byte, known bool) {
	i, known := sh.find(&s)
	if !known {
		return nil, false
	}
	sl := &sh.slots[i]
	sl.recent = true
	return sh.cells.bytes(sl.cell), true
}

// put keeps a record, which it copies. One that the tables do not have is dirty, and
// stays until they do. It returns how many more bytes are dirty now.
func (sh *shard) put(s hashing.Subject, b []byte, dirty bool) int64 {
	i, known := sh.find(&s)
	if known {
		sl := &sh.slots[i]
		sh.held -= sl.cost()
		sl.cell = sh.cells.replace(sl.cell, b)
	} else {
		i = sh.newSlot()
		sh.slots[i] = slot{subject: s, cell: sh.cells.put(b), taken: true}
		sh.index.add(&s, i)
		sh.last = i
	}
	sl := &sh.slots[i]
	sl.recent = true
	sh.held += sl.cost()
	grown := int64(0)
	if dirty {
		grown = sh.soil(i)
	}
	if sh.held > sh.budget {
		sh.evict(i)
	}
	if sh.spare() > max(sh.budget/2, leastSpare) {
		sh.tighten()
	}
	return grown
}

// leastSpare is how much spare memory is never worth the work.
const leastSpare = 4 << 10

// spare returns how many bytes are held and not in use: cells of a size that is no longer asked
// for, mostly, since records grow.
func (sh *shard) spare() int64 { return sh.cells.spare + int64(len(sh.free))*slotCost }

// tighten gives spare memory back: it moves every record to a new place.
func (sh *shard) tighten() {
	slots, from, n := sh.slots, sh.cells, sh.index.n
	sh.slots, sh.free, sh.cells, sh.hand = make([]slot, 0, n), nil, cells{}, 0
	sh.index = index{}
	moved := make([]uint32, len(slots))
	for i, sl := range slots {
		if !sl.taken {
			continue
		}
		sl.cell = sh.cells.put(from.bytes(sl.cell))
		moved[i] = uint32(len(sh.slots)) //nolint:gosec // as many as there were
		sh.index.add(&sl.subject, moved[i])
		sh.slots = append(sh.slots, sl)
	}
	for n, i := range sh.dirty {
		sh.dirty[n] = moved[i]
	}
}

func (sh *shard) newSlot() uint32 {
	if n := len(sh.free); n > 0 {
		i := sh.free[n-1]
		sh.free = sh.free[:n-1]
		return i
	}
	sh.slots = append(sh.slots, slot{})
	return uint32(len(sh.slots) - 1) //nolint:gosec // bounded by the budget
}

// soil makes a record dirty and returns how many more bytes are.
func (sh *shard) soil(i uint32) int64 {
	sl := &sh.slots[i]
	if sl.charge == 0 {
		sh.dirty = append(sh.dirty, i)
	}
	before := sl.charge
	sl.charge = uint32(sl.cost()) //nolint:gosec // records are far below 4 GiB
	return int64(sl.charge) - int64(before)
}

// clean calls fn with every dirty record and takes it for copied by a flush. It returns how many
// bytes are no longer dirty.
func (sh *shard) clean(flush uint32, fn func(hashing.Subject, []byte)) int64 {
	total := int64(0)
	for _, i := range sh.dirty {
		sl := &sh.slots[i]
		fn(sl.subject, sh.cells.bytes(sl.cell))
		total += int64(sl.charge)
		sl.charge, sl.copied = 0, flush
	}
	sh.dirty = sh.dirty[:0]
	return total
}

// evict makes room: the hand goes round, passes over what was used since it last came by, and
// drops the rest but for keep. What the tables do not have yet stays. It looks at few slots
// a time, so that a shard full of dirty records, which are bounded elsewhere, costs nobody a search.
func (sh *shard) evict(keep uint32) {
	for range min(2*len(sh.slots), maxLook) {
		if sh.held <= sh.budget {
			return
		}
		i := uint32(sh.hand) //nolint:gosec // an index of slots
		sh.hand = (sh.hand + 1) % len(sh.slots)
		sl := &sh.slots[i]
		switch {
		case !sl.taken, i == keep, sl.charge > 0, sl.copied > sh.stored:
		case sl.recent:
			sl.recent = false
		default:
			sh.drop(i)
		}
	}
}

func (sh *shard) drop(i uint32) {
	sl := &sh.slots[i]
	sh.held -= sl.cost()
	sh.cells.release(sl.cell)
	sh.index.remove(&sl.subject, i)
	*sl = slot{}
	sh.free = append(sh.free, i)
}

// shardsOf returns the shards of all subjects given, each once, in order, so that nobody
// who locks them in this order waits in a circle.
func shardsOf(dst []int, subjects ...hashing.Subject) []int {
	dst = dst[:0]
	for _, s := range subjects {
		if s.Given() {
			dst = append(dst, shardOf(s))
		}
	}
	slices.Sort(dst)
	return slices.Compact(dst)
}
