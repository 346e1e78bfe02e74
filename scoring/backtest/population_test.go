package backtest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// TestPopulation holds a table against a map, with pseudonyms of which many have their first bytes in common.
func TestPopulation(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	p, want := newPopulation([hashing.Kinds]record.Omission{}), map[[hashing.IDSize]byte]*record.Record{}
	for range 60_000 {
		s := hashing.Subject{Kind: hashing.Phone}
		id := &s.ID
		binary.LittleEndian.PutUint64(id[:], random.Uint64N(8000)*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(id[8:], random.Uint64N(3))
		got := p.record(&s)
		if known := want[*id]; known != nil && known != got {
			t.Fatal("a subject has two records")
		}
		want[*id] = got
	}
	owners := map[*record.Record]bool{}
	for id, r := range want {
		if p.record(&hashing.Subject{Kind: hashing.Phone, ID: id}) != r {
			t.Fatal("a record got lost")
		}
		owners[r] = true
	}
	if len(owners) != len(want) || p.taken != len(want) {
		t.Errorf("%d subjects share %d records, %d are counted", len(want), len(owners), p.taken)
	}
}
