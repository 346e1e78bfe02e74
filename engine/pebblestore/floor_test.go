package pebblestore

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/bench/load"
)

// BenchmarkFloor is the least that a durable event can take here: 64 callers, each of whom writes 200 bytes
// under a key that grows, and waits for the sync that all share.
func BenchmarkFloor(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Keys: testKeys, Create: true, FS: vfs.Default, Fatal: func(err error) { panic(err) }})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var serial atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	r := load.Closed(64, math.MaxInt64/2*time.Nanosecond, uint64(b.N), func(int) func() error {
		key, value := make([]byte, 0, journalKeySize), make([]byte, 200)
		return func() error {
			batch := s.db.NewBatch()
			defer func() { _ = batch.Close() }()
			key = appendJournalKey(key[:0], serial.Add(1))
			if err := batch.Set(key, value, nil); err != nil {
				return err
			}
			return s.db.Apply(batch, pebble.Sync)
		}
	})
	if r.Failed > 0 {
		b.Fatal(r.First)
	}
	b.ReportMetric(float64(r.CPU.Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}
