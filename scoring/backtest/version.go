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

// version is a policy that wrote part of the log, as the policy to try sees it.
type version struct {
	policy *scoring.Policy // nil: lost
	rules  []scoring.Rule  // of it
	from   []int           // by slot of the policy to try: the slot here, -1 where nothing was recorded
	same   bool            // from is 0, 1, 2, ...
	unread []string        // what the policy to try reads and nobody recorded
}

// versions finds the policy behind each entry.
type versions struct {
	cfg   *Config
	known map[uint32]*version
	last  *version // of lastN
	lastN uint32
	draft scoring.Verdict
}

func newVersions(cfg *Config) *versions { return &versions{cfg: cfg, known: map[uint32]*version{}} }

func (vs *versions) of(ctx context.Context, e *record.Entry) (*version, error) {
	if vs.last == nil || vs.lastN != e.Policy {
		v := vs.known[e.Policy]
		if v == nil {
			doc, ok, err := vs.cfg.Source(ctx, e.Policy)
			if err != nil {
				return nil, err
			}
			v = newVersion(doc, ok, vs.cfg.Policy)
			vs.known[e.Policy] = v
		}
		vs.last, vs.lastN = v, e.Policy
	}
	if v := vs.last; v.policy != nil && len(e.Values) != v.policy.Slots() {
		return nil, errDamaged
	}
	return vs.last, nil
}

// newVersion matches slots by what they measure: a signal of the same name and another window is
// another signal, and one by another name may be the same.
func newVersion(doc []byte, ok bool, to *scoring.Policy) *version {
	v := &version{from: make([]int, to.Slots()), same: true}
	if ok {
		if p, err := scoring.Compile(doc); err == nil { // one that no longer compiles is as good as lost
			v.policy, v.rules = p, p.Rules()
		}
	}
	reads := to.Reads()
	for slot := range v.from {
		v.from[slot] = slot
		if slot >= scoring.SlotSignals {
			v.from[slot] = v.find(to, slot)
		}
		v.same = v.same && v.from[slot] == slot
		if v.from[slot] < 0 && reads[slot] {
			v.unread = append(v.unread, to.SlotName(slot))
		}
	}
	v.same = v.same && v.policy != nil && v.policy.Slots() == to.Slots()
	return v
}

func (v *version) find(to *scoring.Policy, slot int) int {
	if v.policy == nil {
		return -1
	}
	signals := to.Signals()
	if i := slot - scoring.SlotSignals; i < len(signals) {
		at := slices.IndexFunc(v.policy.Signals(), func(s scoring.Signal) bool {
			s.Name = signals[i].Name
			return s == signals[i]
		})
		if at < 0 {
			return -1
		}
		return scoring.SlotSignals + at
	}
	at := slices.Index(v.policy.Lists(), to.Lists()[slot-scoring.SlotSignals-len(signals)])
	if at < 0 {
		return -1
	}
	return scoring.SlotSignals + len(v.policy.Signals()) + at
}

// values returns an entry's values by slot of the policy to try. into has room for them.
func (v *version) values(e *record.Entry, into []float64) []float64 {
	if v.same {
		return e.Values
	}
	for slot, from := range v.from {
		into[slot] = math.NaN()
		if from >= 0 {
			into[slot] = e.Values[from]
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
