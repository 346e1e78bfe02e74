package backtest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// graded is a backtest whose scores say something: the more signups, the more abuse.
func graded(t *testing.T) (*world, *scoring.Policy, Config) {
	t.Helper()
	p := compiled(t, "name: p # kept\nsignals: {n: {subject: phone, count: sign_in, window: 1h}}\nscore:\n"+
		"  - {code: N, signal: n, points: {1: 10, 2: 20, 3: 30, 4: 45, 6: 60, 9: 90}}\n  - {code: NET, when: number.type == 'voip', points: 3}\n"+
		"decisions: {challenge: 20, review: 45, block: 60}\n")
	w := newWorld(t, p, "")
	r := rand.New(rand.NewPCG(8, 8))
	for range 800 {
		ev := w.event(r)
		w.at += int64(r.IntN(400))
		ev.Kind, ev.Verified = scoring.SignIn, false
		w.assess(ev)
	}
	cfg := w.config(p)
	cfg.Label = func(e *record.Entry) scoring.Event {
		switch lot := int(e.ID[15]) % 100; {
		case lot < e.Score:
			return scoring.Abuse
		case lot < 90:
			return scoring.Legitimate
		}
		return 0
	}
	return w, p, cfg
}

func share(v float64) *float64 { return &v }

// TestProposalsMeetTheirGoal holds, for many goals, that the proposed policy meets it when it is
// rescored, and that no lower threshold would.
func TestProposalsMeetTheirGoal(t *testing.T) {
	_, p, cfg := graded(t)
	result := rescored(t, cfg)
	met := 0
	for _, d := range []scoring.Decision{scoring.Challenge, scoring.Review, scoring.Block} {
		for _, g := range []Goal{
			{MaxFPR: share(0.5)}, {MaxFPR: share(0.2)}, {MaxFPR: share(0.02)}, {MinPrecision: share(0.4)}, {MinPrecision: share(0.6)},
			{CostFP: 1, CostFN: 1}, {CostFP: 5, CostFN: 1}, {MaxFPR: share(0.1), CostFP: 1, CostFN: 9}, {MaxFPR: share(0.3), MinPrecision: share(0.5)},
		} {
			g.Decision = d
			proposal, err := result.Propose(p, g)
			if err != nil {
				t.Fatalf("%+v: %v", g, err)
			}
			tried := cfg
			tried.Policy = compiled(t, string(proposal.Doc))
			after := rescored(t, tried)
			at := tried.Policy.Threshold(d)
			fits := func(p Point) bool {
				return (g.MaxFPR == nil || p.FPR.Share <= *g.MaxFPR) && (g.MinPrecision == nil || p.Precision.Share >= *g.MinPrecision)
			}
			if !fits(after.Curve[at]) {
				t.Errorf("%v: at %d the goal is missed: %+v", g, at, after.Curve[at])
			}
			for other := 1; other <= 100; other++ {
				better := other < at
				if g.CostFP > 0 {
					better = after.Curve[other].Cost(g.CostFP, g.CostFN) < after.Curve[at].Cost(g.CostFP, g.CostFN)
				}
				if better && fits(after.Curve[other]) && after.Curve[other].Precision.Known() {
					t.Errorf("%v: %d is better than %d", g, other, at)
				}
			}
			if !strings.HasPrefix(string(proposal.Doc), "name: p # kept") || !slices.Equal(proposal.Words, scoring.Diff(p, tried.Policy)) {
				t.Errorf("%v: %s %v", g, proposal.Doc, proposal.Words)
			}
			met++
		}
	}
	if met != 27 {
		t.Errorf("%d goals", met)
	}
}

