package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// printBacktest writes a result. Its events are written by then, if they are what is asked for.
func printBacktest(w io.Writer, r *backtest.Result, form output, table string) error {
	switch form {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv", "ndjson":
		switch table {
		case "", "curve":
			return curveSheet(r).print(w, form)
		case "reasons":
			return reasonSheet(r).print(w, form)
		case "flips":
			return flipSheet(r).print(w, form)
		case "moves":
			return moveSheet(r).print(w, form)
		}
		return nil
	}
	p := &lines{w: w}
	p.account(r)
	p.decisions(r)
	p.costs(r)
	p.plots(r)
	p.flips(r)
	p.reasons(r)
	p.calibration(r)
	return p.err
}

// lines keeps the first error.
type lines struct {
	w   io.Writer
	err error
}

func (p *lines) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table aligns what fill prints in columns.
func (p *lines) table(fill func()) {
	w := p.w
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	p.w = t
	fill()
	p.w = w
	if p.err == nil {
		p.err = t.Flush()
	}
}

// percent writes a share.
func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + " %" }

// interval writes a share with its interval, or a dash where there was nothing to count.
func interval(r backtest.Rate) string {
	if !r.Known() {
		return "-"
	}
	return fmt.Sprintf("%s (%.2f to %.2f)", percent(r.Share), 100*r.Low, 100*r.High)
}

func moment(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateTime) }

// settings says what a result rests on beside the log and the policy, so that it can be repeated.
func settings(r *backtest.Result) string {
	return fmt.Sprintf("%s (--as-of repeats it), maturity %v, seed %d", timeText(r.AsOf), time.Duration(r.Maturity)*time.Second, r.Seed)
}

