package backtest

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ringfence/ringfence/scoring"
)

// Goal says what a threshold is to achieve, by the labels that count. MaxFPR and MinPrecision bound it; among
// what is left, the least cost decides or, without costs, the lowest score, which catches most.
type Goal struct {
	Decision     scoring.Decision // whose threshold
	MaxFPR       *float64         // of legitimate events, at most this share is acted on
	MinPrecision *float64         // of events acted on, at least this share is abuse
	CostFP       float64          // of acting on a legitimate event; 0 with CostFN: costs do not matter
	CostFN       float64          // of letting abuse go

	// ReviewCapacity, above 0, is how many events a day people can review: the lowest
	// threshold of review is chosen that leaves them no more, and meets the bounds where they are on review or challenge.
	ReviewCapacity float64
}

// What a goal can run into.
var (
	ErrGoal   = errors.New("no threshold meets the goal; allow more false positives, or gather labels")
	errNoGoal = errors.New("backtest: a goal needs a bound between 0 and 1, both costs or a review capacity")
)

// Proposal is a policy with other thresholds.
type Proposal struct {
	Doc        []byte             // the policy's document
	Words      []string           // what differs, see scoring.Diff
	Thresholds []ProposedDecision // all that the policy has, mildest first
	Notes      []Note             // what to beware of
}

// ProposedDecision is a threshold as it was and as it is proposed, with what it does.
type ProposedDecision struct {
	Decision string `json:"decision"`
	Old      int    `json:"old"`
	New      int    `json:"new"`
	Before   Point  `json:"before"`
	After    Point  `json:"after"`
}

// Propose looks for thresholds that meet a goal. The policy has to be the one of the
// result. It returns ErrGoal when there are none, and scoring.ErrNoPlace when the policy does not
// make such a decision by score. Thresholds of other decisions move only where order demands it.
func (r *Result) Propose(p *scoring.Policy, goal Goal) (*Proposal, error) {
	if digest := p.Digest(); hex.EncodeToString(digest[:]) != r.PolicyDigest {
		return nil, errors.New("backtest: the result is of another policy")
	}
	at := map[scoring.Decision]int{}
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		at[d] = p.Threshold(d)
	}
	if err := r.aim(at, goal); err != nil {
		return nil, err
	}
	var edits []scoring.Edit
	proposal := &Proposal{}
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		old := p.Threshold(d)
		if old == 0 {
			continue
		}
		if at[d] != old {
			edits = append(edits, scoring.Edit{Decision: d, To: at[d]})
		}
		proposal.Thresholds = append(proposal.Thresholds, ProposedDecision{d.String(), old, at[d], r.Curve[old], r.Curve[at[d]]})
	}
	var err error
	if proposal.Doc, err = p.Edited(edits); err != nil {
		return nil, err
	}
	now, err := scoring.Compile(proposal.Doc)
	if err != nil {
		return nil, err
	}
	proposal.Words = scoring.Diff(p, now)
	proposal.Notes = goal.notes(proposal.Thresholds)
	return proposal, nil
}

// aim sets the thresholds that a goal asks for.
func (r *Result) aim(at map[scoring.Decision]int, goal Goal) error {
	targeted, err := goal.check()
	capped := goal.ReviewCapacity > 0
	switch {
	case err != nil:
		return err
	case targeted && at[goal.Decision] == 0, capped && at[scoring.Review] == 0:
		return scoring.ErrNoPlace
	}
	if targeted {
		least := 1
		if capped && goal.Decision == scoring.Review {
			least, capped = r.reviewable(at[scoring.Block], goal.ReviewCapacity), false
		}
		if at[goal.Decision] = r.threshold(goal, least); at[goal.Decision] == 0 {
			return ErrGoal
		}
		settle(at, goal.Decision)
	}
	if capped {
		at[scoring.Review] = r.reviewable(at[scoring.Block], goal.ReviewCapacity)
		if targeted && goal.Decision == scoring.Challenge { // whose bound holds whatever people can review
			at[scoring.Review] = max(at[scoring.Review], at[scoring.Challenge])
		}
		settle(at, scoring.Review)
	}
	return nil
}

func (g *Goal) check() (targeted bool, err error) {
	for _, bound := range []*float64{g.MaxFPR, g.MinPrecision} {
		if bound != nil && !(*bound >= 0 && *bound <= 1) {
			return false, errNoGoal
		}
	}
	if !Priceable(g.CostFP, g.CostFN) || !(g.ReviewCapacity >= 0) {
		return false, errNoGoal
	}
	targeted = g.MaxFPR != nil || g.MinPrecision != nil || g.CostFP > 0
	if !targeted && g.ReviewCapacity == 0 {
		return false, errNoGoal
	}
	return targeted, nil
}

// threshold returns the score from least on that meets a goal best, 0 when none does.
func (r *Result) threshold(g Goal, least int) int {
	best := 0
	for at := least; at <= 100; at++ {
		p := &r.Curve[at]
		switch {
		case g.CostFP > 0 && (r.Abuse == 0 || r.Legitimate == 0): // one kind alone is cheapest at an end
		case g.MaxFPR != nil && !(p.FPR.Known() && p.FPR.Share <= *g.MaxFPR):
		case g.MinPrecision != nil && !(p.Precision.Known() && p.Precision.Share >= *g.MinPrecision):
		case best == 0, g.CostFP > 0 && p.Cost(g.CostFP, g.CostFN) < r.Curve[best].Cost(g.CostFP, g.CostFN):
			best = at
		}
	}
	return best
}

const secondsPerDay = 24 * 60 * 60

// reviewable returns the lowest threshold of review that leaves so many events a day between it and
// block; block itself when none does, which leaves nothing to review. Where the policy never blocks by score, that
// is 100, which leaves as little as there can be.
func (r *Result) reviewable(block int, capacity float64) int {
	days := max(float64(r.LastAt-r.FirstAt)/secondsPerDay, 1)
	last, blocked := block, uint64(0)
	if block == 0 { // then only what no score decides is blocked
		last, blocked = 100, r.Curve[100].Events-r.Scores[100].Events
	} else {
		blocked = r.Curve[block].Events
	}
	for at := 1; at < last; at++ {
		if float64(r.Curve[at].Events-blocked)/days <= capacity {
			return at
		}
	}
	return last
}

// settle moves other thresholds where one has passed them.
func settle(at map[scoring.Decision]int, moved scoring.Decision) {
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		switch {
		case at[d] == 0:
		case d < moved:
			at[d] = min(at[d], at[moved])
		case d > moved:
			at[d] = max(at[d], at[moved])
		}
	}
}

// Suggest returns the policy's document with the points that labels speak for: see
// ReasonRow.Suggested. A reason that tells nothing keeps its points, since removing it is for
// people to decide. Scores change with it: look for thresholds on the new policy.
func (r *Result) Suggest(p *scoring.Policy) ([]byte, error) {
	var edits []scoring.Edit
	for _, row := range r.Reasons {
		if row.Suggested != nil && *row.Suggested != 0 && *row.Suggested != row.Points {
			edits = append(edits, scoring.Edit{Code: row.Code, Step: row.Step, To: *row.Suggested})
		}
	}
	doc, err := p.Edited(edits)
	if err != nil {
		return nil, fmt.Errorf("suggested points: %w", err)
	}
	return doc, nil
}
