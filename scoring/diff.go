package scoring

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Diff says in words what becomes different when one policy replaces another, a line for each
// difference; nothing when both decide the same by the same measures. Names, comments and order
// make no difference.
func Diff(from, to *Policy) []string {
	d := &differences{}
	d.thresholds(from, to)
	d.number("accounts per phone", float64(from.maxLinks), float64(to.maxLinks), "no limit")
	d.number("holdout", from.holdout, to.holdout, "none")
	d.signals(from, to)
	d.rules(from, to)
	return d.lines
}

type differences struct{ lines []string }

func (d *differences) say(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *differences) number(what string, from, to float64, zero string) {
	if from == to {
		return
	}
	word := func(v float64) string {
		if v == 0 {
			return zero
		}
		return fmt.Sprint(v)
	}
	d.say("%s: %s, was %s", what, word(to), word(from))
}

func (d *differences) thresholds(from, to *Policy) {
	for at := Challenge; at <= Block; at++ {
		switch a, b := from.thresholds[at], to.thresholds[at]; {
		case a == b:
		case a == 0:
			d.say("%s: new, from a score of %d", at, b)
		case b == 0:
			d.say("%s: no longer by score, was from %d", at, a)
		case b < a:
			d.say("%s: from a score of %d, was %d: stricter", at, b, a)
		default:
			d.say("%s: from a score of %d, was %d: milder", at, b, a)
		}
	}
}

func (d *differences) signals(from, to *Policy) {
	find := func(p *Policy, name string) *Signal {
		if i := slices.IndexFunc(p.signals, func(s Signal) bool { return s.Name == name }); i >= 0 {
			return &p.signals[i]
		}
		return nil
	}
	for i := range from.signals {
		old := &from.signals[i]
		switch now := find(to, old.Name); {
		case now == nil:
			d.say("signal %s: gone", old.Name)
		case *now != *old:
			d.say("signal %s: %s, was %s", old.Name, now, old)
		}
	}
	for i := range to.signals {
		if now := &to.signals[i]; find(from, now.Name) == nil {
			d.say("signal %s: new, %s", now.Name, now)
		}
	}
}

// String says what a signal measures, without its name.
func (s *Signal) String() string {
	switch s.Aggregate {
	case Count:
		return fmt.Sprintf("%s events of the %s in %s", s.Event, s.Subject, FormatWindow(s.Window))
	case Distinct:
		return fmt.Sprintf("different %ss of the %s in %s", s.Member, s.Subject, FormatWindow(s.Window))
	case Links:
		return fmt.Sprintf("accounts linked to the %s", s.Subject)
	case Labels:
		return fmt.Sprintf("events of the %s labelled %s", s.Subject, s.Event)
	}
	return "nothing"
}

func (d *differences) rules(from, to *Policy) {
	before, after := from.Rules(), to.Rules()
	find := func(rules []Rule, code string) *Rule {
		if i := slices.IndexFunc(rules, func(r Rule) bool { return r.Code == code }); i >= 0 {
			return &rules[i]
		}
		return nil
	}
	for i := range before {
		old := &before[i]
		if now := find(after, old.Code); now == nil {
			d.say("reason %s: gone, was %s", old.Code, old)
		} else {
			d.rule(old, now)
		}
	}
	for i := range after {
		if now := &after[i]; find(before, now.Code) == nil {
			d.say("reason %s: new, %s", now.Code, now)
		}
	}
}

func (d *differences) rule(old, now *Rule) {
	switch {
	case old.Signal != now.Signal || old.When != now.When:
		d.say("reason %s: %s, was %s", old.Code, now, old)
	case old.When != "" && old.Steps[0].Points != now.Steps[0].Points:
		d.say("reason %s: %+d points, were %+d", old.Code, now.Steps[0].Points, old.Steps[0].Points)
	case old.When == "" && !slices.Equal(old.Steps, now.Steps):
		d.say("reason %s: %s, was %s", old.Code, now.table(), old.table())
	}
}

// String says when a rule adds how many points.
func (r *Rule) String() string {
	if r.Signal == "" {
		return fmt.Sprintf("%+d when %s", r.Steps[0].Points, r.When)
	}
	return fmt.Sprintf("by %s: %s", r.Signal, r.table())
}

func (r *Rule) table() string {
	var steps []string
	for _, s := range r.Steps {
		if !math.IsNaN(s.At) {
			steps = append(steps, fmt.Sprintf("%+d from %v", s.Points, s.At))
		}
	}
	return strings.Join(steps, ", ")
}
