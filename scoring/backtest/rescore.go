package backtest

import (
	"context"

	"github.com/ringfence/ringfence/engine/record"
)

// Rescore judges the logged values of events by another policy. It stops with the context's
// error when that ends.
func Rescore(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	vs := newVersions(&cfg)
	scratch := make([]float64, cfg.Policy.Slots())
	return cfg.run(ctx, "rescore", func(e *record.Entry, r *Row) error {
		v, err := vs.of(ctx, e)
		switch {
		case err != nil:
			return err
		case v.policy == nil:
			r.State = Lost
		case len(v.unread) > 0:
			r.State = NotReplayable
		default:
			cfg.Policy.Judge(vs.values(v, e, scratch), e.ID.Draw(), r.New)
			vs.settle(v, r)
		}
		r.writer = v
		return nil
	})
}