// timeText writes a time as flags take it.
func timeText(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func (p *lines) account(r *backtest.Result) {
	p.table(func() {
		p.f("policy\t%s, %s of %d events\n", r.Policy, r.Mode, r.Events)
		if r.Events > 0 {
			p.f("from\t%s to %s UTC\n", moment(r.FirstAt), moment(r.LastAt))
		}
		p.f("as of\t%s\n", settings(r))
		about := ""
		if r.Crowd.Estimated {
			about = "about "
		}
		p.f("numbers\t%s%d, the busiest with %s of the events\n", about, r.Crowd.Numbers, percent(r.Crowd.Top))
		p.f("labels\t%d abuse, %d legitimate\n", r.Abuse, r.Legitimate)
		for _, state := range []struct{ name, words string }{
			{"unlabelled", "without a label"}, {"immature", "too young for their label to count"}, {"represented", "blocked, the holdout stands for them"},
			{"not_replayable", "not replayable: the policy reads what was not recorded"}, {"lost", "lost: the policy that wrote them is gone"},
		} {
			if n := r.States[state.name]; n > 0 {
				p.f("\t%d (%s) %s\n", n, percent(float64(n)/float64(r.Events)), state.words)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(r.NotReplayable)) {
			p.f("\t  %s: %d\n", name, r.NotReplayable[name])
		}
		p.f("digest\t%s\n", r.Digest)
		if r.Stale {
			p.f("stale\tthe policy was changed while this ran: it is about what the policy was before\n")
		}
	})
}

func (p *lines) decisions(r *backtest.Result) {
	p.f("\n")
	p.table(func() {
		p.f("at or above\tfrom\tacted on\tprecision\trecall\tfalse positives")
		if r.Costs != nil {
			p.f("\tcost")
		}
		p.f("\n")
		for _, d := range r.Decisions {
			p.f("%s\t%d\t%d\t%s\t%s\t%s", d.Decision, d.Threshold, d.Events, interval(d.Precision), interval(d.Recall), interval(d.FPR))
			if d.Loss != nil {
				p.f("\t%s", cost(*d.Loss))
			}
			p.f("\n")
		}
	})
}

// costs names the cheapest threshold.
func (p *lines) costs(r *backtest.Result) {
	if r.Costs != nil {
		p.f("\n%s\n", cheapest(r.Costs))
	}
}

// cost writes what something costs, to four digits or more.
func cost(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// prices says what errors cost.
func prices(fp, fn float64) string { return fmt.Sprintf("%v a false positive, %v a miss", fp, fn) }

// cheapest says from which threshold on acting costs least.
func cheapest(c *backtest.Costs) string {
	best := c.Cheapest
	switch {
	case best == nil:
		return fmt.Sprintf("No threshold is the cheapest without labels of both kinds (%s).", prices(c.FP, c.FN))
	case best.To > best.Threshold:
		return fmt.Sprintf("Cheapest from %d, cost %s, and the same up to %d (%s).", best.Threshold, cost(best.Cost), best.To, prices(c.FP, c.FN))
	}
	return fmt.Sprintf("Cheapest from %d, cost %s (%s).", best.Threshold, cost(best.Cost), prices(c.FP, c.FN))
}

// plots draws scores, shares and costs.
func (p *lines) plots(r *backtest.Result) {
	if r.Crowd.Events == 0 {
		return
	}
	p.histogram(r)
	if r.Abuse == 0 || r.Legitimate == 0 {
		return
	}
	series := make([][]float64, 3)
	for _, point := range r.Curve {
		for i, rate := range []backtest.Rate{point.Precision, point.Recall, point.FPR} {
			v := math.NaN()
			if rate.Known() {
				v = 100 * rate.Share
			}
			series[i] = append(series[i], v)
		}
	}
	p.f("\n%s\n", asciigraph.PlotMany(series, asciigraph.Height(12), asciigraph.Width(75), asciigraph.LowerBound(0), asciigraph.UpperBound(100),
		asciigraph.Precision(0), asciigraph.XAxisRange(0, 100), asciigraph.XAxisTickCount(6),
		asciigraph.SeriesChars(asciigraph.CreateCharSet("p"), asciigraph.CreateCharSet("r"), asciigraph.CreateCharSet("f")),
		asciigraph.Caption("percent by threshold: p precision, r recall, f false positives")))
	if r.Costs != nil {
		p.costPlot(r)
	}
}

func (p *lines) costPlot(r *backtest.Result) {
	var line []float64
	for _, point := range r.Curve[1:] { // 0 acts on everything: no policy does, and it would dwarf the rest
		line = append(line, *point.Loss)
	}
	p.f("\n%s\n", asciigraph.Plot(line, asciigraph.Height(8), asciigraph.Width(75), asciigraph.LowerBound(0), asciigraph.Precision(0),
		asciigraph.XAxisRange(1, 100), asciigraph.XAxisTickCount(6), asciigraph.Caption("cost by threshold")))
}

// widest is the most characters of a bar.
const widest = 60

// histogram shows how many events have which score, on a logarithmic scale, since most have none.
func (p *lines) histogram(r *backtest.Result) {
	var bins [10][3]uint64
	most := uint64(0)
	for _, s := range r.Scores {
		b := &bins[min(s.Score/10, 9)]
		b[0], b[1], b[2] = b[0]+s.Events, b[1]+s.Abuse, b[2]+s.Legitimate
		most = max(most, b[0])
	}
	p.f("\n")
	p.table(func() {
		p.f("score\tevents\tabuse\tlegitimate\t(logarithmic)\n")
		for i, b := range bins {
			bar := 0
			if b[0] > 0 {
				bar = 1 + int(float64(widest-1)*math.Log(float64(b[0]))/max(math.Log(float64(most)), 1))
			}
			to := 10*i + 9
			if i == 9 {
				to = 100
			}
			p.f("%d to %d\t%d\t%d\t%d\t%s\n", 10*i, to, b[0], b[1], b[2], strings.Repeat("█", bar))
		}
	})
}

func (p *lines) flips(r *backtest.Result) {
	p.f("\n")
	p.table(func() {
		p.f("was\twould be\tevents\tabuse\tlegitimate\twithout a label that counts\n")
		for _, m := range r.Moves {
			if m.From != m.To {
				p.f("%s\t%s\t%d\t%d\t%d\t%d\n", m.From, m.To, m.Abuse+m.Legitimate+m.Other, m.Abuse, m.Legitimate, m.Other)
			}
		}
	})
	p.side("stricter", &r.Stricter)
	p.side("milder", &r.Milder)
}

func (p *lines) side(name string, s *backtest.Side) {
	p.f("\n%s: %d events", name, s.Events)
	if s.Events == 0 {
		p.f("\n")
		return
	}
	p.f(" of %d numbers, the busiest with %s of them", s.Numbers, percent(s.Top))
	for i, b := range s.Reasons[:min(len(s.Reasons), 5)] {
		p.f("%s%s %d", []string{"; by ", ", "}[min(i, 1)], b.Code, b.Events)
	}
	if len(s.Reasons) == 0 {
		p.f("; only thresholds differ")
	}
	p.f("\n")
	p.table(func() {
		for _, e := range s.Examples {
			p.f("  %s\t%s\t%s %d\t%s %d\t%s\t%s\n", e.ID, moment(e.At), e.From, e.OldScore, e.To, e.NewScore, e.Label, strings.Join(e.Reasons, ", "))
		}
	})
}

func (p *lines) reasons(r *backtest.Result) {
	p.f("\n")
	p.table(func() {
		p.f("reason\tfrom\tpoints\tsuggested\thits\tprecision\twithout it\toften with\n")
		for _, row := range r.Reasons {
			from, suggested := "", "-"
			if row.From != nil {
				from = strconv.FormatFloat(*row.From, 'f', -1, 64)
			}
			if row.Suggested != nil {
				suggested = fmt.Sprintf("%+d", *row.Suggested)
			}
			p.f("%s\t%s\t%+d\t%s\t%d\t%s\t%s\t%s\n", row.Code, from, row.Points, suggested, row.Hits, interval(row.Precision), without(row.Without), with(row.With))
		}
	})
	p.f("suggested points leave out what other reasons say of the same events: try them before publishing\n")
}

// without says what a reason's points decide alone.
func without(changes []backtest.Change) string {
	var parts []string
	for _, c := range changes {
		if c.Abuse != 0 || c.Legitimate != 0 {
			parts = append(parts, fmt.Sprintf("%s %+.0f abuse %+.0f legitimate", c.Decision, c.Abuse, c.Legitimate))
		}
	}
	return strings.Join(parts, ", ")
}

func with(reasons []backtest.Behind) string {
	var parts []string
	for _, b := range reasons {
		parts = append(parts, fmt.Sprintf("%s %d", b.Code, b.Events))
	}
	return strings.Join(parts, ", ")
}

func (p *lines) calibration(r *backtest.Result) {
	if r.Abuse == 0 || r.Legitimate == 0 {
		return
	}
	p.f("\n")
	p.table(func() {
		p.f("score\tprobability of abuse\tlabels\n")
		for _, c := range r.Calibration {
			p.f("%d to %d\t%s\t%d\n", c.From, c.To, percent(c.Probability), c.Labels)
		}
	})
}

// eventLine is what is printed of one event: all that the figures of the result are made of.
type eventLine struct {
	ID         string       `json:"assessment_id"`
	At         string       `json:"occurred_at"`
	Phone      string       `json:"phone_token,omitempty"` // "number 1", "number 2", ... of a file
	Was        string       `json:"was"`
	WasScore   int          `json:"was_score"`
	WasBy      string       `json:"was_by,omitempty"` // the code of what decided whatever the score
	WasReasons []eventPoint `json:"was_reasons"`      // null when the policy that decided is gone
	State      string       `json:"state"`
	Label      string       `json:"label,omitempty"`
	Weight     float64      `json:"weight,omitempty"`
	Unread     []string     `json:"not_replayable,omitempty"` // of an event that was not judged
	Decision   string       `json:"decision,omitempty"`       // "" when it was not judged
	Score      int          `json:"score"`
	Level      int          `json:"level"`        // of thresholds: the score, -1 allowed whatever it is, 101 blocked whatever it is
	By         string       `json:"by,omitempty"` // the code of what decides whatever the score
	Reasons    []eventPoint `json:"reasons"`
}

type eventPoint struct {
	Code   string `json:"code"`
	Step   int    `json:"step"`
	Points int    `json:"points"`
}

func eventPoints(v *scoring.Verdict, rules []scoring.Rule) []eventPoint {
	points := []eventPoint{}
	for _, f := range v.Fired {
		points = append(points, eventPoint{rules[f.Rule].Code, f.Step, f.Points})
	}
	return points
}

// eventPrinter returns what writes a line of JSON for every event.
func eventPrinter(w io.Writer, p *past) func(*backtest.Row) error {
	rules, phones := p.policy.Rules(), p.phones()
	out := json.NewEncoder(w)
	var was scoring.Verdict
	return func(r *backtest.Row) error {
		e := r.Entry
		l := eventLine{
			ID: p.name(e.ID.String()), At: timeText(e.Time), Phone: phones(e.Subjects[hashing.Phone]), Was: e.Verdict.String(), WasScore: e.Score,
			State: r.State.String(), Label: r.Label.String(), Weight: r.Weight, Reasons: []eventPoint{},
		}
		if wrote, known := r.Was(&was); known {
			l.WasBy, l.WasReasons = was.By.Code(), eventPoints(&was, wrote)
		}
		if r.Judged() {
			l.Decision, l.Score, l.Level, l.By, l.Reasons = r.New.Decision.String(), r.New.Score, r.Level(), r.New.By.Code(), eventPoints(r.New, rules)
		} else {
			l.Unread = r.Unread()
		}
		return out.Encode(&l)
	}
}
