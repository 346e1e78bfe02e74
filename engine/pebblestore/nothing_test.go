package pebblestore

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestNothingToDoIsDurable has two callers do the same while the disk does not come to syncing the change of the first: the second is not told that it is
// done before it is.
func TestNothingToDoIsDurable(t *testing.T) {
	ev := spread(1)
	phone := ev.Subjects[hashing.Phone]
	for name, do := range map[string]func(s *Store, event engine.EventID) error{
		"an outcome": func(s *Store, event engine.EventID) error {
			return s.RecordOutcome(t.Context(), &engine.Outcome{Domain: 1, Event: event, Kind: scoring.Abuse, Time: ev.Time, Now: ev.Now})
		},
		"an entry taken off a list": func(s *Store, _ engine.EventID) error {
			_, err := s.RemoveEntry(t.Context(), 1, "deny", phone, ev.Now)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newPower()
			s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: fs})
			d := new(engine.Decision)
			err := s.Assess(t.Context(), ev, d, func(*engine.Observation, *engine.Decision) {})
			if err := errors.Join(err, s.PutEntries(t.Context(), 1, []engine.ListEntry{{List: "deny", Subject: phone, Added: ev.Now}}, nil)); err != nil {
				t.Fatal(err)
			}
			log := holdLog(fs)
			tell := func(told chan<- bool) {
				if err := do(s, d.ID); err != nil {
					t.Error(err)
				}
				told <- log.synced.Load()
			}
			first, second := make(chan bool, 1), make(chan bool, 1)
			go tell(first)
			<-log.stuck
			waiting := s.waits.came.Load()
			go tell(second)
			untilItWaits(s, waiting, second)
			close(log.goOn)
			if !<-first || !<-second {
				t.Error("a caller was told that it is done before the log was synced")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAReplayIsDurable has one caller assess an event under an idempotency key and leave the log for later, and another one ask
// for it under the same key while the disk does not come to syncing it: who does not leave it for later is not told before.
func TestAReplayIsDurable(t *testing.T) {
	fs := newPower()
	r := newRotating(t)
	r.fs = fs
	r.open(r.ring)
	defer func() { _ = r.store.Close() }()
	retry := r.hasher.Retry("key", "route", nil)
	log := holdLog(fs)
	assess := func(later bool) (replayed, synced bool) {
		_, replayed, err := r.engine.Idempotent(t.Context(), retry, later, func(once *engine.Once) ([]byte, error) {
			ev := spread(1)
			once.Render = func() []byte { return []byte("{}") }
			ev.Once, ev.Later = once, later
			return once.Render(), r.engine.Assess(t.Context(), ev, new(engine.Assessment))
		})
		if err != nil {
			t.Error(err)
		}
		return replayed, log.synced.Load()
	}
	for _, want := range []bool{false, true} {
		if replayed, synced := assess(true); replayed != want || synced {
			t.Fatalf("left for later: replayed is %v, want %v; synced: %v", replayed, want, synced)
		}
	}
	told := make(chan bool, 1)
	waiting := r.store.waits.came.Load()
	go func() {
		replayed, synced := assess(false)
		told <- replayed && synced
	}()
	untilItWaits(r.store, waiting, told)
	close(log.goOn)
	if !<-told {
		t.Error("a caller was told an answer before the log was synced")
	}
}

// TestWhatIsDurableWaitsForNobody holds that nothing is written to the disk, which may be full, where there is nothing to make durable.
func TestWhatIsDurableWaitsForNobody(t *testing.T) {
	r := newRotating(t)
	r.fs = newPower()
	r.open(r.ring)
	defer func() { _ = r.store.Close() }()
	s := r.store
	quiet := func(what string, do func() error) {
		t.Helper()
		before := s.waits.came.Load()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if s.waits.came.Load() > before {
			t.Errorf("%s: it waited for the disk", what)
		}
	}
	durable := func() error { return s.Durable(t.Context()) }
	for _, later := range []bool{false, true} {
		ev := spread(1)
		ev.Later = later
		if err := errors.Join(r.engine.Assess(t.Context(), ev, new(engine.Assessment)), durable()); err != nil {
			t.Fatal(err)
		}
		quiet("once more", durable)
		quiet("a change of nothing", func() error {
			_, err := s.RemoveEntry(t.Context(), 1, "deny", ev.Subjects[hashing.Phone], ev.Now)
			return err
		})
		quiet("a look", func() error { return r.engine.Peek(t.Context(), spread(1), new(engine.Assessment)) })
	}
}

// TestADiskThatHangs is told from one that has nothing to do, and from one that goes on, however slowly.
func TestADiskThatHangs(t *testing.T) {
	fs, m := newPower(), newMachine()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: fs, Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }})
	told := make(chan bool, 2)
	assess := func() {
		if err := s.Assess(t.Context(), spread(1), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Error(err)
		}
		told <- true
	}
	look := func(when string, after time.Duration, want bool) {
		t.Helper()
		if m.pass(after); s.Stuck() != want {
			t.Errorf("%s: stuck is %v", when, !want)
		}
	}
	look("nothing to do", 0, false)
	look("nothing to do for an hour", time.Hour, false)
	for range 2 {
		log := holdLog(fs)
		waiting := s.waits.came.Load()
		go assess()
		<-log.stuck
		untilItWaits(s, waiting, told)
		look("one waits", time.Hour, false) // nobody looked
		look("one waits for 4.9 s", stuckAfter-time.Second/10, false)
		waiting = s.waits.came.Load()
		go assess()
		untilItWaits(s, waiting, told)
		look("two wait, one for 5 s", time.Second/10, true)
		close(log.goOn)
		<-told
		<-told
		look("both are done", 0, false)
		look("nothing to do", time.Hour, false)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// heldLog is a log whose next sync does not come to an end.
type heldLog struct {
	stuck  chan struct{} // closed: it has begun
	goOn   chan struct{} // close: it may end
	synced atomic.Bool   // it has ended
}

func holdLog(fs *power) *heldLog {
	l := &heldLog{stuck: make(chan struct{}), goOn: make(chan struct{})}
	fs.trap.Store(&trap{
		match: func(op, name string) bool { return op == "sync" && isLog(op, name) },
		sprung: func() {
			close(l.stuck)
			<-l.goOn
			l.synced.Store(true)
		},
	})
	return l
}

// untilItWaits returns when one more caller waits for a sync, or was told something without.
func untilItWaits(s *Store, before uint64, told <-chan bool) {
	for s.waits.came.Load() == before && len(told) == 0 {
		runtime.Gosched()
	}
}

// TestNoCallOutlivesItself looks at what a step leaves for the next one: texts of a caller may be parts of a body that has a number.
func TestNoCallOutlivesItself(t *testing.T) {
	s, err := Open("store", Options{Keys: testKeys, Create: true, FS: newPower()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ev := spread(1)
	ev.Country = "DE"
	step, err := s.beginLook(t.Context(), ev.Subjects[:]...)
	if err != nil {
		t.Fatal(err)
	}
	step.newEntry(ev, engine.EventID{1})
	step.entry.Values = []float64{1}
	before := step.entry.Country
	step.end()
	if e := &step.entry; before != "DE" || e.Country != "" || e.Values != nil || e.Shadows != nil {
		t.Errorf("%q, then %q, %d values and %d shadows are kept", before, e.Country, len(e.Values), len(e.Shadows))
	}
}
