package server

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// gate lets changes in, at most so many at a time. Those who come when there is no room stand in line for a moment, and are refused when that was
// not enough: in a longer line everybody would wait for as long as callers bear, and answers would come when nobody wants them any more. They are told
// so only when patience ends, since a crowd that comes back as soon as it is refused would keep the processors busy with refusing it.
// So an answer that somebody gets under overload is about as quick as one without.
//
// Under overload, how many are let in adapts to how busy the processors are: see gatePace. It is safe for concurrent use.
type gate struct {
	most    int              // bound of limit
	now     func() time.Time // the clock
	refused atomic.Int64     // those who are held back

	mu     sync.Mutex
	over   bool // there was no room for somebody: guarded by mu, as everything below
	limit  int  // most, but under overload
	inside int
	line   list.List // of chan struct{}, closed when one is let in, in the order in which they came
	pace   gatePace
}

const (
	// moment is how long a change stands in line.
	moment = 25 * time.Millisecond
	// patience is how long it takes from the arrival of a change to its refusal.
	patience = 500 * time.Millisecond
	// mostRefused is how many are held back at a time. Each holds its body, of which most are small. More are told at once.
	mostRefused = 4096
)

func newGate(most int, now func() time.Time, lag func() time.Duration) *gate {
	return &gate{most: most, limit: most, now: now, pace: gatePace{lag: lag}}
}

// enter returns nil when the caller is in; it then has to call leave. Otherwise the error says why not.
func (g *gate) enter(ctx context.Context) error {
	at := g.arrive()
	if at == nil {
		return nil
	}
	wait := time.NewTimer(moment)
	defer wait.Stop()
	select {
	case <-at.Value.(chan struct{}): //nolint:forcetypeassert // nothing else is in line
		return nil
	case <-wait.C:
	case <-ctx.Done():
	}
	if !g.giveUp(at) {
		return nil
	}
	if g.refused.Add(1) <= mostRefused {
		wait.Reset(patience - moment)
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	g.refused.Add(-1)
	return refuseBusy
}

// arrive lets a change in, and returns nil; or makes it stand in line.
func (g *gate) arrive() *list.Element {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside < g.limit {
		g.inside++
		return nil
	}
	if !g.over {
		g.over = true
		g.pace.begin(g.now())
	}
	return g.line.PushBack(make(chan struct{}))
}

// giveUp takes one out of the line, and reports whether it was there still: Remove leaves those alone whom leave has let in.
func (g *gate) giveUp(at *list.Element) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.line.Len()
	g.line.Remove(at)
	return g.line.Len() < before
}

// leave makes room for another change.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.over {
		g.limit = g.pace.next(g.limit, g.most, g.now())
		g.over = g.limit < g.most || g.inside+g.line.Len() > g.most/2
	}
	for e := g.line.Front(); e != nil && g.inside < g.limit; e = g.line.Front() {
		g.inside++
		close(g.line.Remove(e).(chan struct{})) //nolint:forcetypeassert // nothing else is in line
	}
}

// state returns how many are let in at a time, how many are in, and how many wait, if only to be refused.
func (g *gate) state() (limit, inside, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit, g.inside, g.line.Len() + int(g.refused.Load())
}

// gatePace decides how many changes are let in at a time under overload. As long as there is a processor for whoever can go on, more of them do no harm:
// they share syncs of the disk. When they wait for processors, so do all requests that have not got as far as the gate, and fewer changes at a
// time get as much done.
type gatePace struct {
	lag   func() time.Duration // what 99 of 100 who could go on waited for a processor at most, since it was asked last
	began time.Time            // of the stretch
}

const (
	quickLag    = 10 * time.Millisecond
	gateStretch = 100 * time.Millisecond
	leastLimit  = 16
)

// begin begins the first stretch of an overload. What goroutines waited for before is of no account.
func (p *gatePace) begin(now time.Time) {
	p.began = now
	_ = p.lag()
}

// next returns the limit from now on.
func (p *gatePace) next(limit, most int, now time.Time) int {
	if now.Sub(p.began) < gateStretch {
		return limit
	}
	p.began = now
	switch lag := p.lag(); {
	case lag > quickLag:
		return max(limit/2, min(leastLimit, most))
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
		{Name: "ringfence_changes_waiting", Help: "Requests that change something that wait to be let in, or to be refused.", Read: func() float64 {
			_, _, waiting := g.state()
			return float64(waiting)
		}},
	}
}