// TestNotes holds that a proposal says where an interval leaves its goal in doubt, and what is left of milder decisions.
func TestNotes(t *testing.T) {
	_, p, cfg := graded(t) // challenge 20, review 45, block 60
	result := rescored(t, cfg)
	seen := map[string]int{}
	for _, d := range []scoring.Decision{scoring.Challenge, scoring.Review, scoring.Block} {
		for bound := 0.0; bound <= 1; bound += 0.01 {
			for _, g := range []Goal{{Decision: d, MaxFPR: &bound}, {Decision: d, MinPrecision: &bound}} {
				proposal, err := result.Propose(p, g)
				if err != nil {
					continue
				}
				notes := map[string]string{}
				for _, n := range proposal.Notes {
					notes[n.Code] = n.Text
					seen[n.Code]++
				}
				at := map[string]int{}
				for _, row := range proposal.Thresholds {
					at[row.Decision] = row.New
				}
				point := result.Curve[at[d.String()]]
				checkNote(t, notes["fpr_uncertain"], g.MaxFPR != nil && point.FPR.High > bound, hundredths(point.FPR.High), hundredths(bound))
				checkNote(t, notes["precision_uncertain"], g.MinPrecision != nil && point.Precision.Low < bound, hundredths(point.Precision.Low), hundredths(bound))
				none := at["review"] >= at["block"]
				checkNote(t, notes["decision_gone"], none || at["challenge"] >= at["review"])
				if left := fmt.Sprintf("%d to %d with", at["challenge"], at["review"]-1); none {
					checkNote(t, notes["decision_gone"], true, fmt.Sprintf("from a score of %d on it is block", at["block"]), "of review nothing is left (now 45 to 59 with")
					checkNote(t, notes["decision_gone"], true, map[bool]string{true: "of challenge nothing is left", false: "of challenge " + left}[at["challenge"] >= at["review"]])
				}
			}
		}
	}
	if seen["fpr_uncertain"] == 0 || seen["precision_uncertain"] == 0 || seen["decision_gone"] == 0 || seen["decision_gone"] > 500 {
		t.Errorf("nothing to see: %v", seen)
	}
}

func checkNote(t *testing.T, text string, want bool, words ...string) {
	t.Helper()
	if (text != "") != want {
		t.Errorf("%q, want one: %v", text, want)
	}
	for _, w := range words {
		if want && !strings.Contains(text, w) {
			t.Errorf("no %q in %q", w, text)
		}
	}
}

func TestReviewCapacity(t *testing.T) {
	_, p, cfg := graded(t)
	result := rescored(t, cfg)
	days := float64(result.LastAt-result.FirstAt) / 86400
	for _, capacity := range []float64{0.1, 5, 40, 1e6} {
		proposal, err := result.Propose(p, Goal{ReviewCapacity: capacity})
		if err != nil {
			t.Fatal(err)
		}
		tried := cfg
		tried.Policy = compiled(t, string(proposal.Doc))
		reviews := 0
		tried.Each = func(r *Row) error {
			if r.New.Decision == scoring.Review {
				reviews++
			}
			return nil
		}
		rescored(t, tried)
		review, block := tried.Policy.Threshold(scoring.Review), tried.Policy.Threshold(scoring.Block)
		if float64(reviews)/days > capacity || block != 60 || tried.Policy.Threshold(scoring.Challenge) > review {
			t.Errorf("%v a day: %v from %d to %d", capacity, float64(reviews)/days, review, block)
		}
		if capacity == 1e6 && review != 1 || capacity == 0.1 && review <= 48 { // 48 is the highest score below 60
			t.Errorf("%v a day: review from %d", capacity, review)
		}
	}
}

// TestBoundsHoldWhateverCanBeReviewed holds that both goals are met, or the goal is refused.
func TestBoundsHoldWhateverCanBeReviewed(t *testing.T) {
	_, p, cfg := graded(t)
	r := rescored(t, cfg)
	days, met := float64(r.LastAt-r.FirstAt)/86400, 0
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		for _, bound := range []float64{0, 0.02, 0.1, 0.5, 0.9, 1} {
			for _, capacity := range []float64{0.1, 5, 40, 1e6} {
				for _, g := range []Goal{{Decision: d, MaxFPR: &bound, ReviewCapacity: capacity}, {Decision: d, MinPrecision: &bound, ReviewCapacity: capacity}} {
					proposal, err := r.Propose(p, g)
					if errors.Is(err, ErrGoal) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					met++
					at := map[string]*Point{}
					for i := range proposal.Thresholds {
						at[proposal.Thresholds[i].Decision] = &proposal.Thresholds[i].After
					}
					aimed, reviews := at[d.String()], float64(at["review"].Events-at["block"].Events)/days
					if g.MaxFPR != nil && aimed.FPR.Share > bound || g.MinPrecision != nil && aimed.Precision.Share < bound || reviews > capacity {
						t.Errorf("%v within %v (false positives: %v), %v reviews a day at most: %+v, %v reviews", d, bound, g.MaxFPR != nil, capacity, aimed, reviews)
					}
				}
			}
		}
	}
	if met < 100 {
		t.Errorf("only %d goals were met", met)
	}
}

