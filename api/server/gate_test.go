package server

import (
	"container/list"
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func lagOf(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// waitAt makes a change wait at a gate, and returns what comes of it.
func waitAt(ctx context.Context, g *gate) chan error {
	answer := make(chan error, 1)
	go func() { answer <- g.enter(ctx) }()
	synctest.Wait()
	return answer
}

func told(answer chan error) (ok bool, err error) {
	synctest.Wait()
	select {
	case err := <-answer:
		return true, err
	default:
		return false, nil
	}
}

// TestWhoFindsNoRoom holds the order at a gate: first come, first in, for a moment; and who is not in by then is told when patience ends.
func TestWhoFindsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Now, lagOf(0))
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := waitAt(t.Context(), g)
		second := waitAt(t.Context(), g)
		time.Sleep(moment - time.Millisecond)
		g.leave()
		if ok, err := told(first); !ok || err != nil {
			t.Errorf("the first is told %v, %v", ok, err)
		}
		time.Sleep(2 * time.Millisecond)
		g.leave()
		if ok, _ := told(second); ok {
			t.Error("the second is told before its patience ends")
		}
		if err := g.enter(t.Context()); err != nil {
			t.Errorf("there is room, and who comes is told %v", err)
		}
		if limit, inside, waiting := g.state(); limit != 1 || inside != 1 || waiting != 1 {
			t.Errorf("the limit is %d, %d are in, %d wait", limit, inside, waiting)
		}
		time.Sleep(patience - moment - 2*time.Millisecond)
		if ok, _ := told(second); ok {
			t.Error("the second is told before its patience ends")
		}
		time.Sleep(time.Millisecond)
		if ok, err := told(second); !ok || !errors.Is(err, refuseBusy) {
			t.Errorf("the second is told %v, %v", ok, err)
		}
		g.leave()
		if _, inside, waiting := g.state(); inside != 0 || waiting != 0 {
			t.Errorf("%d are in, %d wait", inside, waiting)
		}
	})
}

// TestWhoLeavesTheGateTakesNoPlace ends the contexts of one in line, and of one who is held back.
func TestWhoLeavesTheGateTakesNoPlace(t *testing.T) {
	for _, after := range []time.Duration{0, moment + time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, time.Now, lagOf(0))
			_ = g.enter(t.Context())
			ctx, cancel := context.WithCancel(t.Context())
			gone := waitAt(ctx, g)
			time.Sleep(after)
			cancel()
			if ok, err := told(gone); !ok || err == nil {
				t.Errorf("told %v, %v", ok, err)
			}
			g.leave()
			if _, inside, waiting := g.state(); inside != 0 || waiting != 0 {
				t.Errorf("%d are in, %d wait", inside, waiting)
			}
		})
	}
}

// TestSoManyAreHeldBackAtMost has more refused than are held back: the others are told at once.
func TestSoManyAreHeldBackAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Now, lagOf(0))
		_ = g.enter(t.Context())
		var told atomic.Int64
		for range mostRefused + 7 {
			go func() {
				if err := g.enter(t.Context()); errors.Is(err, refuseBusy) {
					told.Add(1)
				}
			}()
		}
		time.Sleep(moment + time.Millisecond)
		if got := told.Load(); got != 7 {
			t.Errorf("%d are told at once, want 7", got)
		}
		time.Sleep(patience)
		if got := told.Load(); got != mostRefused+7 {
			t.Errorf("%d are told in the end", got)
		}
		g.leave()
	})
}

