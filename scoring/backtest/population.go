package backtest

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// population holds the record of every subject that a replay met. Looking one up is most of what a replay waits for, since
// nothing tells the processor's caches who comes next: so it takes one look at a table, and one at the record.
type population struct {
	table []place // a power of two of them, at most three quarters taken
	shift int     // 64 less the bits of a place's index
	taken int
	slabs [][]resident
	omits [hashing.Kinds]record.Omission // by records of each kind of subject
}

// place is where a subject may stand in the table.
type place struct {
	id       uint64 // the first bytes of its pseudonym
	resident uint32 // from 1; 0 for none
}

// resident is a subject with its record.
type resident struct {
	id     [hashing.IDSize]byte // ids differ between kinds of subjects, too
	record record.Record
}

const (
	firstBits = 12
	slabSize  = 256 // residents that are made at once
)

func newPopulation(omits [hashing.Kinds]record.Omission) *population {
	return &population{table: make([]place, 1<<firstBits), shift: 64 - firstBits, omits: omits}
}

// touch reads from where an event's subjects are looked for, and returns a sum of it that means nothing: first from all places in the table, then from
// all residents there, so that each step is waited for once, and not once for every subject.
func (p *population) touch(subjects *hashing.Subjects) (sum uint64) {
	var first [hashing.Kinds]*place
	for kind := range subjects {
		first[kind] = &p.table[p.home(binary.LittleEndian.Uint64(subjects[kind].ID[:]))]
		sum += first[kind].id
	}
	for kind := range first {
		if n := first[kind].resident; n != 0 {
			sum += uint64(p.at(n).id[0])
		}
	}
	return sum
}

// record returns the record of a subject, which is made if there is none.
func (p *population) record(s *hashing.Subject) *record.Record {
	key := binary.LittleEndian.Uint64(s.ID[:])
	for at := p.home(key); ; at++ {
		there := &p.table[at&(len(p.table)-1)]
		if there.resident == 0 {
			return p.add(there, key, s)
		}
		if there.id == key {
			if r := p.at(there.resident); r.id == s.ID {
				return &r.record
			}
		}
	}
}

// home is where in the table a subject is looked for first: multiplied, every bit of its pseudonym counts.
func (p *population) home(key uint64) int {
	return int(key * 0x9e3779b97f4a7c15 >> p.shift) //nolint:gosec // a few bits
}

func (p *population) at(n uint32) *resident { return &p.slabs[(n-1)/slabSize][(n-1)%slabSize] }

func (p *population) add(there *place, key uint64, s *hashing.Subject) *record.Record {
	if p.taken%slabSize == 0 {
		p.slabs = append(p.slabs, newResidents())
	}
	p.taken++
	*there = place{key, uint32(p.taken)} //nolint:gosec // 4 billion subjects do not fit into memory
	r := p.at(there.resident)
	r.id = s.ID
	r.record.Omit(p.omits[s.Kind])
	if p.taken*4 > len(p.table)*3 {
		p.grow()
	}
	return &r.record
}

func newResidents() []resident {
	all, records := make([]resident, slabSize), record.NewRecords(slabSize)
	for i := range all {
		all[i].record = records[i]
	}
	return all
}

func (p *population) grow() {
	old := p.table
	p.table = make([]place, 2*len(old))
	p.shift--
	for _, moving := range old {
		if moving.resident == 0 {
			continue
		}
		at := p.home(moving.id)
		for p.table[at].resident != 0 {
			at = (at + 1) & (len(p.table) - 1)
		}
		p.table[at] = moving
	}
}
