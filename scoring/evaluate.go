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
	v := &out.verdict
	p.Judge(values, draw, v)
	out.Score, out.Decision, out.Holdout = v.Score, v.Decision, v.Holdout
	out.Reasons, out.Degraded = out.Reasons[:0], out.Degraded[:0]
	for _, f := range v.Fired {
		out.Reasons = append(out.Reasons, p.rules[f.Rule].reason(values, f.Step))
	}
	for _, i := range v.Untold {
		p.degrade(&p.rules[i], values, out)
	}
	slices.Sort(out.Degraded)
	p.mentionLists(values, out)
	slices.SortStableFunc(out.Reasons, func(a, b Reason) int { return magnitude(b.Points) - magnitude(a.Points) })
	p.explain(values, out)
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

// explain puts first what decided, where it was not the score.
func (p *Policy) explain(values []float64, out *Assessment) {
	switch out.verdict.By {
	case ByDenyList:
		out.first(Reason{Code: "LIST_DENY", Observed: math.NaN(), Limit: math.NaN()})
	case ByLimit:
		out.first(Reason{Code: "ACCOUNTS_PER_PHONE", Observed: values[SlotLinks], Limit: float64(p.maxLinks)})
	case ByAllowList:
		out.first(Reason{Code: "LIST_ALLOW", Observed: math.NaN(), Limit: math.NaN()})
	}
}

// first puts a reason first.
func (a *Assessment) first(r Reason) {
	a.Reasons = append(a.Reasons, Reason{})
	copy(a.Reasons[1:], a.Reasons)
	a.Reasons[0] = r
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
