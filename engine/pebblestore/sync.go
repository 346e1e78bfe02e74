package pebblestore

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// waits are the callers that wait for a sync of the log, and the syncs they do: one after the other, each for everybody who waits when it
// begins. Flushes and seals sync for themselves beside them.
//
// Whoever is the first to wait for the next sync does it, for all: it waits for the one under way, gives others one turn, and then waits for
// those whom that sync was for, who are told but have not run yet. They are about to come back, or to leave a processor to somebody who comes,
// and when few of them are left it syncs. So the more callers there are, the more of them share a sync, which costs the same for many as for
// one; one alone waits for nobody; and the processors have others to work on as long as anybody is waited for.
// A timer would not do: Go's are late by up to a millisecond on an idle machine, in which ten syncs fit.
type waits struct {
	came atomic.Uint64 // callers so far
	left atomic.Uint64 // those of them who have run since they were told

	mu   sync.Mutex // held where came, left and next change
	next *shared    // those who wait for the next sync, nil when nobody does
	more sync.Cond  // of mu: enough may wait now

	syncing sync.Mutex // held during a sync, and before by the one who does it, once the last is over
	manners manners
}

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
	defer close(s.over)
	s.err = do()
	return s.err
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

// enough reports whether at least two wait for the next sync for each who was told of an earlier one and has not run yet.
func (w *waits) enough() bool {
	return w.next.waiting >= 2*(w.came.Load()-w.left.Load()-w.next.waiting)
}

// gather gives others a turn, and returns when enough of them wait for the sync that begins now.
func (w *waits) gather() {
	w.manners.giveWay(func() {
		runtime.Gosched()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.more.L = &w.mu
		for !w.enough() {
			w.more.Wait()
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = nil // who comes from now on was not there when the sync began
}
