package pebblestore

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ringfence/ringfence/hashing"
)

// TestIndexIsAMap holds that an index, through growth and removal, finds what a map finds, also where
// many subjects begin at one place.
func TestIndexIsAMap(t *testing.T) {
	for _, homes := range []uint32{1, 4, 1 << 20} {
		random := rand.New(rand.NewPCG(1, uint64(homes)))
		var x index
		var slots []slot
		var free []uint32
		want := map[hashing.Subject]uint32{}
		for step := range 20_000 {
			s := hashing.Subject{Kind: hashing.Kind(1 + random.IntN(2)), Key: 1}
			n := random.Uint32N(500)
			binary.LittleEndian.PutUint32(s.ID[4:], n%homes)
			binary.LittleEndian.PutUint32(s.ID[8:], n)
			i, known := x.find(slots, &s)
			at, there := want[s]
			if known != there || i != at {
				t.Fatalf("step %d: slot %d, %v; want %d, %v", step, i, known, at, there)
			}
			switch {
			case known && random.IntN(2) == 0:
				x.remove(&s, i)
				slots[i] = slot{}
				free = append(free, i)
				delete(want, s)
			case !known:
				if len(free) > 0 && random.IntN(2) == 0 {
					i, free = free[len(free)-1], free[:len(free)-1]
				} else {
					i, slots = uint32(len(slots)), append(slots, slot{})
				}
				slots[i].subject = s
				x.add(&s, i)
				want[s] = i
			}
			if x.n != len(want) {
				t.Fatalf("step %d: %d subjects, want %d", step, x.n, len(want))
			}
		}
		for s, at := range want {
			if i, known := x.find(slots, &s); !known || i != at {
				t.Fatalf("%d homes: a subject is lost", homes)
			}
		}
	}
}
