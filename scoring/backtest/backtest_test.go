package backtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// rescored runs both the test's own eyes and the result over a log.
func rescored(t testing.TB, cfg Config) *Result {
	t.Helper()
	r, err := Rescore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func replayed(t testing.TB, cfg Config) *Result {
	t.Helper()
	r, err := Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// same fails when a row differs from what was decided live.
func (w *world) same(policy *scoring.Policy) func(*Row) error {
	rules := policy.Rules()
	return func(r *Row) error {
		e := r.Entry
		var codes, said []string
		for _, f := range r.New.Fired {
			codes = append(codes, fmt.Sprintf("%s %d", rules[f.Rule].Code, f.Points))
		}
		for _, code := range w.said[e.ID] {
			if !strings.HasSuffix(code, " 0") { // those that decide alone, and lists
				said = append(said, code)
			}
		}
		slices.Sort(codes)
		slices.Sort(said)
		if r.New.Decision != e.Verdict || r.New.Score != e.Score || r.New.Holdout != e.Holdout || !slices.Equal(codes, said) {
			w.t.Errorf("%s was %v %d %v, is %v %d %v: %v", e.ID, e.Verdict, e.Score, said, r.New.Decision, r.New.Score, codes, e.Kind)
			return errors.New("stop at the first")
		}
		return nil
	}
}

// TestRescoringFlipsNothing holds for random policies, several in one log, that each would decide
// again as it did, also after a restart, from a backup, and whatever lists did meanwhile.
func TestRescoringFlipsNothing(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		r := rand.New(rand.NewPCG(seed, 0))
		policies := []*scoring.Policy{randomPolicy(t, r)}
		w := newWorld(t, policies[0], t.TempDir())
		for i := range 3 {
			if i > 0 {
				policies = append(policies, randomPolicy(t, r))
				if i == 1 {
					w.check(w.engine.SetPolicy(t.Context(), policies[i]))
				} else {
					w.restart(policies[i])
				}
			}
			w.list([]string{"bad", "deny", "allow"}[i], i)
			w.live(r, 150)
		}
		w.restore()
		w.live(r, 20)
		for i, p := range policies {
			cfg := w.config(p)
			cfg.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
				return w.log(ctx, func(e *record.Entry) error {
					if e.Policy != uint32(i+1) {
						return nil
					}
					return fn(e)
				})
			}
			cfg.Each = w.same(p)
			if got := rescored(t, cfg); got.Events < 150 || got.Stricter.Events+got.Milder.Events != 0 || got.States["not_replayable"] != 0 {
				t.Fatalf("seed %d, version %d: %+v", seed, i+1, got)
			}
		}
	}
}

// TestRescoringShadowsFlipsNothing holds that what policies in shadow said is what they say again about the values that were logged, their
// own signals included, whichever came and went, across restarts.
func TestRescoringShadowsFlipsNothing(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		r := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t, randomPolicy(t, r), t.TempDir())
		policies := map[uint32]*scoring.Policy{}
		for range 5 {
			p := randomPolicy(t, r)
			v := &engine.PolicyVersion{Source: p.Source(), Note: "made up"}
			_, err := w.engine.AddPolicy(t.Context(), v, nil)
			w.check(err)
			policies[v.Version] = p
		}
		w.list("bad", 0)
		versions := slices.Sorted(maps.Keys(policies))
		for i, version := range versions[:4] {
			w.check(w.engine.Shadow(t.Context(), version, true, engine.Change{Note: "try"}))
			w.live(r, 40)
			if i == 1 {
				w.reopen()
			}
		}
		_, live := w.engine.Live()
		w.check(w.engine.Publish(t.Context(), versions[1], engine.Change{Replaces: live, Note: "from shadow to live"}))
		w.check(w.engine.Shadow(t.Context(), versions[4], true, engine.Change{Note: "the last"}))
		w.live(r, 60)
		w.reopen()
		for version, p := range policies {
			cfg := w.config(p)
			judged := 0
			cfg.Each = func(row *Row) error {
				said := row.Entry.Policy == version
				decision, score, holdout := row.Entry.Verdict, row.Entry.Score, row.Entry.Holdout
				for _, s := range row.Entry.Shadows {
					if s.Policy == version {
						said, decision, score, holdout = true, s.Decision, s.Score, s.Holdout
					}
				}
				if said && (!row.Judged() || row.New.Decision != decision || row.New.Score != score || row.New.Holdout != holdout) {
					t.Errorf("seed %d, version %d said %v %d %v and says %v %d %v", seed, version, decision, score, holdout, row.New.Decision, row.New.Score, row.New.Holdout)
				}
				if said {
					judged++
				}
				return nil
			}
			if got := rescored(t, cfg); judged < 60 || got.Events < 220 {
				t.Errorf("seed %d, version %d: it judged %d of %d", seed, version, judged, got.Events)
			}
		}
	}
}

