package scoring

import (
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// rule is one entry of a policy's score.
type rule struct {
	code   string
	slot   int     // of a table; -1 for a guard
	steps  []step  // of a table, ascending
	guard  closure // of a guard
	points int     // of a guard
	needs  []int   // the slots that the rule reads
	window time.Duration
}

// step is one line of a table: from at on, points.
type step struct {
	at     float64
	points int
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
		r.points = c.readPoints(points)
		r.guard, r.needs = c.expr.compile(&c.reporter, when)
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
	c.readSteps(r, points)
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
		s := step{at: c.number(key, 0, 1e12, false), points: c.readPoints(value)}
		if s.at <= 0 || len(r.steps) > 0 && s.at <= r.steps[len(r.steps)-1].at {
			c.at(key, "write them in ascending order, above 0", "a threshold out of order")
		}
		r.steps = append(r.steps, s)
	})
	if len(r.steps) == 0 && n.Kind == yaml.MappingNode {
		c.at(n, "such as {2: 10, 4: 30}", "an empty table")
	}
}

// apply adds the rule's reason if it fires. unknown is true when it could not
// be told.
func (r *rule) apply(values []float64, out *Assessment) (unknown bool) {
	if r.slot < 0 {
		fires := r.guard(values)
		if fires == 1 {
			out.Reasons = append(out.Reasons, Reason{Code: r.code, Points: r.points, Observed: math.NaN(), Limit: math.NaN()})
		}
		return fires != fires
	}
	v := values[r.slot]
	for _, s := range slices.Backward(r.steps) {
		if v >= s.at {
			out.Reasons = append(out.Reasons, Reason{Code: r.code, Points: s.points, Observed: v, Limit: s.at, Window: r.window})
			break
		}
	}
	return v != v
}
