package backtest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// plain is a row as plainly as can be.
type plain struct {
	phone           hashing.Subject
	old, now        scoring.Decision
	oldScore, score int
	level           int
	state           State
	abuse           bool
	weight          float64
	points          map[string]int // by "CODE step"
	total           int
}

// rowsOf runs a backtest and keeps every row.
func rowsOf(t *testing.T, run func(context.Context, Config) (*Result, error), cfg Config) ([]plain, *Result) {
	t.Helper()
	var rows []plain
	rules := cfg.Policy.Rules()
	cfg.Each = func(r *Row) error {
		p := plain{
			phone: r.Entry.Subjects[hashing.Phone], old: r.Entry.Verdict, now: r.New.Decision, oldScore: r.Entry.Score, score: r.New.Score,
			level: r.Level(), state: r.State, abuse: r.Label == scoring.Abuse, weight: r.Weight, points: map[string]int{},
		}
		for _, f := range r.New.Fired {
			p.points[fmt.Sprintf("%s %d", rules[f.Rule].Code, f.Step)] = f.Points
			p.total += f.Points
		}
		rows = append(rows, p)
		return nil
	}
	result, err := run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return rows, result
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// share is a rate and its interval by the textbook.
func sameRate(got Rate, part, all float64, squares float64, labels int) bool {
	if labels == 0 {
		return !got.Known()
	}
	p, n, z := part/all, all*all/squares, 1.959963984540054
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return near(got.Share, p) && near(got.Low, max(0, centre-half)) && near(got.High, min(1, centre+half)) && got.Labels == uint64(labels)
}

// TestFiguresEqualNaiveOnes recomputes every figure from the rows by plain loops: for random
// policies with holdouts, immature and unknown labels.
func TestFiguresEqualNaiveOnes(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		r := rand.New(rand.NewPCG(seed, 99))
		live := randomPolicy(t, r)
		w := newWorld(t, live, "")
		w.list("deny", 1)
		w.list("allow", 2)
		w.live(r, 600)
		doc, err := live.Edited([]scoring.Edit{{Decision: scoring.Block, To: live.Threshold(scoring.Block) + 5}, {Code: live.Rules()[0].Code, To: 33}})
		if err != nil {
			t.Fatal(err)
		}
		cfg := w.config(compiled(t, string(doc)))
		cfg.Maturity = 8 * time.Hour
		cfg.Label = func(e *record.Entry) scoring.Event {
			return []scoring.Event{0, scoring.Abuse, scoring.Abuse, scoring.Legitimate, scoring.Legitimate}[int(e.ID[15])%5]
		}
		for _, run := range []func(context.Context, Config) (*Result, error){Rescore, Replay} {
			rows, got := rowsOf(t, run, cfg)
			checkCurve(t, rows, got)
			checkCosts(t, rows, got)
			checkStates(t, rows, got)
			checkReasons(t, rows, got, cfg.Policy)
			checkMoves(t, rows, got)
			checkCalibration(t, rows, got)
		}
	}
}

func checkCurve(t *testing.T, rows []plain, got *Result) {
	t.Helper()
	area, recall := 0.0, 0.0
	for at := 100; at >= 0; at-- {
		var tp, fp, fn, tn, tp2, fp2, fn2, tn2 float64
		var ntp, nfp, nfn, ntn, events int
		for _, r := range rows {
			acted := r.level >= at
			if acted {
				events++
			}
			w := r.weight
			switch {
			case r.state != Counted:
			case acted && r.abuse:
				tp, tp2, ntp = tp+w, tp2+w*w, ntp+1
			case acted:
				fp, fp2, nfp = fp+w, fp2+w*w, nfp+1
			case r.abuse:
				fn, fn2, nfn = fn+w, fn2+w*w, nfn+1
			default:
				tn, tn2, ntn = tn+w, tn2+w*w, ntn+1
			}
		}
		p := got.Curve[at]
		if p.Threshold != at || p.Events != uint64(events) || !near(p.TP, tp) || !near(p.FP, fp) || !near(p.FN, fn) || !near(p.TN, tn) ||
			!sameRate(p.Precision, tp, tp+fp, tp2+fp2, ntp+nfp) || !sameRate(p.Recall, tp, tp+fn, tp2+fn2, ntp+nfn) ||
			!sameRate(p.FPR, fp, fp+tn, fp2+tn2, nfp+ntn) || !near(p.Cost(2, 3), 2*fp+3*fn) {
			t.Fatalf("at %d: %+v", at, p)
		}
		if ntp+nfp > 0 && ntp+nfn > 0 {
			area += tp / (tp + fp) * (tp/(tp+fn) - recall)
			recall = tp / (tp + fn)
		}
	}
	if !near(got.AveragePrecision, area) {
		t.Errorf("average precision %v, want %v", got.AveragePrecision, area)
	}
}

