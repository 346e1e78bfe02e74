package scoring

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Result is what came of one case of a test file.
type Result struct {
	Name   string
	Line   int      // where the case begins, from 1
	Differ []string // what is not as wanted; empty when the case passed
}

// Test runs the cases of a file against a policy. The file is a YAML list:
//
//   - name: a number that signs up again and again
//     given: {event: signup, signups_1h: 8, number.type: mobile}
//     want: {decision: review, score: 60, reasons: [SIGNUPS_BY_PHONE_1H]}
//
// What is not given is unknown, as in live use when nobody sends it. Of want, only
// what is there is compared; reasons are compared as a set. No holdout applies.
// A PolicyError lists everything that is wrong with the file.
func (p *Policy) Test(doc []byte) ([]Result, error) {
	c := &compiler{p: p}
	root, err := c.parse(doc)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.SequenceNode {
		c.at(root, "write every case as - name: ...", "this has to be a list of cases")
	}
	var results []Result
	for _, n := range root.Content {
		if root.Kind == yaml.SequenceNode {
			results = append(results, c.runCase(n))
		}
	}
	return results, c.err()
}

func (c *compiler) runCase(n *yaml.Node) Result {
	f := c.fields(n, []string{"name", "given", "want"}, nil)
	r := Result{Line: n.Line}
	if v := f["name"]; v != nil {
		r.Name = v.Value
	}
	values := slices.Repeat([]float64{math.NaN()}, c.p.Slots())
	if v := f["given"]; v != nil {
		c.pairs(v, func(key, value *yaml.Node) { c.give(values, key, value) })
	}
	var got Assessment
	c.p.Evaluate(values, 1, &got)
	if v := f["want"]; v != nil {
		r.Differ = c.compare(&got, v)
	}
	return r
}

// give puts one value into its slot.
func (c *compiler) give(values []float64, key, value *yaml.Node) {
	slot := slices.Index(c.p.slots, key.Value)
	if slot < 0 {
		c.at(key, didYouMean(key.Value, c.p.slots), "%q is nothing that this policy looks at", key.Value)
		return
	}
	class := slotClasses[slot]
	if slot >= len(c.p.slots)-len(c.p.lists) {
		class = isBool
	}
	hint := ""
	switch class {
	case isNumber:
		values[slot] = c.number(value, 0, math.MaxInt32, false)
		return
	case isBool:
		values[slot], hint = truth(value), "true or false"
	default:
		values[slot], hint = encode(class, value.Value)
	}
	if math.IsNaN(values[slot]) {
		c.at(value, hint, "this is no value of %s", key.Value)
	}
}

func truth(n *yaml.Node) float64 {
	switch {
	case n.Tag == "!!bool" && n.Value == "true":
		return 1
	case n.Tag == "!!bool" && n.Value == "false":
		return 0
	}
	return math.NaN()
}

// compare returns how an assessment differs from what is wanted of it.
func (c *compiler) compare(got *Assessment, want *yaml.Node) []string {
	var differ []string
	f := c.fields(want, nil, []string{"decision", "score", "reasons"})
	if n := f["decision"]; n != nil {
		if d := Decision(c.word(n, decisionNames)); d != got.Decision {
			differ = append(differ, fmt.Sprintf("decision is %s, not %s", got.Decision, d))
		}
	}
	if n := f["score"]; n != nil {
		if s := int(c.number(n, 0, 100, true)); s != got.Score {
			differ = append(differ, fmt.Sprintf("score is %d, not %d", got.Score, s))
		}
	}
	if n := f["reasons"]; n != nil {
		if codes, wanted := codesOf(got), c.codes(n); !slices.Equal(codes, wanted) {
			differ = append(differ, fmt.Sprintf("reasons are [%s], not [%s]", strings.Join(codes, ", "), strings.Join(wanted, ", ")))
		}
	}
	return differ
}

func codesOf(a *Assessment) []string {
	var codes []string
	for _, r := range a.Reasons {
		codes = append(codes, r.Code)
	}
	slices.Sort(codes)
	return codes
}

func (c *compiler) codes(n *yaml.Node) []string {
	var codes []string
	if n.Kind != yaml.SequenceNode {
		c.at(n, "such as [LIST_DENY]", "this has to be a list of reason codes")
	}
	for _, v := range n.Content {
		if !reasonCode.MatchString(v.Value) {
			c.at(v, "codes are UPPER_CASE", "this is no reason code")
		}
		codes = append(codes, v.Value)
	}
	slices.Sort(codes)
	return codes
}
