package backtest

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Shadow is what a policy in shadow would have done differently, as it said at the time.
type Shadow struct {
	Version  uint32 `json:"version"`
	Crowd           // of the events that it judged
	FirstAt  int64  `json:"first_at,omitempty"` // unix seconds: the earliest and the latest of them
	LastAt   int64  `json:"last_at,omitempty"`
	Moves    []Move `json:"moves"` // decided so, and so in shadow; those that stay are among them
	Stricter Crowd  `json:"stricter"`
	Milder   Crowd  `json:"milder"`
}

// maxShadows bounds how many versions one report is about, since each takes memory of its own.
const maxShadows = 16

var errShadows = errors.New("backtest: a report needs a Log, 1 to 16 versions, and no Maturity below 0")

// Shadows reads what policies in shadow said from the log: nothing is judged again. Of the Config, only Log, Label, AsOf, Maturity, From,
// To and Progress count. A Move's Other is without a label that counts. It takes some megabytes for each version,
// however long the log is.
func Shadows(ctx context.Context, cfg Config, versions []uint32) ([]Shadow, error) {
	if cfg.Log == nil || cfg.Maturity < 0 || len(versions) == 0 || len(versions) > maxShadows {
		return nil, errShadows
	}
	all := make([]*shadowTally, len(versions))
	for i, v := range versions {
		all[i] = newShadowTally(v)
	}
	read := uint64(0)
	err := cfg.Log(ctx, func(e *record.Entry) error {
		if read++; read%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if cfg.Progress != nil {
				cfg.Progress(read)
			}
		}
		if !cfg.within(e.Time) {
			return nil
		}
		for i := range e.Shadows {
			if at := slices.Index(versions, e.Shadows[i].Policy); at >= 0 {
				if err := all[at].add(&cfg, e, &e.Shadows[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var reports []Shadow
	for _, t := range all {
		reports = append(reports, t.report())
	}
	return reports, nil
}

// shadowTally adds up what one policy said.
type shadowTally struct {
	version          uint32
	firstAt, lastAt  int64
	moves            [scoring.Block + 1][scoring.Block + 1]move
	judged           *crowd
	stricter, milder *crowd
}

// shadowRoom is how many phones each count of a report tells apart before it estimates.
const shadowRoom = 1 << 16

func newShadowTally(version uint32) *shadowTally {
	t := &shadowTally{version: version, firstAt: math.MaxInt64, lastAt: math.MinInt64, judged: newCrowd(), stricter: newCrowd(), milder: newCrowd()}
	t.judged.room, t.stricter.room, t.milder.room = shadowRoom, shadowRoom, shadowRoom
	return t
}

func (t *shadowTally) add(cfg *Config, e *record.Entry, s *record.Shadow) error {
	if e.Verdict < scoring.Allow || e.Verdict > scoring.Block || s.Decision < scoring.Allow || s.Decision > scoring.Block {
		return errDamaged
	}
	t.firstAt, t.lastAt = min(t.firstAt, e.Time), max(t.lastAt, e.Time)
	phone := e.Subjects[hashing.Phone]
	t.judged.add(phone.ID, phone.Given())
	switch {
	case s.Decision > e.Verdict:
		t.stricter.add(phone.ID, phone.Given())
	case s.Decision < e.Verdict:
		t.milder.add(phone.ID, phone.Given())
	}
	m := &t.moves[e.Verdict][s.Decision]
	label := cfg.label(e)
	switch {
	case e.Time > cfg.AsOf-int64(cfg.Maturity.Seconds()):
		m.other++
	case label == scoring.Abuse:
		m.abuse++
	case label == scoring.Legitimate:
		m.legitimate++
	default:
		m.other++
	}
	return nil
}

func (t *shadowTally) report() Shadow {
	r := Shadow{Version: t.version, Crowd: t.judged.crowd(), Moves: movesOf(&t.moves), Stricter: t.stricter.crowd(), Milder: t.milder.crowd()}
	if r.Events > 0 {
		r.FirstAt, r.LastAt = t.firstAt, t.lastAt
	}
	return r
}
