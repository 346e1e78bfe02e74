package pebblestore

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/ringfence/ringfence/engine"
)

// TestASyncIsForThoseWhoWaitWhenItBegins has callers wait for a sync again and again: each is told of one that began after it came, and
// never are there two at once.
func TestASyncIsForThoseWhoWaitWhenItBegins(t *testing.T) {
	var w waits
	var begun, over, calls atomic.Uint64
	var callers sync.WaitGroup
	do := func() error {
		n := begun.Add(1)
		runtime.Gosched()
		if !over.CompareAndSwap(n-1, n) {
			t.Error("two syncs at once")
		}
		return nil
	}
	for range 64 {
		callers.Go(func() {
			for range 2_000 {
				before := begun.Load()
				if err := w.share(do); err != nil {
					t.Error(err)
				}
				if over.Load() <= before {
					t.Error("told of a sync that had begun before")
				}
				calls.Add(1)
			}
		})
	}
	callers.Wait()
	if n := begun.Load(); 4*n > calls.Load() {
		t.Errorf("%d syncs for %d calls: they did not share", n, calls.Load())
	}
	if w.came.Load() != calls.Load() || w.left.Load() != calls.Load() || w.next != nil {
		t.Errorf("of %d calls, %d came and %d left", calls.Load(), w.came.Load(), w.left.Load())
	}
}

// TestOneAloneSyncsForItself holds that a caller alone causes one sync each time, and waits for nothing but that.
func TestOneAloneSyncsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waits
		start, n := time.Now(), 0
		for range 100 {
			if err := w.share(func() error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); n != 100 || took > 0 {
			t.Errorf("%d syncs for 100 calls, with rests of %v", n, took)
		}
	})
}

