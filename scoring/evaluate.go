package scoring

import (
	"math"
	"slices"
)

// sharedSlots are the names of the slots that every policy has.
var sharedSlots = []string{
	SlotEvent: "event", SlotVerified: "verified", SlotPhoneVerified: "phone_verified",
	SlotNumberValid: "number.valid", SlotNumberRegion: "number.region", SlotNumberType: "number.type",
	SlotPhoneAgeDays: "phone_age_days", SlotIPCountry: "ip_country",
	SlotLinks: "accounts_linked", SlotLinked: "account_linked",
	SlotListDeny: "list.deny", SlotListAllow: "list.allow",
}

// Evaluate scores the values of an event, of which there are p.Slots(). draw is the
// event's lot in [0, 1) in the holdout; 1 is never held out. It does not
// allocate once out has room.
//
// The deny list decides first, then the limit of accounts, then the allow list,
// then the score. The score and its reasons are there whatever decided. A block by score whose
// draw is below the holdout share is allowed instead.
func (p *Policy) Evaluate(values []float64, draw float64, out *Assessment) {
	out.Reasons, out.Degraded, out.Holdout = out.Reasons[:0], out.Degraded[:0], false
	for i := range p.rules {
		if p.rules[i].apply(values, out) {
			p.degrade(&p.rules[i], values, out)
		}
	}
	slices.Sort(out.Degraded)
	p.mentionLists(values, out)
	score := 0
	for _, r := range out.Reasons {
		score += r.Points
	}
	out.Score = min(max(score, 0), 100)
	slices.SortStableFunc(out.Reasons, func(a, b Reason) int { return magnitude(b.Points) - magnitude(a.Points) })
	p.decide(values, draw, out)
}

func magnitude(n int) int { return max(n, -n) }

// degrade lists the unknown slots of a rule that could not be told.
func (p *Policy) degrade(r *rule, values []float64, out *Assessment) {
	for _, slot := range r.needs {
		if name := p.slots[slot]; math.IsNaN(values[slot]) && !slices.Contains(out.Degraded, name) {
			out.Degraded = append(out.Degraded, name)
		}
	}
}

// mentionLists adds a reason without points for every list that was hit and
// that no rule named after it speaks of.
func (p *Policy) mentionLists(values []float64, out *Assessment) {
	first := len(p.slots) - len(p.lists)
	for i, code := range p.listCodes {
		if values[first+i] == 1 && !slices.ContainsFunc(out.Reasons, func(r Reason) bool { return r.Code == code }) {
			out.Reasons = append(out.Reasons, Reason{Code: code, Observed: math.NaN(), Limit: math.NaN()})
		}
	}
}

func (p *Policy) decide(values []float64, draw float64, out *Assessment) {
	switch {
	case values[SlotListDeny] == 1:
		out.override(Block, Reason{Code: "LIST_DENY", Observed: math.NaN(), Limit: math.NaN()})
	case p.full(values):
		out.override(Block, Reason{Code: "ACCOUNTS_PER_PHONE", Observed: values[SlotLinks], Limit: float64(p.maxLinks)})
	case values[SlotListAllow] == 1:
		out.override(Allow, Reason{Code: "LIST_ALLOW", Observed: math.NaN(), Limit: math.NaN()})
	default:
		out.Decision = p.byScore(out.Score)
		if out.Decision == Block && draw < p.holdout {
			out.Decision, out.Holdout = Allow, true
		}
	}
}

// override decides and puts the reason first.
func (a *Assessment) override(d Decision, r Reason) {
	a.Decision = d
	a.Reasons = append(a.Reasons, Reason{})
	copy(a.Reasons[1:], a.Reasons)
	a.Reasons[0] = r
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

func (p *Policy) byScore(score int) Decision {
	for d := Block; d > Allow; d-- {
		if at := p.thresholds[d]; at > 0 && score >= at {
			return d
		}
	}
	return Allow
}

// PublicMessage returns what may be told to whoever asked for the account: so
// little that it teaches an attacker nothing.
func PublicMessage(d Decision) string {
	switch d {
	case Allow:
		return "ok"
	case Challenge:
		return "verify"
	case Review:
		return "pending"
	default:
		return "try_later"
	}
}
