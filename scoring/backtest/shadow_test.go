package backtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestShadowReport holds a report against plain loops over the log, at several bounds.
func TestShadowReport(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	w := newWorld(t, randomPolicy(t, r), "")
	for range 3 {
		v := &engine.PolicyVersion{Source: randomPolicy(t, r).Source(), Note: "made up"}
		_, err := w.engine.AddPolicy(t.Context(), v, nil)
		w.check(err)
		w.check(w.engine.Shadow(t.Context(), v.Version, true, engine.Change{Note: "try"}))
		w.live(r, 120)
	}
	for _, bounds := range []struct {
		from, to int64
		maturity time.Duration
	}{{}, {from: begin + 20_000}, {to: begin + 90_000, maturity: time.Hour}, {maturity: 30 * time.Hour}} {
		cfg := w.config(nil)
		cfg.From, cfg.To, cfg.Maturity = bounds.from, bounds.to, bounds.maturity
		got, err := Shadows(t.Context(), cfg, []uint32{2, 3, 4, 9})
		w.check(err)
		if len(got) != 4 || got[3].Events != 0 || len(got[3].Moves) != 0 || got[0].Events <= got[2].Events || got[0].Stricter.Events+got[0].Milder.Events == 0 {
			t.Fatalf("%+v: %+v", bounds, got)
		}
		for i := range got {
			if want := w.naiveShadow(&cfg, got[i].Version); !reflect.DeepEqual(got[i], want) {
				t.Errorf("%+v:\n%+v, want\n%+v", bounds, got[i], want)
			}
		}
	}
	for _, versions := range [][]uint32{nil, make([]uint32, maxShadows+1)} {
		if _, err := Shadows(t.Context(), w.config(nil), versions); err == nil {
			t.Errorf("%d versions", len(versions))
		}
	}
}

func (w *world) naiveShadow(cfg *Config, version uint32) Shadow {
	all, stricter, milder := map[hashing.Subject]int{}, map[hashing.Subject]int{}, map[hashing.Subject]int{}
	moves := map[string]*Move{}
	s := Shadow{Version: version, Moves: []Move{}}
	w.check(w.log(w.t.Context(), func(e *record.Entry) error {
		if cfg.From > 0 && e.Time < cfg.From || cfg.To > 0 && e.Time >= cfg.To {
			return nil
		}
		for _, said := range e.Shadows {
			if said.Policy != version {
				continue
			}
			if s.FirstAt == 0 || e.Time < s.FirstAt {
				s.FirstAt = e.Time
			}
			s.LastAt = max(s.LastAt, e.Time)
			phone := e.Subjects[hashing.Phone]
			all[phone]++
			if said.Decision > e.Verdict {
				stricter[phone]++
			}
			if said.Decision < e.Verdict {
				milder[phone]++
			}
			key := fmt.Sprint(e.Verdict, said.Decision)
			if moves[key] == nil {
				moves[key] = &Move{From: e.Verdict.String(), To: said.Decision.String()}
			}
			label := e.Outcome(scoring.Abuse).Kind
			switch {
			case label == 0 || e.Time+int64(cfg.Maturity.Seconds()) > cfg.AsOf:
				moves[key].Other++
			case label == scoring.Abuse:
				moves[key].Abuse++
			default:
				moves[key].Legitimate++
			}
		}
		return nil
	}))
	s.Crowd, s.Stricter, s.Milder = naiveCrowd(all), naiveCrowd(stricter), naiveCrowd(milder)
	for from := scoring.Allow; from <= scoring.Block; from++ {
		for to := scoring.Allow; to <= scoring.Block; to++ {
			if m := moves[fmt.Sprint(from, to)]; m != nil {
				s.Moves = append(s.Moves, *m)
			}
		}
	}
	return s
}

func naiveCrowd(events map[hashing.Subject]int) Crowd {
	var c Crowd
	given, most := 0, 0
	for phone, n := range events {
		c.Events += uint64(n)
		if phone.Given() {
			c.Numbers++
			given += n
			most = max(most, n)
		}
	}
	if given > 0 {
		c.Top = float64(most) / float64(given)
	}
	return c
}

// TestPublishingUnderLoad holds that every event is decided by one version, whichever was live, while policies are published, rolled back and
// run in shadow: each version, and each shadow, says again what it said.
func TestPublishingUnderLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	w := newWorld(t, randomPolicy(t, r), "")
	ctx := t.Context()
	var events []*engine.Event
	for range 400 {
		events = append(events, w.event(r))
	}
	for range 6 {
		_, err := w.engine.AddPolicy(ctx, &engine.PolicyVersion{Source: randomPolicy(t, r).Source(), Note: "made up"}, nil)
		w.check(err)
	}
	var wg sync.WaitGroup
	var left, rounds atomic.Int32
	left.Store(4)
	for client := range 4 {
		wg.Go(func() {
			defer left.Add(-1)
			var a engine.Assessment
			for i, ev := range events[client*100 : client*100+100] {
				for rounds.Load() < int32(i/25) { // so that versions follow one another among them
					runtime.Gosched()
				}
				if err := w.engine.Assess(ctx, ev, &a); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := uint32(0); left.Load() > 0; i++ {
			_, live := w.engine.Live()
			version := 2 + i%6
			change := engine.Change{Replaces: live, Note: "round and round"}
			for _, err := range []error{
				w.engine.Publish(ctx, version, change),
				w.engine.Shadow(ctx, 2+(i+3)%6, true, change),
				w.engine.Shadow(ctx, 2+(i+1)%6, false, change),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			rounds.Add(1)
		}
	})
	wg.Wait()
	judged := map[uint32]int{}
	for version := uint32(1); version <= 7; version++ {
		doc, _, err := w.source(ctx, version)
		w.check(err)
		cfg := w.config(compiled(t, string(doc)))
		cfg.Each = func(row *Row) error {
			e := row.Entry
			said := append([]record.Shadow{{Policy: e.Policy, Decision: e.Verdict, Score: e.Score, Holdout: e.Holdout}}, e.Shadows...)
			for _, s := range said {
				if s.Policy != version {
					continue
				}
				if judged[version]++; !row.Judged() || row.New.Decision != s.Decision || row.New.Score != s.Score || row.New.Holdout != s.Holdout {
					t.Errorf("version %d said %v %d and says %v %d", version, s.Decision, s.Score, row.New.Decision, row.New.Score)
				}
			}
			return nil
		}
		if got := rescored(t, cfg); got.Events != 400 {
			t.Errorf("%d events", got.Events)
		}
	}
	if len(judged) < 3 {
		t.Errorf("judged by version: %v", judged)
	}
}