// TestTheLimitFollowsTheProcessors lets goroutines wait for processors under overload, and then not.
func TestTheLimitFollowsTheProcessors(t *testing.T) {
	const most = 512
	lag := quickLag + 1
	now := time.Unix(0, 0)
	g := newGate(most, func() time.Time { return now }, func() time.Duration { return lag })
	stretches := func(n, crowd int) {
		for range n {
			var line []*list.Element
			for range crowd {
				if at := g.arrive(); at != nil {
					line = append(line, at)
				}
			}
			now = now.Add(gateStretch)
			for g.inside > 0 {
				g.leave()
			}
			for _, at := range line {
				g.giveUp(at)
			}
		}
	}
	for _, step := range []struct {
		what   string
		lag    time.Duration
		n      int
		crowd  int
		least  int
		atMost int
	}{
		{"processors are busy, and there is room for everybody", time.Hour, 20, most, most, most},
		{"too many come, and the processors are busy", time.Hour, 2, most + 1, most / 8, most / 2},
		{"for long", time.Hour, 20, most + 1, leastLimit, leastLimit},
		{"neither busy nor idle", quickLag*3/4 + 1, 5, most + 1, leastLimit, leastLimit},
		{"idle", 0, 60, most + 1, most, most},
		{"busy again", time.Hour, 20, most + 1, leastLimit, leastLimit},
		{"few come, and the processors are idle", 0, 60, 1, most, most},
		{"the overload is over", time.Hour, 20, most / 2, most, most},
	} {
		lag = step.lag
		if stretches(step.n, step.crowd); g.limit < step.least || g.limit > step.atMost {
			t.Errorf("%s: the limit is %d, want %d to %d", step.what, g.limit, step.least, step.atMost)
		}
	}
	p := gatePace{lag: lagOf(time.Hour)}
	if got := p.next(2, 2, now); got != 2 {
		t.Errorf("the least limit of a gate for 2 is %d", got)
	}
}

// TestAnOverloadIsJudgedByItself holds that what goroutines waited for before it does not count.
func TestAnOverloadIsJudgedByItself(t *testing.T) {
	now, lag := time.Unix(0, 0), time.Hour // since the start of the process
	g := newGate(64, func() time.Time { return now }, func() time.Duration {
		since := lag
		lag = 0
		return since
	})
	for range 65 {
		g.arrive()
	}
	now = now.Add(gateStretch)
	if g.leave(); g.limit != 64 {
		t.Errorf("nobody has waited since it began, and the limit is %d", g.limit)
	}
}

// TestNoMoreAreInThanTheLimit has a crowd at a gate, some of whom give up.
func TestNoMoreAreInThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3, time.Now, lagOf(0))
		var in, most, through, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				time.Sleep(time.Duration(i%20) * 7 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%9)*5*time.Millisecond)
				defer cancel()
				if g.enter(ctx) != nil {
					refused.Add(1)
					return
				}
				if n := in.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(20 * time.Millisecond)
				in.Add(-1)
				through.Add(1)
				g.leave()
			})
		}
		wg.Wait()
		if most.Load() != 3 || through.Load() < 20 || refused.Load() == 0 || through.Load()+refused.Load() != 400 {
			t.Errorf("at most %d in, %d through, %d refused", most.Load(), through.Load(), refused.Load())
		}
		if _, inside, waiting := g.state(); inside != 0 || waiting != 0 {
			t.Errorf("%d are in, %d wait", inside, waiting)
		}
	})
}

func TestLagOfAHistogram(t *testing.T) {
	bounds := []float64{math.Inf(-1), 0, 0.001, 0.01, math.Inf(1)}
	for _, c := range []struct {
		now, before []uint64
		want        time.Duration
	}{
		{[]uint64{0, 0, 0, 0}, []uint64{0, 0, 0, 0}, 0},
		{[]uint64{0, 99, 0, 1}, []uint64{0, 0, 0, 0}, 0},
		{[]uint64{0, 98, 2, 0}, []uint64{0, 0, 0, 0}, time.Millisecond},
		{[]uint64{0, 999, 5, 5}, []uint64{0, 999, 0, 0}, 10 * time.Millisecond},
		{[]uint64{1, 0, 0, 0}, []uint64{0, 0, 0, 0}, 0},
	} {
		if got := slowest(c.now, c.before, bounds); got != c.want {
			t.Errorf("%v after %v: %v, want %v", c.now, c.before, got, c.want)
		}
	}
	q := newRunQueue()
	if q.lag(); len(q.before) == 0 {
		t.Error("the runtime tells nothing of how long goroutines wait")
	}
}