func TestGoalsThatCannotBeMet(t *testing.T) {
	_, p, cfg := graded(t)
	result := rescored(t, cfg)
	for _, g := range []Goal{{MaxFPR: share(2)}, {CostFP: 1}, {}, {MinPrecision: share(-1)}, {ReviewCapacity: -1}, {CostFP: -1, CostFN: -1},
		{CostFP: math.Inf(1), CostFN: 1}, {CostFP: math.NaN(), CostFN: math.NaN()}, {CostFN: 1}, {CostFP: 1, CostFN: 2 * MaxCost}, {ReviewCapacity: math.NaN()}} {
		if _, err := result.Propose(p, g); !errors.Is(err, errNoGoal) {
			t.Errorf("%+v: %v", g, err)
		}
	}
	innocent := cfg
	innocent.Label = func(*record.Entry) scoring.Event { return scoring.Legitimate }
	if _, err := rescored(t, innocent).Propose(p, Goal{Decision: scoring.Block, MinPrecision: share(0.5)}); !errors.Is(err, ErrGoal) {
		t.Errorf("no abuse to find: %v", err)
	}
	for _, label := range []scoring.Event{0, scoring.Abuse, scoring.Legitimate} {
		innocent.Label = func(*record.Entry) scoring.Event { return label }
		if _, err := rescored(t, innocent).Propose(p, Goal{Decision: scoring.Block, CostFP: 20, CostFN: 1}); !errors.Is(err, ErrGoal) {
			t.Errorf("the least cost of labels %q only: %v", label, err)
		}
	}
	if _, err := result.Propose(scoring.Default(), Goal{ReviewCapacity: 1}); err == nil {
		t.Error("the result of another policy was taken")
	}
	bare := moved(t, p, 50)
	cfg.Policy = bare
	if _, err := rescored(t, cfg).Propose(bare, Goal{Decision: scoring.Review, MaxFPR: share(1)}); !errors.Is(err, scoring.ErrNoPlace) {
		t.Errorf("a decision that the policy does not make: %v", err)
	}
}

// TestSuggest holds that suggestions go into the file, and only where there are labels enough.
func TestSuggest(t *testing.T) {
	_, p, cfg := graded(t)
	result := rescored(t, cfg)
	doc, err := result.Suggest(p)
	if err != nil {
		t.Fatal(err)
	}
	rules := compiled(t, string(doc)).Rules()
	changed := 0
	for _, row := range result.Reasons {
		want := row.Points
		if row.Suggested != nil && *row.Suggested != 0 {
			want = *row.Suggested
		}
		at := slices.IndexFunc(rules, func(r scoring.Rule) bool { return r.Code == row.Code })
		if got := rules[at].Steps[row.Step].Points; got != want {
			t.Errorf("%s step %d: %d, want %d", row.Code, row.Step, got, want)
		}
		if want != row.Points {
			changed++
		}
	}
	if changed == 0 {
		t.Error("nothing was suggested")
	}
}

// TestReviewsWithoutBlock holds that events which are blocked whatever their score take up no reviews.
func TestReviewsWithoutBlock(t *testing.T) {
	p := compiled(t, "name: p\nsignals: {n: {subject: phone, count: sign_in, window: 1h}}\nscore: [{code: N, signal: n, points: {1: 40}}]\ndecisions: {review: 90}")
	w := newWorld(t, p, "")
	w.list("deny", 0)
	w.live(rand.New(rand.NewPCG(5, 5)), 300)
	result := rescored(t, w.config(p))
	denied := result.Curve[100].Events - result.Scores[100].Events
	if denied < 20 {
		t.Fatalf("%d events are denied", denied)
	}
	proposal, err := result.Propose(p, Goal{ReviewCapacity: float64(result.Curve[1].Events - denied)})
	if err != nil || proposal.Thresholds[0].New != 1 {
		t.Errorf("%+v, %v", proposal, err)
	}
}
