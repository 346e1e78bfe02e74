package engine

import (
	"slices"
	"sync/atomic"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// challenger is a policy in shadow: it judges every event that the live one decides about, and changes nothing.
type challenger struct {
	*scoring.Policy
	version uint32
	from    []int // by slot: the slot of the live policy, -1 where that has none
	moved   *moves
}

// moves counts events by what the live policy decided and what the one in shadow would have.
type moves [scoring.Block + 1][scoring.Block + 1]atomic.Uint64

// challenger prepares a policy to run beside another one. Where it ran before, its counts go on.
func (e *Engine) challenger(beside *livePolicy, p *scoring.Policy, version uint32) *challenger {
	c := &challenger{Policy: p, version: version, from: p.SlotsIn(beside.Policy), moved: new(moves)}
	if before := e.live.Load(); before != nil {
		for _, old := range before.shadows {
			if old.version == version {
				c.moved = old.moved
			}
		}
	}
	return c
}

// judge adds what the policy says of an event that the live one has judged.
func (c *challenger) judge(ev *Event, o *Observation, draw float64, a *Assessment) {
	i := len(a.Shadows)
	a.Shadows = slices.Grow(a.Shadows, 1)[:i+1]
	s := &a.Shadows[i]
	own := s.Values[:0]
	a.values = slices.Grow(a.values[:0], c.Slots())[:c.Slots()]
	for slot, from := range c.from {
		if from >= 0 {
			a.values[slot] = a.Values[from]
			continue
		}
		a.values[slot] = c.measure(ev, o, slot-scoring.SlotSignals)
		own = append(own, a.values[slot])
	}
	c.Judge(a.values, draw, &a.verdict)
	*s = record.Shadow{Policy: c.version, Decision: a.verdict.Decision, Score: a.verdict.Score, Holdout: a.verdict.Holdout, Values: own}
}

// measure returns the value of a signal or a list of the policy's own.
func (c *challenger) measure(ev *Event, o *Observation, i int) float64 {
	if signals := c.Signals(); i < len(signals) {
		return o.measure(&signals[i], record.TimeOf(ev.Time))
	}
	return flag(o.listed(c.Lists()[i-len(c.Signals())]))
}

// count adds a decision, and what the policies in shadow said, to their counts.
func (p *livePolicy) count(a *Assessment) {
	for i, s := range a.Shadows {
		p.shadows[i].moved[a.Decision][s.Decision].Add(1)
	}
}

// ShadowCount is how many events a policy in shadow judged in one way since the server started, or since
// its shadow began, whichever came later.
type ShadowCount struct {
	Version  uint32
	From, To scoring.Decision // of the live policy, and of this one
	Events   uint64
}

// ShadowCounts returns what policies in shadow have said so far, none that are 0.
func (e *Engine) ShadowCounts() []ShadowCount {
	var all []ShadowCount
	for _, c := range e.live.Load().shadows {
		for from := scoring.Allow; from <= scoring.Block; from++ {
			for to := scoring.Allow; to <= scoring.Block; to++ {
				if n := c.moved[from][to].Load(); n > 0 {
					all = append(all, ShadowCount{c.version, from, to, n})
				}
			}
		}
	}
	return all
}
