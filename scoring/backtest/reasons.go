package backtest

import (
	"cmp"
	"math"
	"slices"

	"github.com/ringfence/ringfence/scoring"
)

// MinLabels is how many labels a reason needs before other points are suggested, and ShrinkLabels how
// many labels its present points are worth: with as many, the suggestion lies half way.
const (
	MinLabels    = 20
	ShrinkLabels = 100
)

// reasons adds up what each step of each rule does.
type reasons struct {
	rules      []scoring.Rule
	first      []int // by rule: the line of its first step
	lines      []reasonLine
	together   []uint64 // by pairs of rules: how often both fired
	thresholds [scoring.Block + 1]int
}

type reasonLine struct {
	hits              uint64
	abuse, legitimate mass
	without           [scoring.Block + 1][2]float64 // change of abuse and of legitimate acted on
}

func newReasons(p *scoring.Policy) *reasons {
	r := &reasons{rules: p.Rules()}
	n := 0
	for _, rule := range r.rules {
		r.first = append(r.first, n)
		n += len(rule.Steps)
	}
	r.lines = make([]reasonLine, n)
	r.together = make([]uint64, len(r.rules)*len(r.rules))
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		r.thresholds[d] = p.Threshold(d)
	}
	return r
}

func (r *reasons) add(row *Row) {
	fired := row.New.Fired
	sum := 0
	for i, f := range fired {
		sum += f.Points
		for _, g := range fired[:i] {
			r.together[f.Rule*len(r.rules)+g.Rule]++
			r.together[g.Rule*len(r.rules)+f.Rule]++
		}
	}
	for _, f := range fired {
		l := &r.lines[r.first[f.Rule]+f.Step]
		l.hits++
		if row.State != Counted {
			continue
		}
		kind := 0
		if row.Label == scoring.Abuse {
			l.abuse.add(row.Weight)
		} else {
			kind = 1
			l.legitimate.add(row.Weight)
		}
		if row.New.By == scoring.ByScore {
			r.drop(l, kind, row, min(max(sum-f.Points, 0), 100))
		}
	}
}

// drop notes what would change at the score that is left without a reason.
func (r *reasons) drop(l *reasonLine, kind int, row *Row, left int) {
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		at := r.thresholds[d]
		switch {
		case at == 0:
		case row.New.Score >= at && left < at:
			l.without[d][kind] -= row.Weight
		case row.New.Score < at && left >= at:
			l.without[d][kind] += row.Weight
		}
	}
}

func (r *reasons) rows(p *scoring.Policy, all level) []ReasonRow {
	var rows []ReasonRow
	for i, rule := range r.rules {
		with := r.with(i)
		for step, s := range rule.Steps {
			l := &r.lines[r.first[i]+step]
			row := ReasonRow{
				Code: rule.Code, Step: step, Points: s.Points, Hits: l.hits, Abuse: l.abuse.n, Legitimate: l.legitimate.n,
				Precision: rateOf(l.abuse, l.legitimate), With: with, Without: r.without(l),
			}
			if !math.IsNaN(s.At) {
				row.From = &s.At
			}
			row.Suggested = suggest(row.Precision, rateOf(all.abuse, all.legitimate).Share, s.Points, cmp.Or(p.Threshold(scoring.Block), 100))
			rows = append(rows, row)
		}
	}
	return rows
}

func (r *reasons) without(l *reasonLine) []Change {
	var all []Change
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		if r.thresholds[d] > 0 {
			all = append(all, Change{d.String(), l.without[d][0], l.without[d][1]})
		}
	}
	return all
}

// with returns the rules that fire most often together with one.
func (r *reasons) with(rule int) []Behind {
	all := []Behind{}
	for i, n := range r.together[rule*len(r.rules) : (rule+1)*len(r.rules)] {
		if n > 0 {
			all = append(all, Behind{r.rules[i].Code, n})
		}
	}
	slices.SortStableFunc(all, func(a, b Behind) int { return cmp.Compare(b.Events, a.Events) })
	return all[:min(len(all), 3)]
}

// suggest turns a reason's precision into points. A reason that is always right alone is worth full
// points, one that is right as often as chance none, one that is always wrong as many below
// zero. That is shrunk toward the present points, the more so the fewer labels there are. What other
// reasons say of the same events is left out of account: try a suggestion before publishing it.
func suggest(precision Rate, base float64, present, full int) *int {
	if precision.Labels < MinLabels || base <= 0 || base >= 1 {
		return nil
	}
	worth := (precision.Share - base) / (1 - base)
	if precision.Share < base {
		worth = (precision.Share - base) / base
	}
	n := float64(precision.Labels)
	points := int(math.Round((n*worth*float64(full) + ShrinkLabels*float64(present)) / (n + ShrinkLabels)))
	return &points
}
