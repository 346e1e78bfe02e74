package backtest

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// errDamaged says that an entry does not fit the policy that wrote it.
var errDamaged = errors.New("backtest: an entry of the log cannot be what its policy wrote; check the store with: ringfence doctor")

// version is a policy that wrote part of the log, with those that ran in shadow, as the policy to try sees them.
type version struct {
	policy  *scoring.Policy // nil: lost
	rules   []scoring.Rule  // of it
	from    []int           // by slot of the policy to try: the position among all values of an entry, -1 where nothing was recorded
	same    bool            // from is 0, 1, 2, ..., and there are no shadows
	shadows []int           // how many values of each shadow an entry has
	unread  []string        // what the policy to try reads and nobody recorded
}

// writers are the versions that had a part in an entry: the one that decided, and those in shadow.
type writers [1 + record.MaxShadows]uint32

func writersOf(e *record.Entry) (w writers) {
	w[0] = e.Policy
	for i := range e.Shadows {
		w[1+i] = e.Shadows[i].Policy
	}
	return w
}

// versions finds the policies behind each entry.
type versions struct {
	cfg      *Config
	known    map[writers]*version
	compiled map[uint32]*scoring.Policy // nil: lost
	last     *version                   // of lastOf
	lastOf   writers
	all      []float64 // of the entry at hand, those of shadows too
	draft    scoring.Verdict
}

func newVersions(cfg *Config) *versions {
	return &versions{cfg: cfg, known: map[writers]*version{}, compiled: map[uint32]*scoring.Policy{}}
}

func (vs *versions) of(ctx context.Context, e *record.Entry) (*version, error) {
	if w := writersOf(e); vs.last == nil || vs.lastOf != w {
		v := vs.known[w]
		if v == nil {
			var err error
			if v, err = vs.meet(ctx, e); err != nil {
				return nil, err
			}
			vs.known[w] = v
		}
		vs.last, vs.lastOf = v, w
	}
	if !vs.last.fits(e) {
		return nil, errDamaged
	}
	return vs.last, nil
}

// fits reports whether an entry has as many values as its writers record.
func (v *version) fits(e *record.Entry) bool {
	if v.policy != nil && len(e.Values) != v.policy.Slots() {
		return false
	}
	for i := range e.Shadows {
		if len(e.Shadows[i].Values) != v.shadows[i] {
			return false
		}
	}
	return true
}

// policy returns a version of the policy, nil where it is gone. One that no longer compiles is as good as gone.
func (vs *versions) policy(ctx context.Context, n uint32) (*scoring.Policy, error) {
	if p, met := vs.compiled[n]; met {
		return p, nil
	}
	doc, ok, err := vs.cfg.Source(ctx, n)
	if err != nil {
		return nil, err
	}
	var p *scoring.Policy
	if ok {
		if c, err := scoring.Compile(doc); err == nil {
			p = c
		}
	}
	vs.compiled[n] = p
	return p, nil
}

// meet matches slots by what they measure: a signal of the same name and another window is
// another signal, and one by another name may be the same.
func (vs *versions) meet(ctx context.Context, e *record.Entry) (*version, error) {
	to := vs.cfg.Policy
	v := &version{from: slices.Repeat([]int{-1}, to.Slots())}
	for slot := range scoring.SlotSignals { // they are the same in every policy
		v.from[slot] = slot
	}
	var err error
	if v.policy, err = vs.policy(ctx, e.Policy); err != nil {
		return nil, err
	}
	if v.policy != nil {
		v.rules, v.from = v.policy.Rules(), to.SlotsIn(v.policy)
	}
	at := len(e.Values)
	for i := range e.Shadows {
		s := &e.Shadows[i]
		v.shadows = append(v.shadows, len(s.Values))
		p, err := vs.policy(ctx, s.Policy)
		if err != nil {
			return nil, err
		}
		if p != nil && v.policy != nil {
			if !v.takeShadow(to, p, at, len(s.Values)) {
				return nil, errDamaged
			}
		}
		at += len(s.Values)
	}
	v.same = v.policy != nil && v.policy.Slots() == to.Slots()
	reads := to.Reads()
	for slot, from := range v.from {
		v.same = v.same && from == slot
		if from < 0 && reads[slot] {
			v.unread = append(v.unread, to.SlotName(slot))
		}
	}
	return v, nil
}

// takeShadow finds slots among the n values that a policy in shadow recorded, from a position on. It reports whether the policy
// records so many.
func (v *version) takeShadow(to, shadow *scoring.Policy, at, n int) bool {
	position := make([]int, shadow.Slots()) // by slot of the shadow: where its own value stands, -1 where the writer has it
	own := 0
	for slot, in := range shadow.SlotsIn(v.policy) {
		position[slot] = -1
		if in < 0 {
			position[slot] = at + own
			own++
		}
	}
	for slot, in := range to.SlotsIn(shadow) {
		if v.from[slot] < 0 && in >= 0 {
			v.from[slot] = position[in]
		}
	}
	return own == n
}

// values returns an entry's values by slot of the policy to try. into has room for them.
func (vs *versions) values(v *version, e *record.Entry, into []float64) []float64 {
	if v.same {
		return e.Values
	}
	all := e.Values
	if len(e.Shadows) > 0 {
		all = append(vs.all[:0], e.Values...)
		for i := range e.Shadows {
			all = append(all, e.Shadows[i].Values...)
		}
		vs.all = all
	}
	for slot, from := range v.from {
		into[slot] = math.NaN()
		if from >= 0 {
			into[slot] = all[from]
		}
	}
	return into
}

// settle sets the state, label and weight of a row that was judged.
func (vs *versions) settle(v *version, r *Row) {
	e := r.Entry
	r.level = levelOf(r.New)
	r.Label = vs.cfg.label(e)
	if r.Label != scoring.Abuse && r.Label != scoring.Legitimate {
		r.Label = 0
	}
	share := 0.0
	if v.policy != nil {
		share = v.policy.Holdout()
	}
	switch {
	case share > 0 && e.Verdict == scoring.Block && vs.byScore(v, e):
		r.State = Represented
	case r.Label == 0:
		r.State = Unlabelled
	case e.Time > vs.cfg.AsOf-int64(vs.cfg.Maturity.Seconds()):
		r.State = Immature
	case share > 0 && e.Holdout:
		r.State, r.Weight = Counted, 1/share
	default:
		r.State, r.Weight = Counted, 1
	}
}

// byScore reports whether it was the score that the writer of an entry decided by.
func (vs *versions) byScore(v *version, e *record.Entry) bool {
	v.policy.Judge(e.Values, e.ID.Draw(), &vs.draft)
	return vs.draft.By == scoring.ByScore
}
