package backtest

import (
	"context"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// Replay counts everything again from the logged events, in the order of the log and by their own times,
// and judges each by what was counted. It stops with the context's error when that ends.
func Replay(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return cfg.replay(ctx, cfg.newCounter())
}

// replay is Replay, and leaves what was counted in c.
func (cfg *Config) replay(ctx context.Context, c *counter) (*Result, error) {
	vs := newVersions(cfg)
	logged := make([]float64, cfg.Policy.Slots())
	reads := cfg.Policy.Reads()
	return cfg.run(ctx, "replay", func(e *record.Entry, r *Row) error {
		v, err := vs.of(ctx, e)
		if err != nil {
			return err
		}
		if len(e.Values) < scoring.SlotSignals {
			return errDamaged
		}
		r.writer = v
		c.count(e, func(seen *engine.Observation, ev *engine.Event) scoring.Decision {
			fill(cfg.Policy, vs.values(v, e, logged), seen, ev, c.values)
			cfg.Policy.Judge(c.values, e.ID.Draw(), r.New)
			return r.New.Decision
		})
		if cfg.MaxSubjects > 0 && c.records.taken+c.told.waiting()+c.due.waiting() > cfg.MaxSubjects {
			return ErrTooManySubjects
		}
		if v.listless(cfg.Policy, reads) {
			r.State = NotReplayable
		} else {
			vs.settle(v, r)
		}
		return nil
	})
}

// fill measures all slots. What the records cannot tell comes from the log: what was learnt from the
// number, where the address is, and which lists were hit.
func fill(p *scoring.Policy, logged []float64, seen *engine.Observation, ev *engine.Event, values []float64) {
	seen.Fill(p, ev, values)
	for _, slot := range []int{
		scoring.SlotNumberValid, scoring.SlotNumberRegion, scoring.SlotNumberType, scoring.SlotIPCountry, scoring.SlotListDeny, scoring.SlotListAllow,
	} {
		values[slot] = logged[slot]
	}
	lists := p.Slots() - len(p.Lists())
	copy(values[lists:], logged[lists:])
}

// listless reports whether the policy reads a list that was not recorded.
func (v *version) listless(p *scoring.Policy, reads []bool) bool {
	for slot := len(v.from) - len(p.Lists()); slot < len(v.from); slot++ {
		if reads[slot] && v.from[slot] < 0 {
			return true
		}
	}
	return false
}

// region is the inverse of scoring.RegionCode for countries of two letters.
func region(code float64) string {
	if code < 256 || code != code {
		return ""
	}
	return string([]byte{byte(int(code) >> 8), byte(int(code))}) //nolint:gosec // two letters
}