// TestSyncsForFewRest has callers come when so many were about at the end of the last sync, which began just before: a sync for few of them
// begins a rest later, for all of them.
func TestSyncsForFewRest(t *testing.T) {
	for _, c := range []struct {
		about  uint64
		come   int
		rested bool
	}{
		{1, 1, true}, {2, 1, false}, {2, 2, true}, {5, 3, false}, {5, 4, true}, {100, plenty - 1, false}, {100, plenty, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := waits{about: c.about, rested: time.Now().Add(rest)}
			start, begun := time.Now(), make(chan time.Duration, c.come)
			var callers sync.WaitGroup
			for range c.come {
				callers.Go(func() {
					if err := w.share(func() error { begun <- time.Since(start); return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			want := map[bool]time.Duration{false: rest}[c.rested]
			if got := <-begun; got != want || !c.rested && len(begun) > 0 {
				t.Errorf("%d were about, %d come: the sync begins after %v, with %d behind it", c.about, c.come, got, len(begun))
			}
		})
	}
}

// TestARestBeginsWithASync has two callers share a sync that takes a while, and one of them come again: the next sync begins a rest after the first began,
// which is at once where that took longer.
func TestARestBeginsWithASync(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{rest / 4: rest, 2 * rest: 2 * rest} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := waits{about: 2, rested: start.Add(time.Hour)} // so that the first waits for the other one
			var callers sync.WaitGroup
			for range 2 {
				callers.Go(func() {
					if err := w.share(func() error { <-time.After(took); return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			if got := time.Since(start); got != took {
				t.Fatalf("a sync of %v for two who were about is over after %v", took, got)
			}
			err := w.share(func() error {
				if got := time.Since(start); got != want {
					t.Errorf("after a sync of %v, the next begins %v after it did", took, got)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAllLearnOfAFailedSync has callers wait behind a sync; the next one fails, and all of them are told.
func TestAllLearnOfAFailedSync(t *testing.T) {
	var w waits
	began, goOn, failure := make(chan struct{}), make(chan struct{}), errors.New("no disk")
	var callers sync.WaitGroup
	callers.Go(func() {
		if err := w.share(func() error { close(began); <-goOn; return nil }); err != nil {
			t.Errorf("the first: %v", err)
		}
	})
	<-began
	for range 10 {
		callers.Go(func() {
			if err := w.share(func() error { return failure }); !errors.Is(err, failure) {
				t.Errorf("one of the others: %v", err)
			}
		})
	}
	close(goOn)
	callers.Wait()
}

// TestAFailedSyncTellsWhy has the disk be full when the log is synced: the process can read that it is, and say what to do.
func TestAFailedSyncTellsWhy(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && strings.HasSuffix(op.Path, ".log") {
			return syscall.ENOSPC
		}
		return nil
	}))
	told := make(chan error, 8)
	s, err := Open("store", Options{Keys: testKeys, Create: true, FS: fs, Fatal: func(err error) { told <- err; runtime.Goexit() }})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	var caller sync.WaitGroup
	caller.Go(func() {
		_ = s.Assess(t.Context(), spread(1), new(engine.Decision), func(*engine.Observation, *engine.Decision) {})
		t.Error("the caller was answered")
	})
	caller.Wait()
	if err := <-told; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the process is told: %v", err)
	}
}

// TestNobodyWaitsForASyncThatWasGivenUp has whoever syncs leave in the middle, as a caller that ends with an error that nobody returns.
func TestNobodyWaitsForASyncThatWasGivenUp(t *testing.T) {
	var w waits
	began, goOn := make(chan struct{}), make(chan struct{})
	var callers sync.WaitGroup
	callers.Go(func() { _ = w.share(func() error { close(began); <-goOn; return nil }) })
	<-began
	for range 10 {
		callers.Go(func() {
			if err := w.share(func() error { runtime.Goexit(); return nil }); !errors.Is(err, errNotSynced) {
				t.Errorf("one of those who did not sync: %v", err)
			}
		})
	}
	close(goOn)
	callers.Wait()
}

// TestThoseAboutToWaitShareASync has many who are about to wait, on one processor: the first lets all of them come before it syncs.
func TestThoseAboutToWaitShareASync(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var w waits
	var syncs atomic.Int64
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if err := w.share(func() error { syncs.Add(1); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := syncs.Load(); n > 5 { // one, unless the machine took the processor away
		t.Errorf("%d syncs for 50 who came at once", n)
	}
}

// TestASyncWaitsForThoseWhoWereTold has callers wait for a sync while three were told of an earlier one and have not run yet, on one processor. It begins
// once there are two for each of the three, be it that one of these runs or that another caller comes, or at once when nobody is waited for.
func TestASyncWaitsForThoseWhoWereTold(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, c := range map[string]struct {
		callers int
		then    func(w *waits, call func())
	}{
		"one of them runs":    {5, func(w *waits, _ func()) { w.leave() }},
		"another caller":      {5, func(_ *waits, call func()) { call() }},
		"nobody waited for":   {0, func(w *waits, call func()) { w.manners.until.Store(new(time.Now().Add(time.Hour))); call() }},
		"they run one by one": {1, func(w *waits, _ func()) { w.leave(); w.leave(); w.leave() }},
	} {
		var w waits
		w.came.Store(3)
		var syncs atomic.Int64
		var callers sync.WaitGroup
		call := func() {
			callers.Go(func() {
				if err := w.share(func() error { syncs.Add(1); return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		for range c.callers {
			call()
		}
		for range 1000 {
			runtime.Gosched()
		}
		if w.came.Load() != uint64(3+c.callers) || syncs.Load() != 0 {
			t.Errorf("%s: %d of %d wait, and %d syncs have begun", name, w.came.Load()-3, c.callers, syncs.Load())
		}
		c.then(&w, call)
		callers.Wait()
		if n := syncs.Load(); n != 1 {
			t.Errorf("%s: %d syncs", name, n)
		}
	}
}

// TestNobodyGivesWayForEver gives way, on one processor, to somebody who keeps it for long: that one has no other turn for a while.
func TestNobodyGivesWayForEver(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var m manners
	turns, stop := beside(func() {
		for start := time.Now(); time.Since(start) < longTurn+time.Millisecond; {
		}
	})
	for turns.Load() == 0 {
		m.giveWay(runtime.Gosched)
	}
	before := turns.Load()
	for range 100 {
		m.giveWay(runtime.Gosched)
	}
	if n := turns.Load() - before; n > 5 { // none, unless the machine took the processor away
		t.Errorf("somebody who keeps the processor had %d turns of 100", n)
	}
	stop()
}

// beside has another goroutine work, one piece a turn, until it is stopped, and counts its turns.
func beside(work func()) (turns *atomic.Int64, stop func()) {
	turns = new(atomic.Int64)
	var enough atomic.Bool
	var other sync.WaitGroup
	other.Go(func() {
		for !enough.Load() {
			turns.Add(1)
			work()
			runtime.Gosched()
		}
	})
	return turns, func() { enough.Store(true); other.Wait() }
}

// TestAStoreWritesTablesPolitely holds that the store's own tables are such.
func TestAStoreWritesTablesPolitely(t *testing.T) {
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem()})
	defer func() { _ = s.Close() }()
	f, err := s.fs.Create("1.sst", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, polite := f.(politeFile); !polite {
		t.Errorf("a table is a %T", f)
	}
	_ = f.Close()
}

// TestTablesAreWrittenPolitely writes a table on one processor: somebody else gets a turn before each block.
func TestTablesAreWrittenPolitely(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, polite := range map[string]bool{"1.sst": true, "1.log": false} {
		f, err := politeFS{vfs.NewMem(), new(manners)}.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		turns, stop := beside(func() {})
		block := []byte(strings.Repeat("b", 100))
		const blocks = 1000
		for range blocks {
			if _, err := f.Write(block); err != nil {
				t.Error(err)
			}
		}
		if n := turns.Load(); (n >= blocks/2) != polite {
			t.Errorf("%s: another goroutine had %d turns during %d writes", name, n, blocks)
		}
		stop()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
