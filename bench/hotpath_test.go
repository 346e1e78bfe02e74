package bench

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
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

// newEngine returns an engine on a disk, with the default policy.
func newEngine(b *testing.B) (*engine.Engine, *hashing.Hasher) {
	b.Helper()
	ring, h := newHasher(b)
	store, err := pebblestore.Open(b.TempDir(), pebblestore.Options{Keys: ring.KeyChecks(), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	e, err := engine.New(b.Context(), engine.Config{Store: store, Domain: h.Domain(), Policy: scoring.Default(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	return e, h
}

// digits returns the numbers kept for fiction in every area code: some 40,000 in
// 400 blocks.
func digits() []string {
	var all []string
	for area := 201; area < 990; area++ {
		for i := range 100 {
			text := fmt.Sprintf("+1%d55501%02d", area, i)
			if _, err := hashing.Parse(text, ""); err != nil {
				break // no such area
			}
			all = append(all, text)
		}
	}
	return all
}

// cpuTime returns what the process has used so far, in the kernel too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAssess is a durable assessment in process, hashing included and
// parsing left out: 64 callers, six subjects an event, 2,000 accounts, 65,536
// addresses.
func BenchmarkAssess(b *testing.B) {
	e, h := newEngine(b)
	var phones []hashing.Number
	for _, text := range digits() {
		n, err := hashing.Parse(text, "")
		if err != nil {
			b.Fatal(err)
		}
		phones = append(phones, n)
	}
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		var a engine.Assessment
		for pb.Next() {
			n := int(next.Add(1))
			ev := &engine.Event{Kind: scoring.Signup, Number: engine.Number{Given: true, Valid: true, Region: "US", Type: "mobile"}}
			ev.Subjects, ev.Link = h.Subjects(phones[n%len(phones)], fmt.Sprint("a", n%2000), fmt.Sprint("d", n%1500),
				netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
			if err := e.Assess(b.Context(), ev, &a); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-us/op")
}
