package pebblestore

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// waits are the callers that wait for a sync of the log, and the syncs they do: one after the other, each for everybody who waits when it
// begins. Flushes and seals sync for themselves beside them.
//
// Whoever is the first to wait for the next sync does it, for all: it waits for the one under way, gives others one turn, and then sleeps until
// enough wait for it. It waits for two kinds of others.
//
// Those whom the last sync was for, who are told but have not run yet: they are about to come back, or to leave a processor to somebody who
// comes, and when few of them are left it syncs. So the more callers there are, the more of them share a sync, which costs the same for many as
// for one; and the processors have others to work on as long as anybody is waited for.
//
// And those who may come within a rest: where the processors are idle half of the time there would be a sync for every one or two callers. A shared
// machine makes up for thousands of syncs a second by not running at all for 10 ms now and then (bench/SPEED.md), and a shared disk has only so many. So a
// sync for few begins a rest after the last one, unless nearly all who were about lately wait for it. So one caller alone waits for nobody, nor do a few
// who all come again as soon as they are told; one who does so while others come now and then may wait for a rest each time.
type waits struct {
	came atomic.Uint64 // callers so far
	left atomic.Uint64 // those of them who have run since they were told

	mu   sync.Mutex // held where came, left and next change
	next *shared    // those who wait for the next sync, nil when nobody does
	more sync.Cond  // of mu: enough may wait now

	about  uint64    // callers who had come when the last sync was over, and not left; guarded by mu
	rested time.Time // when the log has had its rest since the last sync began; guarded by mu

	syncing sync.Mutex // held during a sync, and before by the one who does it, once the last is over
	manners manners
}

const (
	// rest is what the log has from the beginning of one sync to that of the next, at most. Go's timers are late by up to as much again where
	// nothing else goes on.
	rest = time.Millisecond
	// plenty of callers share a sync well: more of them would make it hardly cheaper for each.
	plenty = 16
)

// shared is one sync.
type shared struct {
	waiting uint64        // for it, guarded by waits.mu
	over    chan struct{} // closed at its end
	err     error         // set before over is closed
}

// errNotSynced is what others are told when whoever was to sync for them did not get to its end.
var errNotSynced = errors.New("the log was not synced")

// share returns when a sync is over that began after share did, with its error. Only the first to wait calls do.
func (w *waits) share(do func() error) error {
	s, first := w.come()
	defer w.leave()
	if !first {
		<-s.over
		return s.err
	}
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.gather()
	s.err = errNotSynced // unless do returns
	defer w.end(s)
	s.err = do()
	return s.err
}

// end tells all whom a sync was for that it is over.
func (w *waits) end(s *shared) {
	w.mu.Lock()
	w.about = w.came.Load() - w.left.Load()
	w.mu.Unlock()
	close(s.over)
}

// come joins the next sync, or is the first to wait for it.
func (w *waits) come() (s *shared, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first = w.next == nil; first {
		w.next = &shared{over: make(chan struct{})}
	}
	w.next.waiting++
	w.came.Add(1)
	w.tell()
	return w.next, first
}

func (w *waits) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left.Add(1)
	w.tell()
}

// tell wakes whoever gathers when enough wait.
func (w *waits) tell() {
	if w.next != nil && w.enough() {
		w.more.Signal()
	}
}

// enough reports whether at least two wait for the next sync for each who was told of an earlier one and has not run yet, and it need not rest.
func (w *waits) enough() bool {
	waiting := w.next.waiting
	return waiting >= 2*(w.came.Load()-w.left.Load()-waiting) &&
		(waiting >= plenty || 5*waiting >= 4*w.about || !time.Now().Before(w.rested))
}

// gather gives others a turn, and returns when enough of them wait for the sync that begins now.
func (w *waits) gather() {
	w.manners.giveWay(func() {
		runtime.Gosched()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.more.L = &w.mu
		if d := time.Until(w.rested); d > 0 && !w.enough() {
			defer time.AfterFunc(d, w.wake).Stop()
		}
		for !w.enough() {
			w.more.Wait()
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rested = time.Now().Add(rest)
	w.next = nil // who comes from now on was not there when the sync began
}

// wake has whoever gathers look again.
func (w *waits) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.more.Signal()
}