// checkCosts prices every threshold by what each row costs there.
func checkCosts(t *testing.T, rows []plain, got *Result) {
	t.Helper()
	digest := got.Digest
	got.Price(2.5, 7)
	var costs [101]float64
	for at := range costs {
		for _, r := range rows {
			switch acted := r.level >= at; {
			case r.state != Counted:
			case acted && !r.abuse:
				costs[at] += 2.5 * r.weight
			case !acted && r.abuse:
				costs[at] += 7 * r.weight
			}
		}
		if p := got.Curve[at]; p.Loss == nil || !near(*p.Loss, costs[at]) {
			t.Fatalf("at %d: %v, want %v", at, p.Loss, costs[at])
		}
	}
	for _, d := range got.Decisions {
		if d.Loss == nil || !near(*d.Loss, costs[d.Threshold]) {
			t.Errorf("%s: %v, want %v", d.Decision, d.Loss, costs[d.Threshold])
		}
	}
	low, high := 0, 0
	for at := 1; at <= 100; at++ {
		switch {
		case low == 0 || costs[at] < costs[low] && !near(costs[at], costs[low]):
			low, high = at, at
		case near(costs[at], costs[low]) && high == at-1:
			high = at
		}
	}
	best := got.Costs.Cheapest
	if best == nil || best.Threshold != low || best.To != high || !near(best.Cost, costs[low]) || got.Costs.FP != 2.5 || got.Costs.FN != 7 || got.Digest != digest {
		t.Errorf("%+v, want %d to %d for %v", best, low, high, costs[low])
	}
	for _, p := range append(got.Around(3, 2.5, 7), got.Around(98, 2.5, 7)...) {
		if p.Threshold < 1 || p.Threshold > 100 || !near(p.Cost, costs[p.Threshold]) {
			t.Errorf("%+v, want %v", p, costs[p.Threshold])
		}
	}
}

func checkStates(t *testing.T, rows []plain, got *Result) {
	t.Helper()
	states := map[State]uint64{}
	phones := map[hashing.Subject]uint64{}
	events, abuse, legitimate, top := uint64(0), uint64(0), uint64(0), uint64(0)
	for _, r := range rows {
		states[r.state]++
		if r.phone.Given() {
			events++
			phones[r.phone]++
			top = max(top, phones[r.phone])
		}
		if r.state == Counted && r.abuse {
			abuse++
		} else if r.state == Counted {
			legitimate++
		}
	}
	for s := Counted; s < Lost; s++ {
		if got.States[s.String()] != states[s] {
			t.Errorf("%s: %d, want %d", s, got.States[s.String()], states[s])
		}
	}
	if states[Counted] == 0 || states[Unlabelled] == 0 || states[Immature] == 0 {
		t.Errorf("nothing to see: %v", states)
	}
	if got.Events != uint64(len(rows)) || got.Abuse != abuse || got.Legitimate != legitimate ||
		got.Crowd != (Crowd{Events: uint64(len(rows)), Numbers: uint64(len(phones)), Top: float64(top) / float64(events)}) {
		t.Errorf("%d %d %d %+v", got.Events, got.Abuse, got.Legitimate, got.Crowd)
	}
}

func checkReasons(t *testing.T, rows []plain, got *Result, p *scoring.Policy) {
	t.Helper()
	var allAbuse, all float64
	for _, r := range rows {
		if r.state == Counted {
			all += r.weight
			if r.abuse {
				allAbuse += r.weight
			}
		}
	}
	for _, row := range got.Reasons {
		name := fmt.Sprintf("%s %d", row.Code, row.Step)
		var hits, abuse, legitimate int
		var a, both, squares float64
		change := map[scoring.Decision][2]float64{}
		for _, r := range rows {
			points, fired := r.points[name]
			if !fired {
				continue
			}
			hits++
			if r.state != Counted {
				continue
			}
			both, squares = both+r.weight, squares+r.weight*r.weight
			kind := 1
			if r.abuse {
				abuse, kind = abuse+1, 0
				a += r.weight
			} else {
				legitimate++
			}
			left := min(max(r.total-points, 0), 100)
			for d := scoring.Challenge; d <= scoring.Block && r.level != Never && r.level != Always; d++ {
				c := change[d]
				if r.score >= p.Threshold(d) {
					c[kind] -= r.weight
				}
				if left >= p.Threshold(d) {
					c[kind] += r.weight
				}
				change[d] = c
			}
		}
		if row.Hits != uint64(hits) || row.Abuse != uint64(abuse) || row.Legitimate != uint64(legitimate) || !sameRate(row.Precision, a, both, squares, abuse+legitimate) {
			t.Errorf("%s: %+v", name, row)
		}
		for i, c := range row.Without {
			if want := change[scoring.Challenge+scoring.Decision(i)]; !near(c.Abuse, want[0]) || !near(c.Legitimate, want[1]) {
				t.Errorf("%s without: %+v, want %v", name, c, want)
			}
		}
		checkSuggestion(t, row, allAbuse/all, p.Threshold(scoring.Block))
		checkWith(t, row, rows)
	}
}

