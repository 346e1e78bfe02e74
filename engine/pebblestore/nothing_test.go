package pebblestore

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
)

// TestNothingToDoIsDurable has two callers tell the same outcome while the disk does not come to syncing that of the
// first: the second is not told that it is recorded before it is.
func TestNothingToDoIsDurable(t *testing.T) {
	fs := newPower()
	s, err := Open("store", Options{Keys: testKeys, Create: true, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	ev := spread(1)
	d := new(engine.Decision)
	if err := s.Assess(t.Context(), ev, d, func(*engine.Observation, *engine.Decision) {}); err != nil {
		t.Fatal(err)
	}
	var synced atomic.Bool
	stuck, goOn := make(chan struct{}), make(chan struct{})
	spring := &trap{match: func(op, name string) bool { return op == "sync" && isLog(op, name) }}
	spring.sprung = func() {
		close(stuck)
		<-goOn
		synced.Store(true)
	}
	fs.trap.Store(spring)
	label := func(told chan<- bool) {
		err := s.RecordOutcome(t.Context(), &engine.Outcome{Domain: 1, Event: d.ID, Kind: scoring.Abuse, Time: ev.Time, Now: ev.Now})
		if err != nil {
			t.Error(err)
		}
		told <- synced.Load()
	}
	first, second := make(chan bool, 1), make(chan bool, 1)
	go label(first)
	<-stuck
	waiting := s.waits.came.Load()
	go label(second)
	for s.waits.came.Load() == waiting && len(second) == 0 { // it waits for a sync, or does not wait at all
		runtime.Gosched()
	}
	close(goOn)
	if !<-first || !<-second {
		t.Error("a caller was told that an outcome is recorded before the log was synced")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
