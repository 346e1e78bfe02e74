package pebblestore

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
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

// TestOneAloneSyncsForItself holds that a caller alone causes one sync each time.
func TestOneAloneSyncsForItself(t *testing.T) {
	var w waits
	n := 0
	for range 100 {
		if err := w.share(func() error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n != 100 {
		t.Errorf("%d syncs for 100 calls", n)
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

// TestAFlushGetsItsShare flushes beside goroutines that keep all processors: it does not wait for all of them again and again.
func TestAFlushGetsItsShare(t *testing.T) {
	var m manners
	var stop atomic.Bool
	var others sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		others.Go(func() {
			for !stop.Load() {
			}
		})
	}
	long, given := 0, 0
	for start := time.Now(); time.Since(start) < time.Second/2; given++ {
		turn := time.Now()
		m.giveWay(1)
		if time.Since(turn) > longTurn {
			long++
		}
	}
	stop.Store(true)
	others.Wait()
	if given < 10*long {
		t.Errorf("of %d turns, %d took long", given, long)
	}
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
		var turns atomic.Int64
		var stop atomic.Bool
		var other sync.WaitGroup
		other.Go(func() {
			for !stop.Load() {
				turns.Add(1)
				runtime.Gosched()
			}
		})
		block := []byte(strings.Repeat("b", 100))
		const blocks = 1000
		for range blocks {
			if _, err := f.Write(block); err != nil {
				t.Error(err)
			}
		}
		stop.Store(true)
		if n := turns.Load(); (n >= blocks/2) != polite {
			t.Errorf("%s: another goroutine had %d turns during %d writes", name, n, blocks)
		}
		other.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
