package pebblestore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/ringfence/ringfence/hashing"
)

// footprint is what a shard really takes up.
func (sh *shard) footprint() int64 {
	total := cap(sh.slots)*int(unsafe.Sizeof(slot{})) + 4*(cap(sh.free)+cap(sh.dirty)) + int(unsafe.Sizeof(place{}))*len(sh.index.table)
	for i := range sh.cells.classes {
		total += cap(sh.cells.classes[i].data) + 4*cap(sh.cells.classes[i].free)
	}
	for _, b := range sh.cells.large {
		total += cap(b) + 24
	}
	return int64(total)
}

// TestAShardKeepsItsMemoryWithinBounds lets records grow through all sizes, each size in its turn, which leaves
// what the smaller ones took up behind; and compares all that is remembered with a plain map.
func TestAShardKeepsItsMemoryWithinBounds(t *testing.T) {
	const budget = 256 << 10
	random := rand.New(rand.NewPCG(1, 2))
	sh := &shard{budget: budget}
	truth := map[hashing.Subject][]byte{}
	worst, flush := int64(0), uint32(0)
	for size := 20; size < 8000; size = size * 5 / 4 {
		for i := range 3000 {
			s := hashing.Subject{Kind: hashing.Phone, Key: 1}
			n := uint32(random.IntN(4000))
			binary.BigEndian.PutUint64(s.ID[:], uint64(n)<<32|uint64(n*0x9e3779b1)) // spread, as pseudonyms are
			b := bytes.Repeat([]byte{byte(i)}, size/2+random.IntN(size/2))
			if sh.put(s, b, i%3 == 0); i%3 == 0 {
				truth[s] = b
			} else {
				delete(truth, s)
			}
			if i%100 == 99 {
				flush++
				sh.clean(flush, func(s hashing.Subject, b []byte) {
					if want := truth[s]; want != nil && !bytes.Equal(b, want) {
						t.Fatal("a dirty record is not what was put")
					}
				})
				sh.stored = flush
				clear(truth)
			}
			for s, want := range truth {
				if got, known := sh.get(s); !known || !bytes.Equal(got, want) {
					t.Fatal("a dirty record is gone or another one")
				}
				break
			}
		}
		worst = max(worst, sh.footprint())
	}
	t.Logf("%d bytes for a budget of %d", worst, budget)
	if worst > 2*budget {
		t.Errorf("%d bytes for a budget of %d", worst, budget)
	}
}