// TestReplayDecidesAsLive holds for random policies that counting all over again comes to the same
// decisions, by the same points, as the store came to.
func TestReplayDecidesAsLive(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		p := randomPolicy(t, r)
		w := newWorld(t, p, "")
		if seed%3 == 0 {
			w.past = 200 * 86400                                  // an import of events so old that every subject is idle at each; lists would keep theirs
			w.keep = time.Duration(seed%6) * 150 * 24 * time.Hour // but for half of them it is not
			w.restart(p)
		} else {
			w.listSome()
		}
		w.live(r, 500)
		cfg := w.config(p)
		cfg.Each = w.same(p)
		if got := replayed(t, cfg); got.Events < 500 || len(got.Moves) == 0 || got.Stricter.Events+got.Milder.Events != 0 {
			t.Fatalf("seed %d: %+v", seed, got)
		}
	}
}

// TestReplayDecidesAsLiveAcrossRotations is the same with keys that change in between: the log names everybody as they are by now.
func TestReplayDecidesAsLiveAcrossRotations(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		r := rand.New(rand.NewPCG(seed, 11))
		p := randomPolicy(t, r)
		w := newWorld(t, p, "")
		w.listSome()
		for key := byte(2); key <= 4; key++ {
			w.live(r, 150)
			w.rotate(key)
		}
		w.live(r, 150) // enough for each of the few to be seen again
		cfg := w.config(p)
		cfg.Each = w.same(p)
		if got := replayed(t, cfg); got.Events < 600 || len(got.Moves) == 0 || got.Stricter.Events+got.Milder.Events != 0 {
			t.Fatalf("seed %d: %+v", seed, got)
		}
		if got := rescored(t, cfg); got.Stricter.Events+got.Milder.Events != 0 {
			t.Fatalf("seed %d: rescored %+v", seed, got)
		}
	}
}

// TestReplayTriesNewSignals holds that replay counts what was never recorded, and rescore says
// that it cannot.
func TestReplayTriesNewSignals(t *testing.T) {
	old := compiled(t, "name: old\nsignals: {n: {subject: phone, count: signup, window: 1h}}\nscore: [{code: N, signal: n, points: {2: 50}}]\ndecisions: {block: 50}")
	w := newWorld(t, old, "")
	for range 4 {
		w.at += 5000
		ev := w.event(rand.New(rand.NewPCG(4, 4)))
		ev.Kind, ev.Verified = scoring.Signup, false
		w.assess(ev)
	}
	tried := compiled(t, strings.ReplaceAll(string(old.Source()), "window: 1h", "window: 1d"))
	if got := rescored(t, w.config(tried)); got.States["not_replayable"] != 4 || got.NotReplayable["n"] != 4 || got.Crowd.Events != 0 || len(got.Moves) != 0 {
		t.Errorf("another window by the same name was made up: %+v", got)
	}
	renamed := compiled(t, strings.NewReplacer("n: {", "m: {", "signal: n", "signal: m", "{n", "{m").Replace(string(old.Source())))
	if got := rescored(t, w.config(renamed)); got.States["not_replayable"] != 0 || got.Crowd.Events != 4 {
		t.Errorf("the same signal by another name: %+v", got)
	}
	unused := compiled(t, strings.Replace(string(old.Source()), "{n:", "{k: {subject: ip, count: signup, window: 1h}, n:", 1))
	if got := rescored(t, w.config(unused)); got.States["not_replayable"] != 0 {
		t.Errorf("a signal that no rule reads: %+v", got)
	}
	var scores []int
	cfg := w.config(tried)
	cfg.Each = func(r *Row) error {
		scores = append(scores, r.New.Score)
		return nil
	}
	if got := replayed(t, cfg); !slices.Equal(scores, []int{0, 50, 50, 50}) || got.Stricter.Events != 3 {
		t.Errorf("counted again: %v, %+v", scores, got.Stricter)
	}
	listed := compiled(t, "name: l\nscore: [{code: L, when: list.bad, points: 50}]\ndecisions: {block: 50}")
	if got := replayed(t, w.config(listed)); got.NotReplayable["list.bad"] != 4 || got.States["not_replayable"] != 4 {
		t.Errorf("a list that nobody asked about: %+v", got)
	}
}

