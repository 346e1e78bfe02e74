package scoring

// Grounds say what decided, in the order in which they are asked.
type Grounds uint8

// The grounds.
const (
	ByDenyList Grounds = iota + 1
	ByLimit            // the phone has no room for another account
	ByAllowList
	ByScore
)

// Code returns the reason code of what decides whatever the score is, "" where the score does.
func (g Grounds) Code() string {
	return [...]string{ByDenyList: "LIST_DENY", ByLimit: "ACCOUNTS_PER_PHONE", ByAllowList: "LIST_ALLOW", ByScore: ""}[g]
}

// Verdict is an Assessment without words: what a policy decides of an event, and which rules had a
// part in it. It is reused between calls of Judge: the slices keep their room.
type Verdict struct {
	Score    int // 0 to 100 inclusive
	Decision Decision
	Holdout  bool // a block by score was let through
	By       Grounds
	Fired    []Fired // in the order of the policy's rules
	Untold   []int   // rules that needed what is unknown, ascending
}

// Fired is a rule that fired.
type Fired struct {
	Rule   int // position in Policy.Rules
	Step   int // position in Rule.Steps
	Points int // what it adds; below zero lowers the score
}

// Judge decides about the values of an event: see Evaluate, which says the same in
// words. It does not allocate once out has room.
func (p *Policy) Judge(values []float64, draw float64, out *Verdict) {
	out.Fired, out.Untold, out.Holdout = out.Fired[:0], out.Untold[:0], false
	score := 0
	for i := range p.rules {
		r := &p.rules[i]
		if r.gate.shut(values) {
			continue
		}
		step, unknown := r.fires(values)
		if step >= 0 {
			points := r.steps[step].Points
			score += points
			out.Fired = append(out.Fired, Fired{Rule: i, Step: step, Points: points})
		}
		if unknown {
			out.Untold = append(out.Untold, i)
		}
	}
	out.Score = min(max(score, 0), 100)
	p.decide(values, draw, out)
}

func (p *Policy) decide(values []float64, draw float64, out *Verdict) {
	switch {
	case values[SlotListDeny] == 1:
		out.Decision, out.By = Block, ByDenyList
	case p.full(values):
		out.Decision, out.By = Block, ByLimit
	case values[SlotListAllow] == 1:
		out.Decision, out.By = Allow, ByAllowList
	default:
		out.Decision, out.By = p.ByScore(out.Score), ByScore
		if out.Decision == Block && draw < p.holdout {
			out.Decision, out.Holdout = Allow, true
		}
	}
}

// full reports whether the phone has no room for this account. Only events that
// tie an account to a number meet the limit.
func (p *Policy) full(values []float64) bool {
	switch Event(values[SlotEvent]) {
	case Signup, Verification, NumberChange:
	default:
		return false
	}
	return p.maxLinks > 0 && values[SlotLinked] == 0 && values[SlotLinks] >= float64(p.maxLinks)
}

// ByScore returns the decision that a score leads to where nothing but the score decides.
func (p *Policy) ByScore(score int) Decision {
	for d := Block; d > Allow; d-- {
		if at := p.thresholds[d]; at > 0 && score >= at {
			return d
		}
	}
	return Allow
}