func checkSuggestion(t *testing.T, row ReasonRow, base float64, full int) {
	t.Helper()
	n := float64(row.Abuse + row.Legitimate)
	if (row.Suggested == nil) != (n < 20) {
		t.Errorf("%s: a suggestion from %v labels: %v", row.Code, n, row.Suggested)
	}
	if row.Suggested == nil {
		return
	}
	worth := (row.Precision.Share - base) / (1 - base)
	if worth < 0 {
		worth = (row.Precision.Share - base) / base
	}
	if want := int(math.Round((n*worth*float64(full) + 100*float64(row.Points)) / (n + 100))); *row.Suggested != want {
		t.Errorf("%s: suggests %d, want %d", row.Code, *row.Suggested, want)
	}
}

func checkWith(t *testing.T, row ReasonRow, rows []plain) {
	t.Helper()
	fires := func(r plain, code string) bool {
		for name := range r.points {
			if len(name) == len(code)+2 && name[:len(code)] == code {
				return true
			}
		}
		return false
	}
	together := map[string]uint64{}
	for _, r := range rows {
		if !fires(r, row.Code) {
			continue
		}
		for name := range r.points {
			if other := name[:len(name)-2]; other != row.Code {
				together[other]++
			}
		}
	}
	counts := slices.Collect(maps.Values(together))
	sort.Slice(counts, func(i, j int) bool { return counts[i] > counts[j] })
	if len(row.With) != min(3, len(counts)) {
		t.Errorf("%s with %v of %v", row.Code, row.With, together)
	}
	for i, with := range row.With {
		if with.Events != together[with.Code] || with.Events != counts[i] {
			t.Errorf("%s with %v of %v", row.Code, row.With, together)
		}
	}
}

func checkMoves(t *testing.T, rows []plain, got *Result) {
	t.Helper()
	moves := map[Move]Move{}
	var sides [2]struct {
		events uint64
		phones map[hashing.Subject]bool
	}
	for i := range sides {
		sides[i].phones = map[hashing.Subject]bool{}
	}
	for _, r := range rows {
		key := Move{From: r.old.String(), To: r.now.String()}
		m := moves[key]
		m.From, m.To = key.From, key.To
		switch {
		case r.state != Counted:
			m.Other++
		case r.abuse:
			m.Abuse++
		default:
			m.Legitimate++
		}
		moves[key] = m
		if r.now == r.old {
			continue
		}
		side := &sides[0]
		if r.now > r.old {
			side = &sides[1]
		}
		side.events++
		if r.phone.Given() {
			side.phones[r.phone] = true
		}
	}
	for _, m := range got.Moves {
		if moves[Move{From: m.From, To: m.To}] != m {
			t.Errorf("%+v", m)
		}
	}
	if len(got.Moves) != len(moves) {
		t.Errorf("%d kinds of moves, want %d", len(got.Moves), len(moves))
	}
	for i, side := range []Side{got.Milder, got.Stricter} {
		if side.Events != sides[i].events || side.Numbers != uint64(len(sides[i].phones)) || len(side.Examples) != min(5, int(side.Events)) {
			t.Errorf("side %d: %+v", i, side)
		}
		for _, flip := range side.Examples {
			if len(flip.Reasons) == 0 && flip.OldScore != flip.NewScore {
				t.Errorf("a flip without a reason: %+v", flip)
			}
		}
	}
}

func checkCalibration(t *testing.T, rows []plain, got *Result) {
	t.Helper()
	abuse, all := map[int]float64{}, map[int]float64{}
	labels := uint64(0)
	for _, r := range rows {
		if r.state == Counted && r.level >= 0 && r.level <= 100 {
			labels++
			all[r.level] += r.weight
			if r.abuse {
				abuse[r.level] += r.weight
			}
		}
	}
	// The fit at i is the largest over beginnings, of the least over ends, of the mean between
	// them: the min-max formula.
	scores := slices.Sorted(maps.Keys(all))
	for i, score := range scores {
		fit := math.Inf(-1)
		for from := 0; from <= i; from++ {
			least := math.Inf(1)
			for to := i; to < len(scores); to++ {
				var a, n float64
				for _, s := range scores[from : to+1] {
					a, n = a+abuse[s], n+all[s]
				}
				least = min(least, a/n)
			}
			fit = max(fit, least)
		}
		at := slices.IndexFunc(got.Calibration, func(c Calibrated) bool { return c.From <= score && score <= c.To })
		if at < 0 || !near(got.Calibration[at].Probability, fit) {
			t.Fatalf("score %d: %v, want %v", score, got.Calibration, fit)
		}
	}
	for _, c := range got.Calibration {
		labels -= c.Labels
	}
	if labels != 0 {
		t.Errorf("%d labels are missing", labels)
	}
}

