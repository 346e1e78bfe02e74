package server

import (
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

// TestTheNewestGoesInFirst holds the order at a gate: the newest first, and those who have waited for patience not at all.
func TestTheNewestGoesInFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Now, lagOf(0))
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := waitAt(t.Context(), g)
		newer := waitAt(t.Context(), g)
		g.leave()
		if ok, _ := told(old); ok {
			t.Error("the older one is told first")
		}
		if ok, err := told(newer); !ok || err != nil {
			t.Errorf("the newest is told %v, %v", ok, err)
		}
		time.Sleep(patience - time.Millisecond)
		if ok, _ := told(old); ok {
			t.Error("it is told before its patience ends")
		}
		time.Sleep(time.Millisecond)
		if ok, err := told(old); !ok || !errors.Is(err, refuseBusy) {
			t.Errorf("the old one is told %v, %v", ok, err)
		}
		g.leave()
		if _, inside, waiting := g.state(); inside != 0 || waiting != 0 {
			t.Errorf("%d are in, %d wait", inside, waiting)
		}
	})
}

// TestWhoIsNotFreshWaitsForRoom holds that one who has waited for long goes in once most of the places are free, and no sooner.
func TestWhoIsNotFreshWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 16
		g := newGate(most, time.Now, lagOf((quickLag+quickLag/2)/2)) // neither more nor fewer
		for range most {
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		old := waitAt(t.Context(), g)
		time.Sleep(fresh + time.Millisecond)
		for i := range most - most/8 - 1 {
			if g.leave(); i < most/2 {
				if ok, _ := told(old); ok {
					t.Fatalf("it is in after %d have left", i+1)
				}
			}
		}
		if ok, _ := told(old); ok {
			t.Fatal("it is in too soon")
		}
		g.leave()
		if ok, err := told(old); !ok || err != nil {
			t.Errorf("most places are free, and it is told %v, %v", ok, err)
		}
	})
}

// TestWhoLeavesTheGateTakesNoPlace ends the context of one that waits.
func TestWhoLeavesTheGateTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Now, lagOf(0))
		_ = g.enter(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		gone := waitAt(ctx, g)
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

// TestSoManyWaitAtMost fills the gate: the oldest is refused for the newest.
func TestSoManyWaitAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Now, lagOf(0))
		_ = g.enter(t.Context())
		first := waitAt(t.Context(), g)
		var all []chan error
		for range mostWaiting - 1 {
			all = append(all, waitAt(t.Context(), g))
		}
		if ok, _ := told(first); ok {
			t.Fatal("it is refused too soon")
		}
		all = append(all, waitAt(t.Context(), g))
		if ok, err := told(first); !ok || !errors.Is(err, refuseBusy) {
			t.Errorf("the oldest is told %v, %v", ok, err)
		}
		for _, a := range all {
			if err := <-a; !errors.Is(err, refuseBusy) {
				t.Fatalf("told %v", err)
			}
		}
		g.leave()
	})
}

// TestTheLimitFollowsTheProcessors lets goroutines wait for processors, and then not.
func TestTheLimitFollowsTheProcessors(t *testing.T) {
	lag := quickLag + 1
	now := time.Unix(0, 0)
	g := newGate(512, func() time.Time { return now }, func() time.Duration { return lag })
	stretch := func() {
		for range 400 {
			_ = g.arrive()
		}
		now = now.Add(gateStretch)
		_, inside, _ := g.state()
		for range inside {
			g.leave()
		}
		for g.newest != nil {
			g.giveUp(g.newest)
		}
	}
	if stretch(); g.limit > 400 || g.limit < 300 {
		t.Errorf("400 were in, and the limit becomes %d", g.limit)
	}
	for range 40 {
		stretch()
	}
	if g.limit != leastLimit {
		t.Errorf("processors are busy for long, and the limit is %d", g.limit)
	}
	lag = quickLag*3/4 + 1
	if stretch(); g.limit != leastLimit {
		t.Errorf("in between the limit becomes %d", g.limit)
	}
	lag = 0
	for range 60 {
		stretch()
	}
	if g.limit != 512 {
		t.Errorf("processors are idle, and the limit is %d", g.limit)
	}
	if small := newGate(2, time.Now, lagOf(0)); small.pace.judge(2, 2, time.Hour) != 2 {
		t.Error("the least limit is more than the most")
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
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%9)*80*time.Millisecond)
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
		if most.Load() != 3 || through.Load() < 30 || refused.Load() == 0 || through.Load()+refused.Load() != 400 {
			t.Errorf("at most %d in, %d through, %d refused", most.Load(), through.Load(), refused.Load())
		}
		if _, inside, waiting := g.state(); inside != 0 || waiting != 0 || g.oldest != nil {
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
	if newRunQueue().lag(); newRunQueue().sample[0].Name == "" {
		t.Error("the runtime is not asked")
	}
}
