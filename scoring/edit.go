package scoring

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Edit changes one number of a policy: the threshold of a Decision or, where that is
// 0, the points of a step of a reason.
type Edit struct {
	Decision Decision
	Code     string
	Step     int // position in Rule.Steps
	To       int
}

// ErrNoPlace says that a policy has no number where an edit wants to change one.
var ErrNoPlace = errors.New("the policy has no such number; write it into the file first")

// Edited returns the policy's document with some numbers changed. Everything else stays as it
// is, comments and layout too. It returns ErrNoPlace, or a PolicyError where the result
// is no policy, such as thresholds out of order.
func (p *Policy) Edited(edits []Edit) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(p.source, &root); err != nil || len(root.Content) == 0 {
		return nil, fmt.Errorf("the source of the policy does not parse any more: %w", err)
	}
	var cuts []cut
	for _, e := range edits {
		n := e.place(root.Content[0])
		if n == nil || n.Style != 0 {
			return nil, ErrNoPlace
		}
		cuts = append(cuts, cut{n.Line, n.Column, len(n.Value), strconv.Itoa(e.To)})
	}
	doc := splice(p.source, cuts)
	if _, err := Compile(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// place finds the number that an edit changes.
func (e *Edit) place(root *yaml.Node) *yaml.Node {
	if e.Decision != 0 {
		return field(field(root, "decisions"), e.Decision.String())
	}
	rules := field(root, "score")
	if rules == nil {
		return nil
	}
	for _, rule := range rules.Content {
		code, points := field(rule, "code"), field(rule, "points")
		switch {
		case code == nil || points == nil || code.Value != e.Code:
		case points.Kind == yaml.MappingNode && 2*e.Step+1 < len(points.Content):
			return points.Content[2*e.Step+1]
		case points.Kind == yaml.ScalarNode && e.Step == 0:
			return points
		}
	}
	return nil
}

// field returns the value of a key of a mapping, nil where there is none.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// cut is text to replace: so many bytes from a line and a column, both from 1.
type cut struct {
	line, column, size int
	text               string
}

// splice replaces text, the last first, so that the places before it stay.
func splice(doc []byte, cuts []cut) []byte {
	slices.SortFunc(cuts, func(a, b cut) int {
		if a.line != b.line {
			return b.line - a.line
		}
		return b.column - a.column
	})
	lines := bytes.SplitAfter(doc, []byte("\n"))
	for _, c := range cuts {
		line := lines[c.line-1]
		at := len(string([]rune(string(line))[:c.column-1])) // columns count characters
		lines[c.line-1] = slices.Concat(line[:at:at], []byte(c.text), line[at+c.size:])
	}
	return bytes.Join(lines, nil)
}
