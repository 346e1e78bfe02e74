package bench

import (
	"crypto/rand"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/bench/load"
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

// cpuMetric reports the CPU time of the process an operation, since used.
func cpuMetric(b *testing.B, used time.Duration) {
	b.Helper()
	b.ReportMetric(float64((load.CPU()-used).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

// BenchmarkAssess is a durable assessment in process, hashing included and
// parsing left out: 64 callers, five subjects an event, a million phones of which few are in most events.
func BenchmarkAssess(b *testing.B) {
	e, h := newEngine(b)
	var callers atomic.Uint64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	used := load.CPU()
	b.RunParallel(func(pb *testing.PB) {
		source := load.Hot(1_000_000).Source(callers.Add(1))
		var a engine.Assessment
		var ev engine.Event
		for pb.Next() {
			source.Signup(h, &ev)
			if err := e.Assess(b.Context(), &ev, &a); err != nil {
				b.Error(err)
				return
			}
		}
	})
	cpuMetric(b, used)
}
