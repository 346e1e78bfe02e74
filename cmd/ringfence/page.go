package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"

	"github.com/ringfence/ringfence/scoring/backtest"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": percent, "cost": cost, "cheapest": cheapest, "interval": interval, "moment": moment, "settings": settings, "without": without, "reasons": with,
	"share": func(n, of uint64) string { return percent(float64(n) / float64(max(of, 1))) },
}).Parse(pageSource))

// page is what the template shows.
type page struct {
	*backtest.Result
	Plots []plot
	Notes []backtest.Note
}

// plot is a drawing with axes, of points in [0, 1] x [0, 1].
type plot struct {
	Title, X, Y string
	XTo, YTo    string // what 1 stands for
	Series      []series
	Bars        []bar
}

type series struct {
	Name, Class string
	Line        string // points of a polyline
	Band        string // points of a polygon: the interval around the line
}

type bar struct {
	Class         string
	X, Y, W, H    float64
	Score, Events int
}

// Size of a drawing inside its axes.
const (
	plotWidth  = 420
	plotHeight = 240
)

// writePage writes a page with plots to the file named by --out, if one is.
func (f *backtestFlags) writePage(r *backtest.Result, notes ...backtest.Note) error {
	if f.page == "" {
		return nil
	}
	p := page{Result: r, Plots: []plot{scorePlot(r)}, Notes: notes}
	if r.Abuse > 0 && r.Legitimate > 0 {
		p.Plots = append(p.Plots, thresholdPlot(r), recallPlot(r), calibrationPlot(r))
		if r.Costs != nil {
			p.Plots = append(p.Plots, costPlot(r))
		}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return err
	}
	return os.WriteFile(f.page, b.Bytes(), 0o600)
}

// at places a point, the origin at the lower left.
func at(x, y float64) string {
	return fmt.Sprintf("%.1f,%.1f ", x*plotWidth, (1-min(max(y, 0), 1))*plotHeight)
}

// logShare is how high a count stands, between 0 and 1, on a logarithmic scale.
func logShare(n, most uint64) float64 {
	return math.Log1p(float64(n)) / math.Log1p(float64(most))
}

// scorePlot shows how many events have which score, abuse and legitimate ones apart, on a logarithmic scale.
func scorePlot(r *backtest.Result) plot {
	most := uint64(1)
	for _, s := range r.Scores {
		most = max(most, s.Events)
	}
	p := plot{Title: "Events by score", X: "score", Y: "events, logarithmic", XTo: "100", YTo: fmt.Sprint(most)}
	height := func(n uint64) float64 { return plotHeight * logShare(n, most) }
	for _, s := range r.Scores {
		for _, part := range []struct {
			class string
			n     uint64
			shift float64
		}{{"all", s.Events, 0}, {"abuse", s.Abuse, 0}, {"legitimate", s.Legitimate, 0.5}} {
			if part.n == 0 {
				continue
			}
			width := plotWidth / 101.0
			if part.class != "all" {
				width /= 2
			}
			h := height(part.n)
			p.Bars = append(p.Bars, bar{
				part.class, (float64(s.Score) + part.shift) * plotWidth / 101, plotHeight - h, width, h, s.Score, int(part.n), //nolint:gosec // a count
			})
		}
	}
	p.Series = []series{{Name: "all events", Class: "all"}, {Name: "abuse", Class: "abuse"}, {Name: "legitimate", Class: "legitimate"}}
	return p
}

// thresholdPlot shows the shares at every threshold, with their intervals.
func thresholdPlot(r *backtest.Result) plot {
	p := plot{Title: "Shares by threshold", X: "threshold", Y: "share", XTo: "100", YTo: "1"}
	for _, s := range []struct {
		name, class string
		rate        func(*backtest.Point) backtest.Rate
	}{
		{"precision", "precision", func(p *backtest.Point) backtest.Rate { return p.Precision }},
		{"recall", "recall", func(p *backtest.Point) backtest.Rate { return p.Recall }},
		{"false positives", "fpr", func(p *backtest.Point) backtest.Rate { return p.FPR }},
	} {
		var line, upper strings.Builder
		lower := ""
		for i := range r.Curve {
			rate := s.rate(&r.Curve[i])
			if !rate.Known() {
				continue
			}
			x := float64(i) / 100
			line.WriteString(at(x, rate.Share))
			upper.WriteString(at(x, rate.High))
			lower = at(x, rate.Low) + lower
		}
		p.Series = append(p.Series, series{s.name, s.class, line.String(), upper.String() + lower})
	}
	return p
}

// recallPlot shows precision over recall.
func recallPlot(r *backtest.Result) plot {
	var line strings.Builder
	for i := range r.Curve {
		if c := &r.Curve[i]; c.Precision.Known() && c.Recall.Known() {
			line.WriteString(at(c.Recall.Share, c.Precision.Share))
		}
	}
	return plot{
		Title: fmt.Sprintf("Precision over recall (average precision %.3f)", r.AveragePrecision), X: "recall", Y: "precision", XTo: "1", YTo: "1",
		Series: []series{{Name: "by threshold", Class: "precision", Line: line.String()}},
	}
}

// calibrationPlot shows the probability of abuse at every score.
func calibrationPlot(r *backtest.Result) plot {
	var line strings.Builder
	for _, c := range r.Calibration {
		line.WriteString(at(float64(c.From)/100, c.Probability) + at(float64(c.To)/100, c.Probability))
	}
	return plot{
		Title: "Probability of abuse by score", X: "score", Y: "probability", XTo: "100", YTo: "1",
		Series: []series{{Name: "isotonic fit", Class: "recall", Line: line.String()}},
	}
}

// costPlot shows what every threshold costs, save for 0, which acts on everything and would dwarf the rest.
func costPlot(r *backtest.Result) plot {
	most := 0.0
	for i := 1; i < len(r.Curve); i++ {
		most = max(most, *r.Curve[i].Loss)
	}
	var line strings.Builder
	for i := 1; i < len(r.Curve); i++ {
		line.WriteString(at(float64(i)/100, *r.Curve[i].Loss/max(most, 1e-9)))
	}
	return plot{
		Title: "Cost by threshold", X: "threshold", Y: "cost", XTo: "100", YTo: fmt.Sprintf("%.4g", most),
		Series: []series{{Name: prices(r.Costs.FP, r.Costs.FN), Class: "fpr", Line: line.String()}},
	}
}
