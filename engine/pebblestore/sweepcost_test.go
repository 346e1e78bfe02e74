package pebblestore

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// BenchmarkForget forgets idle subjects as the sweeper does, nobody else at work.
func BenchmarkForget(b *testing.B) {
	m := newMachine()
	s, err := Open(filepath.Join(b.TempDir(), "store"), Options{Keys: testKeys, Create: true, Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for n := range (b.N + 2) / 3 {
		ev := spread(n) // of three subjects
		ev.Verified, ev.Later = false, true
		if err := s.Assess(b.Context(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.flushAll(); err != nil {
		b.Fatal(err)
	}
	m.pass(200 * 24 * time.Hour)
	var all engine.Swept
	b.ResetTimer()
	for all.Subjects < b.N {
		swept, err := s.Sweep(b.Context(), m.Now().Unix())
		if err != nil {
			b.Fatal(err)
		}
		all.Add(swept)
	}
	b.ReportMetric(float64(all.Looked)/float64(all.Subjects), "looked/op")
}

// TestNobodyPassesWhatWasTrimmed counts the steps to the oldest event behind many that were given up and were still in memory.
func TestNobodyPassesWhatWasTrimmed(t *testing.T) {
	m := newMachine()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }})
	defer func() { _ = s.Close() }()
	for range 1000 {
		assessAt(t, s, m.Now())
	}
	m.pass(time.Minute)
	before := m.Now().Unix()
	assessAt(t, s, m.Now())
	if purged, err := s.Purge(t.Context(), before); err != nil || !purged {
		t.Fatalf("purge: %v, %v", purged, err)
	}
	for i := 0; i < 100_000 && s.db.Metrics().Flush.Count == 0; i++ {
		runtime.Gosched()
	}
	it, err := s.db.NewIter(logBounds(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = it.Close() }()
	stats := it.Stats()
	if !it.First() {
		t.Fatal(it.Error())
	}
	if steps := it.Stats().InternalStats.PointCount - stats.InternalStats.PointCount; steps > 10 {
		t.Errorf("the oldest event is found after %d others", steps)
	}
}
