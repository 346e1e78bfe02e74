package pebblestore

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestPowerCut cuts the power under eight writers on one number, and keeps
// none, some or all of what was written and not synced. Every event that was
// acknowledged before is counted and logged afterwards, and what is counted is logged.
func TestPowerCut(t *testing.T) {
	for _, keep := range []int{0, 0, 30, 70, 100} {
		fs := newPower()
		s, err := Open("store", Options{Keys: testKeys, Create: true, FS: fs, Fatal: func(err error) { panic(err) }})
		if err != nil {
			t.Fatal(err)
		}
		var acknowledged atomic.Int64
		var stop atomic.Bool
		enough := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for !stop.Load() {
					if err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
						t.Error(err)
						return
					}
					if acknowledged.Add(1) == 200 {
						enough <- struct{}{}
					}
				}
			})
		}
		<-enough
		safe := acknowledged.Load()
		after := fs.cut(keep, rand.New(rand.NewPCG(uint64(keep), 1)))
		stop.Store(true)
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		counted, logged := recovered(t, after)
		if counted < safe || counted != logged {
			t.Errorf("%d %% of the unsynced kept: %d acknowledged, %d counted, %d logged", keep, safe, counted, logged)
		}
	}
}

// signup is always the same event.
func signup() *engine.Event {
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: 1_800_000_000, Now: 1_800_000_000}
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		ev.Subjects[kind] = hashing.Subject{Kind: kind, Key: 1, ID: [16]byte{byte(kind)}}
	}
	return ev
}

// recovered opens what a crash left and returns how many events it holds.
func recovered(t *testing.T, fs vfs.FS) (counted, logged int64) {
	t.Helper()
	return recoveredFrom(t, fs, "store")
}

func recoveredFrom(t *testing.T, fs vfs.FS, dir string) (counted, logged int64) {
	t.Helper()
	s := mustOpenIn(t, dir, Options{Keys: testKeys, FS: fs})
	looking := signup()
	looking.Kind = 0
	o, err := s.Observe(t.Context(), looking)
	if err != nil {
		t.Fatal(err)
	}
	for kind, r := range o.Records {
		if r == nil {
			continue
		}
		total := int64(r.Total(scoring.Signup))
		if counted != 0 && total != counted {
			t.Errorf("subject %d was torn off: %d, another one %d", kind, total, counted)
		}
		counted = total
	}
	err = s.Scan(t.Context(), 1, engine.EventID{}, func(*record.Entry) error {
		logged++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return counted, logged
}
