package server

import (
	"context"
	"sync"
	"time"
)

// gate lets changes in, so many at a time. Those for whom there is no room wait, and the newest of them goes in first: the older
// ones, whose callers have waited the longest and are the likeliest to have given up, are refused when they have waited for
// patience. So an answer that somebody gets under overload is as quick as one without, and a crowd that comes back as soon as it is refused
// comes back no more often than patience lets it. A burst that is through by then loses nobody.
//
// How many are let in adapts to how busy the processors are: see gatePace. It is safe for concurrent use.
type gate struct {
	most int              // bound of limit
	now  func() time.Time // the clock

	mu      sync.Mutex
	limit   int // guarded by mu, as everything below
	inside  int
	newest  *waiter // of a list
	oldest  *waiter
	waiting int
	pace    gatePace
}

// waiter is a change that waits to be let in.
type waiter struct {
	newer, older *waiter
	since        time.Time
	told         chan bool // capacity 1: whether it is in
}

const (
	// patience is how long a change waits to be let in.
	patience = 500 * time.Millisecond
	// fresh is how long one has waited at most that goes in first. Others go in once a burst is over: when seven of eight places are free.
	fresh = 25 * time.Millisecond
	// mostWaiting is how many wait: beyond, the oldest is refused at once. Each holds its body, of which most are small.
	mostWaiting = 4096
)

func newGate(most int, now func() time.Time, lag func() time.Duration) *gate {
	return &gate{most: most, limit: most, now: now, pace: gatePace{lag: lag, began: now()}}
}

// enter returns nil when the caller is in; it then has to call leave. Otherwise the error says why not.
func (g *gate) enter(ctx context.Context) error {
	w := g.arrive()
	if w == nil {
		return nil
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case in := <-w.told:
		return refusedUnless(in)
	case <-wait.C:
	case <-ctx.Done():
	}
	return refusedUnless(!g.giveUp(w) && <-w.told)
}

func refusedUnless(in bool) error {
	if in {
		return nil
	}
	return refuseBusy
}

// arrive lets a change in, and returns nil; or makes it wait.
func (g *gate) arrive() *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside < g.limit {
		g.inside++
		return nil
	}
	g.pace.crowded = true
	if g.waiting == mostWaiting {
		last := g.oldest
		g.remove(last)
		last.told <- false
	}
	w := &waiter{told: make(chan bool, 1), since: g.now(), older: g.newest}
	if g.newest != nil {
		g.newest.newer = w
	} else {
		g.oldest = w
	}
	g.newest = w
	g.waiting++
	return w
}

// giveUp takes a waiter away that waits still, and reports whether it did.
func (g *gate) giveUp(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.newer == nil && g.newest != w { // it was told
		return false
	}
	g.remove(w)
	return true
}

// remove takes a waiter off the list.
func (g *gate) remove(w *waiter) {
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		g.newest = w.older
	}
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		g.oldest = w.newer
	}
	w.newer, w.older = nil, nil
	g.waiting--
}

// leave makes room for another change.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = g.pace.next(g.limit, g.most, g.inside, g.now())
	g.inside--
	for w := g.newest; w != nil && g.inside < g.limit; w = g.newest {
		if g.inside > g.limit/8 && g.now().Sub(w.since) > fresh {
			return
		}
		g.remove(w)
		g.inside++
		w.told <- true
	}
}

// state returns how many are let in at a time, how many are in, and how many wait.
func (g *gate) state() (limit, inside, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit, g.inside, g.waiting
}

// gatePace decides how many changes are let in at a time. As long as there is a processor for whoever can go on, more of them do no harm:
// they share syncs of the disk. When they wait for processors, so do all requests that have not got as far as the gate, and fewer changes at a
// time get as much done.
type gatePace struct {
	lag     func() time.Duration // what 99 of 100 who could go on waited for a processor at most, since it was asked last
	began   time.Time            // of the stretch
	peak    int                  // how many were in at most
	crowded bool                 // some had to wait to be let in
}

const (
	quickLag    = 10 * time.Millisecond
	gateStretch = 100 * time.Millisecond
	leastLimit  = 16
)

// next takes note of a change that ended, one of those inside, and returns the limit from now on.
func (p *gatePace) next(limit, most, inside int, now time.Time) int {
	p.peak = max(p.peak, inside)
	if now.Sub(p.began) < gateStretch {
		return limit
	}
	limit = p.judge(limit, most, p.lag())
	p.began, p.peak, p.crowded = now, 0, false
	return limit
}

// judge returns the limit after a stretch.
func (p *gatePace) judge(limit, most int, lag time.Duration) int {
	switch {
	case lag > quickLag:
		limit = min(limit, p.peak)
		return max(limit*7/8, min(leastLimit, most))
	case lag < quickLag/2:
		return min(limit+limit/8+1, most)
	}
	return limit
}

// measures are the metrics of a gate.
func (g *gate) measures() []Measure {
	return []Measure{
		{Name: "ringfence_changes_limit", Help: "Requests that change something worked on at a time at most, at present.", Read: func() float64 {
			limit, _, _ := g.state()
			return float64(limit)
		}},
		{Name: "ringfence_changes_in_flight", Help: "Requests that change something that are worked on.", Read: func() float64 {
			_, inside, _ := g.state()
			return float64(inside)
		}},
		{Name: "ringfence_changes_waiting", Help: "Requests that change something that wait to be let in.", Read: func() float64 {
			_, _, waiting := g.state()
			return float64(waiting)
		}},
	}
}