// TestBoundaries holds what there is to say when there is little to go by.
func TestBoundaries(t *testing.T) {
	p := compiled(t, "name: p\nsignals: {n: {subject: phone, count: sign_in, window: 1h}}\nscore: [{code: N, signal: n, points: {1: 40}}]\ndecisions: {block: 40}")
	w := newWorld(t, p, "")
	r := rand.New(rand.NewPCG(5, 5))
	for range 30 {
		ev := w.event(r)
		ev.Kind = scoring.SignIn
		w.assess(ev)
	}
	always := func(kind scoring.Event) func(*record.Entry) scoring.Event {
		return func(*record.Entry) scoring.Event { return kind }
	}
	cfg := w.config(p)
	none := rescored(t, cfg)
	if none.Abuse+none.Legitimate != 0 || none.Curve[40].Precision.Known() || none.Curve[40].Recall.Known() || none.Calibration != nil || none.AveragePrecision != 0 {
		t.Errorf("no labels: %+v", none.Curve[40])
	}
	if none.Costs != nil || none.Curve[40].Loss != nil {
		t.Errorf("a cost that nobody gave: %+v", none.Costs)
	}
	if none.Price(1, 1); none.Costs.Cheapest != nil {
		t.Errorf("the cheapest without labels: %+v", none.Costs.Cheapest)
	}
	cfg.Label = always(scoring.Abuse)
	abuse := rescored(t, cfg)
	at, above := abuse.Curve[40], abuse.Curve[41]
	if at.TP == 0 || at.FN == 0 || above.TP != 0 || at.FPR.Known() || at.Precision.Share != 1 || abuse.Reasons[0].Suggested != nil {
		t.Errorf("abuse only: at the threshold %+v, above %+v", at, above)
	}
	cfg.Label = always(scoring.Legitimate)
	if got := rescored(t, cfg); got.Curve[40].Recall.Known() || got.Curve[40].Precision.Share != 0 || got.Curve[40].FPR.Share == 0 {
		t.Errorf("legitimate only: %+v", got.Curve[40])
	}
	cfg.Maturity = 24 * time.Hour
	if got := rescored(t, cfg); got.States["immature"] != 30 || got.Abuse+got.Legitimate != 0 || got.Curve[0].FPR.Known() {
		t.Errorf("all immature: %+v", got.States)
	}
	cfg.AsOf += 24*3600 - 1
	if got := rescored(t, cfg); got.States["counted"] != 30 {
		t.Errorf("mature to the second: %+v", got.States)
	}
	cfg.From, cfg.To = w.at, w.at+1
	if got := rescored(t, cfg); got.Events != 30 {
		t.Errorf("the first second is in: %d", got.Events)
	}
	if cfg.To = w.at; rescored(t, cfg).Events != 0 {
		t.Error("the last second is not")
	}
}

// TestHoldoutStandsForWhatWasBlocked holds that labels of blocks count only where the holdout let
// them through, weighted by how many each stands for.
func TestHoldoutStandsForWhatWasBlocked(t *testing.T) {
	p := compiled(t, "name: p\nsignals: {n: {subject: phone, count: sign_in, window: 1h}}\nscore: [{code: N, signal: n, points: {1: 40}}]\ndecisions: {block: 40}\nholdout: 0.25")
	w := newWorld(t, p, "")
	r := rand.New(rand.NewPCG(6, 6))
	for range 400 {
		ev := w.event(r)
		ev.Kind = scoring.SignIn
		w.assess(ev)
	}
	cfg := w.config(p)
	cfg.Label = func(*record.Entry) scoring.Event { return scoring.Abuse }
	held := 0
	cfg.Each = func(r *Row) error {
		if r.Entry.Holdout {
			held++
		}
		if r.Entry.Holdout && r.Weight != 4 || r.State == Represented != (r.Entry.Verdict == scoring.Block) || !r.Entry.Holdout && r.State == Counted && r.Weight != 1 {
			t.Errorf("%v %v weight %v", r.Entry.Verdict, r.State, r.Weight)
		}
		return nil
	}
	got := rescored(t, cfg)
	caught := float64(got.Scores[40].Events)
	if got.Curve[40].TP != float64(4*held) || held < 50 || math.Abs(got.Curve[40].TP-caught) > caught/3 {
		t.Errorf("%d held out stand for %v of %v", held, got.Curve[40].TP, caught)
	}
}
