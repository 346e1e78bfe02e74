package pebblestore

import (
	"testing"
	"time"
)

// loop is callers in a closed loop, in made-up time: a sync takes as long whatever it holds, each caller that a sync
// lets through works for a while on one of two processors and comes again, and each sync takes some
// of that from them.
type loop struct {
	callers int
	work    time.Duration // of a caller, from one wait to the next
	sync    time.Duration
	cost    time.Duration // of a sync, in work that the processors do not get done
}

// run lets a pacer decide about syncs for a while, and returns the share of them after which it rested, the longest rest, and
// how many callers a second came through.
func (l loop) run(p *pacer, syncs int) (rested float64, longest time.Duration, rate float64) {
	now, came := time.Unix(0, 0), 0.0
	start, batch, waiting, working := now, 0.0, 0.0, float64(l.callers)
	for range syncs {
		rest := p.rest(now, uint64(came), uint64(waiting+batch))
		if longest = max(longest, rest); rest > 0 {
			rested++
		}
		pass := func(d, lost time.Duration) { // time goes by and callers come to wait
			now = now.Add(d)
			done := min(max(2*float64(d-lost)/float64(l.work), 0), working)
			came, waiting, working = came+done, waiting+done, working-done
		}
		pass(rest, 0)
		batch = waiting
		pass(l.sync, l.cost)
		waiting, working = waiting-batch, working+batch
	}
	return rested / float64(syncs), longest, came / now.Sub(start).Seconds()
}

func TestPacerTakesTheBetterWay(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name string
		loop
		rests bool
	}{
		{"over HTTP", loop{callers: 64, work: 60 * us, sync: 200 * us, cost: 100 * us}, true},
		{"over HTTP, many", loop{callers: 256, work: 60 * us, sync: 200 * us, cost: 100 * us}, true},
		{"in process", loop{callers: 64, work: 8 * us, sync: 200 * us, cost: 20 * us}, false},
		{"syncs that cost nothing", loop{callers: 64, work: 60 * us, sync: 200 * us}, false},
	} {
		rested, longest, rate := c.run(new(pacer), 100_000)
		if (rested > 0.9) != c.rests || (rested < 0.1) == c.rests {
			t.Errorf("%s: rested after %.0f %% of the syncs", c.name, 100*rested)
		}
		if longest > c.sync+minRest {
			t.Errorf("%s: rested %v, a sync takes %v", c.name, longest, c.sync)
		}
		if always, never := c.always(true), c.always(false); rate < 0.97*max(always, never) {
			t.Errorf("%s: %.0f a second; %.0f with a rest, %.0f without", c.name, rate, always, never)
		}
	}
}

// always is the rate with a pacer that never changes its mind.
func (l loop) always(resting bool) float64 {
	p := &pacer{resting: resting, sync: l.sync, syncs: 1 << 30}
	_, _, rate := l.run(p, 20_000)
	return rate
}

func TestFewNeverRest(t *testing.T) {
	p := &pacer{resting: true, sync: time.Millisecond, syncs: stretch}
	for waiting := range uint64(crowd) {
		if d := p.rest(time.Unix(1, 0), 100, waiting); d != 0 {
			t.Errorf("%d callers rest %v", waiting, d)
		}
	}
	slow := &pacer{resting: true, sync: time.Minute, syncs: stretch}
	if d := slow.rest(time.Unix(1, 0), 100, crowd); d != maxRest {
		t.Errorf("on a slow disk callers rest %v", d)
	}
}

// TestPacerChangesItsMind holds that a load that changes is noticed, however long the one before went on.
func TestPacerChangesItsMind(t *testing.T) {
	const us = time.Microsecond
	overHTTP := loop{callers: 64, work: 60 * us, sync: 200 * us, cost: 100 * us}
	inProcess := loop{callers: 64, work: 8 * us, sync: 200 * us, cost: 20 * us}
	p := new(pacer)
	for range 2 {
		overHTTP.run(p, 200_000)
		if p.syncs = 0; !p.resting && !p.trial {
			t.Error("no rest over HTTP")
		}
		inProcess.run(p, 200_000)
		if p.syncs = 0; p.resting && !p.trial {
			t.Error("a rest in process")
		}
	}
}
