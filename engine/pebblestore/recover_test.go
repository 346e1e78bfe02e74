package pebblestore

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// TestPowerCutDuringRecovery opens what a power cut left with less memory than before, so that recovery
// has to flush halfway, and takes the power away again behind that flush.
func TestPowerCutDuringRecovery(t *testing.T) {
	const events = 300
	random := rand.New(rand.NewPCG(1, 2))
	o := Options{Keys: testKeys, Create: true, FS: newPower(), Fatal: func(err error) { panic(err) }}
	s := mustOpen(t, o)
	for range events {
		if err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Fatal(err)
		}
	}
	cut := func() {
		left := o.FS.(*power).cut(50, random)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = left
	}
	cut()
	o.MaxUnflushed, o.recoverAtOnce = 100, 70
	s = mustOpen(t, o)
	cut()
	if counted, logged := recovered(t, o.FS); counted != events || logged != events {
		t.Errorf("%d of %d events are counted, %d logged", counted, events, logged)
	}
}

// TestWritersWaitAtTheBound holds that more than is allowed unflushed makes writers wait, which is
// counted, and that all of them get through.
func TestWritersWaitAtTheBound(t *testing.T) {
	o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), MaxUnflushed: 4, Fatal: func(err error) { panic(err) }}
	s := mustOpen(t, o)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.Stalls() == 0 {
		t.Error("nobody waited")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if counted, logged := recovered(t, o.FS); counted != 400 || logged != 400 {
		t.Errorf("%d of 400 events are counted, %d logged", counted, logged)
	}
}

func mustOpen(t *testing.T, o Options) *Store {
	t.Helper()
	return mustOpenIn(t, "store", o)
}

func mustOpenIn(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
