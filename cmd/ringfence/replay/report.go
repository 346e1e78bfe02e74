package replay

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/ringfence/ringfence/scoring"
)

// Report says what became of every line, and how decisions compare with labels.
type Report struct {
	Lines    int // but for a header and blank ones: the sum of Events, Outcomes, Labels and Refused
	Events   int // assessed
	NoNumber int // events without a number

	Invalid      map[string]int // events whose number is not valid, by cause
	Outcomes     int            // applied
	Labels       int            // lines that only label
	UnusedLabels int            // of them, those for no event that was assessed, and those that another one replaced
	Refused      map[string]int // lines that could not be used, by cause

	Decisions map[scoring.Decision]Labelled
}

// Labelled counts events by what their label says.
type Labelled struct{ Abuse, Legitimate, Unlabelled int }

func newReport() *Report {
	return &Report{Invalid: map[string]int{}, Refused: map[string]int{}, Decisions: map[scoring.Decision]Labelled{}}
}

func (r *Report) count(it *item, d scoring.Decision, label scoring.Event) {
	r.Events++
	switch {
	case !it.Event.Number.Given:
		r.NoNumber++
	case !it.Event.Number.Valid:
		r.Invalid[it.Invalid]++
	}
	n := r.Decisions[d]
	switch label {
	case scoring.Abuse:
		n.Abuse++
	case scoring.Legitimate:
		n.Legitimate++
	default:
		n.Unlabelled++
	}
	r.Decisions[d] = n
}

// Rates are how well a policy tells abuse from the rest when it acts on a decision
// and on every stricter one. Only labelled events count.
type Rates struct {
	Precision     float64 // of the events acted on, the share that is abuse; NaN when there are none
	Recall        float64 // of all abuse, the share acted on; NaN when there is none
	FalsePositive float64 // of all that is legitimate, the share acted on; NaN when there is none
}

// Rates returns the rates at a decision.
func (r *Report) Rates(at scoring.Decision) Rates {
	var acted, all Labelled
	for d, n := range r.Decisions {
		all.Abuse += n.Abuse
		all.Legitimate += n.Legitimate
		if d >= at {
			acted.Abuse += n.Abuse
			acted.Legitimate += n.Legitimate
		}
	}
	return Rates{
		Precision:     float64(acted.Abuse) / float64(acted.Abuse+acted.Legitimate),
		Recall:        float64(acted.Abuse) / float64(all.Abuse),
		FalsePositive: float64(acted.Legitimate) / float64(all.Legitimate),
	}
}

// RefusedLines returns how many lines could not be used.
func (r *Report) RefusedLines() int { return sum(r.Refused) }

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// WriteAccount writes what became of every line.
func (r *Report) WriteAccount(w io.Writer) error {
	p := &printer{w: w}
	p.table(0, func() { r.account(p) })
	return p.err
}

func (r *Report) account(p *printer) {
	p.f("lines\t%d\n", r.Lines)
	p.f("events assessed\t%d\n", r.Events)
	p.f("  without a number\t%d\n", r.NoNumber)
	p.f("  with an invalid number\t%d\n", sum(r.Invalid))
	p.causes(r.Invalid)
	p.f("outcomes\t%d\n", r.Outcomes)
	p.f("labels\t%d\n", r.Labels)
	if r.UnusedLabels > 0 {
		p.f("  for no event\t%d\n", r.UnusedLabels)
	}
	p.f("refused\t%d\n", sum(r.Refused))
	p.causes(r.Refused)
}

// WriteTable writes decisions by label, and the rates at each decision.
func (r *Report) WriteTable(w io.Writer) error {
	p := &printer{w: w}
	p.table(tabwriter.AlignRight, func() {
		p.f("decision\tevents\tabuse\tlegitimate\tunlabelled\t\n")
		for d := scoring.Allow; d <= scoring.Block; d++ {
			n := r.Decisions[d]
			p.f("%s\t%d\t%d\t%d\t%d\t\n", d, n.Abuse+n.Legitimate+n.Unlabelled, n.Abuse, n.Legitimate, n.Unlabelled)
		}
	})
	p.f("\n")
	p.table(tabwriter.AlignRight, func() {
		p.f("at or above\tprecision\trecall\tfalse positive rate\t\n")
		for d := scoring.Challenge; d <= scoring.Block; d++ {
			x := r.Rates(d)
			p.f("%s\t%s\t%s\t%s\t\n", d, rate(x.Precision), rate(x.Recall), rate(x.FalsePositive))
		}
	})
	return p.err
}

// rate writes a share, or a dash where there was nothing to count.
func rate(v float64) string {
	if known(v) == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", v)
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table aligns what fill prints in columns.
func (p *printer) table(flags uint, fill func()) {
	w := p.w
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', flags)
	p.w = t
	fill()
	p.w = w
	if p.err == nil {
		p.err = t.Flush()
	}
}

func (p *printer) causes(counts map[string]int) {
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		p.f("    %s\t%d\n", cause, counts[cause])
	}
}
