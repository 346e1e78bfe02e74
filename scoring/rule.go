package scoring

import (
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rule is one entry of a policy's score: a signal with a table of points, or a condition.
type Rule struct {
	Code   string
	Signal string // "" for a condition
	When   string // the condition; "" for a signal
	Steps  []Step // ascending; one for a condition
}

// Step is one line of a rule's table.
type Step struct {
	At     float64 // the least value; NaN for a condition
	Points int
}

// Rules returns the entries of the policy's score, in its order.
func (p *Policy) Rules() []Rule {
	all := make([]Rule, len(p.rules))
	for i, r := range p.rules {
		all[i] = Rule{Code: r.code, When: r.when, Steps: slices.Clone(r.steps)}
		if r.slot >= 0 {
			all[i].Signal = p.slots[r.slot]
		}
	}
	return all
}

// Reads reports, by slot, whether a score or a decision can depend on it.
func (p *Policy) Reads() []bool {
	reads := make([]bool, p.Slots())
	reads[SlotListDeny], reads[SlotListAllow] = true, true
	if p.maxLinks > 0 {
		reads[SlotEvent], reads[SlotLinks], reads[SlotLinked] = true, true, true
	}
	for i := range p.rules {
		for _, slot := range p.rules[i].needs {
			reads[slot] = true
		}
	}
	return reads
}

// rule is one entry of a policy's score.
type rule struct {
	gate   gate
	code   string
	slot   int     // of a table; -1 for a guard
	steps  []Step  // of a table, ascending; one for a guard
	guard  closure // of a guard
	when   string  // of a guard
	needs  []int   // the slots that the rule reads
	window time.Duration
}

func (c *compiler) readRules(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		c.at(n, "begin every rule with a dash", "score has to be a list of rules")
		return
	}
	c.expr = newExpressions(c.p)
	codes := map[string]bool{}
	for _, item := range n.Content {
		f := c.fields(item, []string{"code", "points"}, []string{"signal", "when"})
		r := rule{slot: -1}
		if v := f["code"]; v != nil {
			r.code = v.Value
			if !reasonCode.MatchString(r.code) || slices.Contains(reserved, r.code) || codes[r.code] {
				c.at(v, "use UPPER_SNAKE, each code once, and none of "+strings.Join(reserved, ", "), "%q cannot be a reason's code", r.code)
			}
			codes[r.code] = true
		}
		c.readRule(&r, item, f)
		c.p.rules = append(c.p.rules, r)
	}
	if len(c.p.rules) > maxRules {
		c.at(n, "", "more than %d rules", maxRules)
	}
}

func (c *compiler) readRule(r *rule, item *yaml.Node, f map[string]*yaml.Node) {
	signal, when, points := f["signal"], f["when"], f["points"]
	if (signal == nil) == (when == nil) {
		c.at(item, "signal with a table of points, or when with points", "a rule has either a signal or a condition")
		return
	}
	if points == nil {
		return
	}
	if when != nil {
		r.steps, r.when = []Step{{At: math.NaN(), Points: c.readPoints(points)}}, when.Value
		condition := c.expr.compile(&c.reporter, when)
		r.guard, r.needs, r.gate = condition.run, condition.needs, condition.gate
		return
	}
	r.slot = slices.IndexFunc(c.p.signals, func(s Signal) bool { return s.Name == signal.Value })
	if r.slot < 0 {
		var names []string
		for _, s := range c.p.signals {
			names = append(names, s.Name)
		}
		c.at(signal, didYouMean(signal.Value, names), "no signal is named %q", signal.Value)
		return
	}
	r.window = c.p.signals[r.slot].Window
	r.slot += SlotSignals
	r.needs = []int{r.slot}
	if c.readSteps(r, points); len(r.steps) > 0 {
		r.gate = gate{r.slot, r.steps[0].At, math.Inf(1)}
	}
}

func (c *compiler) readPoints(n *yaml.Node) int {
	v := int(c.number(n, -100, 100, true))
	if v == 0 {
		c.at(n, "remove the rule, or give it points", "no points")
	}
	return v
}

func (c *compiler) readSteps(r *rule, n *yaml.Node) {
	c.pairs(n, func(key, value *yaml.Node) {
		s := Step{At: c.number(key, 0, 1e12, false), Points: c.readPoints(value)}
		if s.At <= 0 || len(r.steps) > 0 && s.At <= r.steps[len(r.steps)-1].At {
			c.at(key, "write them in ascending order, above 0", "a threshold out of order")
		}
		r.steps = append(r.steps, s)
	})
	if len(r.steps) == 0 && n.Kind == yaml.MappingNode {
		c.at(n, "such as {2: 10, 4: 30}", "an empty table")
	}
}

// fires returns the step of the rule that fires, -1 for none. unknown is true when it could not
// be told. Where the gate is shut it need not be asked.
func (r *rule) fires(values []float64) (step int, unknown bool) {
	if r.slot < 0 {
		fires := r.guard(values)
		if fires == 1 {
			return 0, false
		}
		return -1, fires != fires
	}
	v := values[r.slot]
	if !(v >= r.steps[0].At) { // not "<": an unknown value reaches no step
		return -1, v != v
	}
	step = len(r.steps) - 1
	for r.steps[step].At > v {
		step--
	}
	return step, false
}

// reason puts a step of the rule into words.
func (r *rule) reason(values []float64, step int) Reason {
	s := r.steps[step]
	if r.slot < 0 {
		return Reason{Code: r.code, Points: s.Points, Observed: math.NaN(), Limit: math.NaN()}
	}
	return Reason{Code: r.code, Points: s.Points, Observed: values[r.slot], Limit: s.At, Window: r.window}
}
