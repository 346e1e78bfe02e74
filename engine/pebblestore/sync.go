package pebblestore

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// waits are the callers that wait for a sync of the log, and the syncs: one after the other, each for everybody who waits when it begins.
//
// Whoever is the first to wait for the next sync does it, for all: it waits for the one under way, and then gives way to those who have
// work to do, since they may be about to wait here. So a processor that has something else to do does that,
// and one that has not syncs at once: the more callers there are, the more of them share a sync, and one alone waits for nobody.
// A timer would not do: Go's are late by up to a millisecond on an idle machine, in which ten syncs fit.
type waits struct {
	came atomic.Uint64 // callers so far
	left atomic.Uint64 // those of them whose wait is over

	mu   sync.Mutex
	next *shared // those who wait for the next sync, nil when nobody does; guarded by mu

	syncing sync.Mutex // held during a sync, and before by the one who does it, once the last is over
	manners manners
}

// shared is one sync.
type shared struct {
	over chan struct{} // closed at its end
	err  error         // set before over is closed
}

// maxYield is for how long, about, whoever is to sync gives way to others. It ends at once when nobody came to wait meanwhile.
const maxYield = time.Millisecond

// errNotSynced is what others are told when whoever was to sync for them did not get to its end.
var errNotSynced = errors.New("the log was not synced")

// share returns when a sync is over that began after share did, with its error. Only the first to wait calls do.
func (w *waits) share(do func() error) error {
	w.came.Add(1)
	defer w.left.Add(1)
	w.mu.Lock()
	if s := w.next; s != nil {
		w.mu.Unlock()
		<-s.over
		return s.err
	}
	s := &shared{over: make(chan struct{})}
	w.next = s
	w.mu.Unlock()

	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.yield()
	w.mu.Lock()
	w.next = nil // who comes from now on was not there when the sync began
	w.mu.Unlock()
	s.err = errNotSynced // unless do returns
	defer close(s.over)
	s.err = do()
	return s.err
}

// yield gives way as long as some of the others come to wait.
func (w *waits) yield() {
	start, came := time.Now(), uint64(0)
	for now := w.came.Load(); now != came && time.Since(start) < maxYield; now = w.came.Load() {
		came = now
		w.manners.giveWay(10)
	}
}
