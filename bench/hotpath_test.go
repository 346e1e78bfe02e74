package bench

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

func newHasher(b *testing.B) (*hashing.Keyring, *hashing.Hasher) {
	b.Helper()
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		b.Fatal(err)
	}
	return ring, h
}

// BenchmarkAssess is a durable assessment in process, hashing included and
// parsing left out: 64 callers, six subjects an event, 2,000 accounts.
func BenchmarkAssess(b *testing.B) {
	ring, h := newHasher(b)
	store, err := pebblestore.Open(b.TempDir(), pebblestore.Options{Keys: ring.KeyChecks(), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.New(b.Context(), engine.Config{Store: store, Domain: h.Domain(), Policy: scoring.Default(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	numbers := make([]hashing.Number, 100)
	for i := range numbers {
		if numbers[i], err = hashing.Parse(fmt.Sprintf("+1202555%04d", 100+i), ""); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var a engine.Assessment
		for pb.Next() {
			n := int(next.Add(1))
			ev := &engine.Event{Kind: scoring.SignIn, Number: engine.Number{Given: true, Valid: true, Region: "US", Type: "mobile"}}
			ev.Subjects, ev.Link = h.Subjects(numbers[n%len(numbers)], fmt.Sprint("a", n%2000), fmt.Sprint("d", n%1500),
				netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
			if err := e.Assess(b.Context(), ev, &a); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}