// TestResultRepeats holds that the digest stands for all that went in.
func TestResultRepeats(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	p := randomPolicy(t, r)
	w := newWorld(t, p, "")
	w.live(r, 200)
	base := w.config(moved(t, p, 7))
	first := rescored(t, base)
	if again := rescored(t, base); !reflect.DeepEqual(first, again) {
		t.Error("two runs differ")
	}
	seen := map[string]string{first.Digest: "the first"}
	for name, change := range map[string]func(*Config){
		"policy": func(c *Config) { c.Policy = moved(t, p, 8) }, "seed": func(c *Config) { c.Seed++ }, "as of": func(c *Config) { c.AsOf -= 3600 },
		"maturity": func(c *Config) { c.Maturity = time.Hour }, "from": func(c *Config) { c.From = begin + 1 }, "to": func(c *Config) { c.To = w.at },
		"labels": func(c *Config) { c.Label = func(*record.Entry) scoring.Event { return scoring.Abuse } },
	} {
		cfg := base
		change(&cfg)
		got := rescored(t, cfg)
		if other := seen[got.Digest]; other != "" {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[got.Digest] = name
	}
	w.live(r, 1)
	if got := rescored(t, base); seen[got.Digest] != "" {
		t.Error("one event more has the digest of", seen[got.Digest])
	}
}

// TestDigestSeesEveryEvent holds that a digest tells apart logs that differ in one event, though it is decided the same, and
// those whose writers differ in what the result says of them.
func TestDigestSeesEveryEvent(t *testing.T) {
	const n, m = "n: {subject: phone, count: signup, window: 1h}", "m: {subject: phone, count: signup, window: 2h}"
	const decisions = "\ndecisions: {block: 50}"
	doc := "name: p\nsignals: {" + n + ", " + m + "}\nscore: [{code: N, signal: n, points: {2: 50}}, {code: M, signal: m, points: {2: 50, 3: 50}}]" + decisions
	tried := compiled(t, doc)
	points := compiled(t, strings.Replace(doc, "{2: 50}", "{2: 20}", 1))
	onlyN := compiled(t, "name: p\nsignals: {"+n+"}\nscore: [{code: N, signal: n, points: {2: 50}}]"+decisions)
	onlyM := compiled(t, "name: p\nsignals: {"+m+"}\nscore: [{code: M, signal: m, points: {2: 50}}]"+decisions)
	seen := map[string]string{}
	for name, c := range map[string]struct {
		writer *scoring.Policy
		change func(*record.Entry)
	}{
		"as it is":         {tried, func(*record.Entry) {}},
		"time":             {tried, func(e *record.Entry) { e.Time++ }},
		"phone":            {tried, func(e *record.Entry) { e.Subjects[hashing.Phone] = someSubject(hashing.Phone, 2) }},
		"no phone":         {tried, func(e *record.Entry) { e.Subjects[hashing.Phone] = hashing.Subject{} }},
		"another rule":     {tried, func(e *record.Entry) { swap(e.Values[scoring.SlotSignals:]) }},
		"another step":     {tried, func(e *record.Entry) { swap(e.Values[scoring.SlotSignals:]); e.Values[scoring.SlotSignals+1]++ }},
		"points it had":    {points, func(*record.Entry) {}},
		"m not recorded":   {onlyN, func(*record.Entry) {}},
		"n not recorded":   {onlyM, func(*record.Entry) {}},
		"the score it had": {tried, func(e *record.Entry) { e.Score++ }},
	} {
		e := record.Entry{Kind: scoring.Signup, ID: made(t, 1)[0], Time: begin, Policy: 1, Verdict: scoring.Allow, Values: make([]float64, c.writer.Slots())}
		e.Subjects[hashing.Phone] = someSubject(hashing.Phone, 1)
		e.Values[scoring.SlotSignals] = 2
		c.change(&e)
		got := rescored(t, lone(&e, c.writer, tried))
		if other := seen[got.Digest]; other != "" {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[got.Digest] = name
	}
}

// lone is a test on one event.
func lone(e *record.Entry, writer, tried *scoring.Policy) Config {
	return Config{
		Policy: tried, AsOf: begin + 1, Examples: 1,
		Log:    func(_ context.Context, fn func(*record.Entry) error) error { return fn(e) },
		Source: func(context.Context, uint32) ([]byte, bool, error) { return writer.Source(), true, nil },
	}
}

// TestFlipsSayWhy holds that a flip shows the reasons whose points changed or, where none did, all that make up its score.
func TestFlipsSayWhy(t *testing.T) {
	live := compiled(t, "name: p\nscore: [{code: A, when: phone_verified, points: 30}, {code: B, when: account_linked, points: 20}]\ndecisions: {block: 60}")
	for _, c := range []struct {
		edits  []scoring.Edit
		why    []string
		behind []Behind
	}{
		{[]scoring.Edit{{Decision: scoring.Block, To: 50}}, []string{"A +30", "B +20"}, []Behind{}},
		{[]scoring.Edit{{Code: "B", To: 40}}, []string{"B +40 was +20"}, []Behind{{"B", 1}}},
	} {
		doc, err := live.Edited(c.edits)
		if err != nil {
			t.Fatal(err)
		}
		e := record.Entry{Kind: scoring.Signup, ID: made(t, 1)[0], Time: begin, Policy: 1, Verdict: scoring.Allow, Score: 50, Values: make([]float64, live.Slots())}
		for slot := range e.Values {
			if name := live.SlotName(slot); name == "phone_verified" || name == "account_linked" {
				e.Values[slot] = 1
			}
		}
		got := rescored(t, lone(&e, live, compiled(t, string(doc))))
		if side := got.Stricter; len(side.Examples) != 1 || !slices.Equal(side.Examples[0].Reasons, c.why) || !slices.Equal(side.Reasons, c.behind) {
			t.Errorf("%+v, want %v by %v", side, c.why, c.behind)
		}
	}
}

// swap swaps the first two values.
func swap(values []float64) { values[0], values[1] = values[1], values[0] }

// moved is a policy that blocks from another score on, and does nothing else.
func moved(t testing.TB, p *scoring.Policy, block int) *scoring.Policy {
	t.Helper()
	doc := string(p.Source())
	at := strings.Index(doc, "decisions:")
	return compiled(t, doc[:at]+fmt.Sprintf("decisions: {block: %d}", block))
}

func TestRunStops(t *testing.T) {
	w := newWorld(t, scoring.Default(), "")
	w.live(rand.New(rand.NewPCG(1, 1)), 3)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := w.config(scoring.Default())
	log := cfg.Log
	cfg.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
		for { // without an end
			if err := log(context.WithoutCancel(ctx), fn); err != nil {
				return err
			}
		}
	}
	last := uint64(0)
	cfg.Progress = func(n uint64) {
		if last = n; n >= 3*progressEvery {
			cancel()
		}
	}
	if _, err := Rescore(ctx, cfg); !errors.Is(err, context.Canceled) || last > 4*progressEvery {
		t.Errorf("%v after %d", err, last)
	}
	if _, err := Rescore(t.Context(), Config{}); !errors.Is(err, errConfig) {
		t.Errorf("an empty Config: %v", err)
	}
	damaged := w.config(scoring.Default())
	damaged.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
		return w.log(ctx, func(e *record.Entry) error {
			e.Values = e.Values[1:]
			return fn(e)
		})
	}
	for _, run := range []func(context.Context, Config) (*Result, error){Rescore, Replay} {
		if _, err := run(t.Context(), damaged); !errors.Is(err, errDamaged) {
			t.Errorf("damaged: %v", err)
		}
	}
	lost := w.config(scoring.Default())
	lost.Source = func(context.Context, uint32) ([]byte, bool, error) { return nil, false, nil }
	if got := rescored(t, lost); got.States["lost"] != 3 || got.Crowd.Events != 0 {
		t.Errorf("without the policy that wrote it: %+v", got)
	}
}

var _ Log = (&world{}).log
