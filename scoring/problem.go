package scoring

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// itoa writes a whole number.
func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Problem is one thing that is wrong with a policy.
type Problem struct {
	Line, Column int // from 1; 0 when the whole file is meant
	Cause, Hint  string
}

// PolicyError lists everything that is wrong with a policy, in the order of the
// file.
type PolicyError struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *PolicyError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Cause
		if p.Line > 0 {
			lines[i] = fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, p.Cause)
		}
		if p.Hint != "" {
			lines[i] += " (" + p.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// reporter collects problems.
type reporter struct{ problems []Problem }

// longDigits are digits enough for a phone number, however they are grouped.
var longDigits = regexp.MustCompile(`[0-9](?:[ ()+./_-]*[0-9]){6,}`)

// at reports a problem. Texts of the document are repeated but for what could be a phone number.
func (r *reporter) at(n *yaml.Node, hint, format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = longDigits.ReplaceAllString(text, "…")
		}
	}
	r.problems = append(r.problems, Problem{n.Line, n.Column, fmt.Sprintf(format, args...), hint})
}

// err returns what was reported, nil when there is nothing.
func (r *reporter) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &PolicyError{r.problems}
}

// didYouMean returns a hint that names the known word closest to a mistyped
// one, or all of them.
func didYouMean(word string, known []string) string {
	best, least := "", len(word)/3+2
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known are: " + strings.Join(known, ", ")
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fields reads a mapping and reports unknown keys, keys given twice, and
// missing ones.
func (r *reporter) fields(n *yaml.Node, required, optional []string) map[string]*yaml.Node {
	known := slices.Concat(required, optional)
	got := map[string]*yaml.Node{}
	r.pairs(n, func(key, value *yaml.Node) {
		if !slices.Contains(known, key.Value) {
			r.at(key, didYouMean(key.Value, known), "unknown field %q", key.Value)
			return
		}
		got[key.Value] = value
	})
	for _, name := range required {
		if n.Kind == yaml.MappingNode && got[name] == nil {
			r.at(n, "add it", "field %q is missing", name)
		}
	}
	return got
}

// pairs calls fn with every key and value of a mapping, each key once.
func (r *reporter) pairs(n *yaml.Node, fn func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.at(n, "write it as name: value", "this has to be a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			r.at(key, "remove one", "%q is given twice", key.Value)
			continue
		}
		seen[key.Value] = true
		fn(key, value)
	}
}

func (r *reporter) number(n *yaml.Node, lo, hi float64, whole bool) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || err != nil || v < lo || v > hi || whole && v != float64(int(v)) {
		what := "a number"
		if whole {
			what = "a whole number"
		}
		r.at(n, "", "this has to be %s from %v to %v", what, lo, hi)
		return lo
	}
	return v
}

func (r *reporter) word(n *yaml.Node, known []string) uint8 {
	i, ok := parseName(known, n.Value)
	if !ok || n.Kind != yaml.ScalarNode {
		r.at(n, didYouMean(n.Value, known[1:]), "%q is unknown here", n.Value)
	}
	return i
}
