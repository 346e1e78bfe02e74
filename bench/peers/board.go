package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// board keeps what everybody did, by name, a number a turn.
type board struct {
	names     []string // in the order in which they are printed
	perSecond map[string][]float64
	p50, p99  map[string][]float64 // microseconds
	server    map[string][]float64 // microseconds of CPU an event
	client    map[string][]float64

	halfRate, halfP50, halfP99 map[string][]float64
}

func newBoard() *board {
	b := &board{names: []string{
		inProcess, fullAlways, fullEverysec, leanAlways, leanEverysec, overHTTP, ginRedis, emptyGin, manyOverHTTP, manyEmptyGin, batches,
	}}
	for _, m := range []*map[string][]float64{&b.perSecond, &b.p50, &b.p99, &b.server, &b.client, &b.halfRate, &b.halfP50, &b.halfP99} {
		*m = map[string][]float64{}
	}
	return b
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// add keeps a turn; half says that it was one at half load.
func (b *board) add(name string, t turn, half bool) {
	put := func(m map[string][]float64, v float64) { m[name] = append(m[name], v) }
	if half {
		put(b.halfRate, t.PerSecond())
		put(b.halfP50, micros(t.Latency.Quantile(0.5)))
		put(b.halfP99, micros(t.Latency.Quantile(0.99)))
		return
	}
	put(b.perSecond, t.PerSecond())
	put(b.p50, micros(t.Latency.Quantile(0.5)))
	put(b.p99, micros(t.Latency.Quantile(0.99)))
	put(b.server, micros(t.server)/float64(t.Events))
	put(b.client, micros(t.CPU)/float64(t.Events))
}

// median returns the middle of some values, NaN-free: 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratio returns the median of what one did to what the other did, turn by turn.
func (b *board) ratio(one, other string) (ratio float64, ok bool) {
	x, y := b.perSecond[one], b.perSecond[other]
	var all []float64
	for i := range min(len(x), len(y)) {
		all = append(all, x[i]/y[i])
	}
	return median(all), len(all) > 0
}

func (b *board) print(out io.Writer, machine string, s settings) error {
	var w strings.Builder
	fmt.Fprintf(&w, "%s. %d turns of %v, medians; zipf, %d phones, 5 subjects an event; clients on the same machine.\n\n", machine, s.rounds, s.turn, s.phones)
	fmt.Fprintln(&w, "| who | a second | p50 | p99 | CPU us an event: server | client | half load: a second | p50 | p99 |")
	fmt.Fprintln(&w, "|---|---|---|---|---|---|---|---|---|")
	for _, name := range b.names {
		if len(b.perSecond[name]) == 0 {
			fmt.Fprintf(&w, "| %s | did not run | | | | | | | |\n", name)
			continue
		}
		server, client := fmt.Sprintf("%.1f", median(b.server[name])), fmt.Sprintf("%.1f", median(b.client[name]))
		if name == inProcess {
			server, client = client, "the same process"
		}
		fmt.Fprintf(&w, "| %s | %.0f | %.2f ms | %.2f ms | %s | %s | %.0f | %.2f ms | %.2f ms |\n", name, median(b.perSecond[name]),
			median(b.p50[name])/1e3, median(b.p99[name])/1e3, server, client,
			median(b.halfRate[name]), median(b.halfP50[name])/1e3, median(b.halfP99[name])/1e3)
	}
	b.printRatios(&w)
	b.printBars(&w)
	_, err := io.WriteString(out, w.String())
	return err
}

// goals are ratios and what they have to be at least.
var goals = []struct {
	one, other string
	least      float64 // 0: only published
}{
	{inProcess, fullAlways, 4}, {inProcess, fullEverysec, 0}, {inProcess, leanAlways, 2.3}, {inProcess, leanEverysec, 0},
	{overHTTP, emptyGin, 0.60}, {manyOverHTTP, manyEmptyGin, 0.70}, {overHTTP, ginRedis, 1.8},
}

func (b *board) printRatios(w *strings.Builder) {
	fmt.Fprintln(w, "\n| ratio | measured | at least | |\n|---|---|---|---|")
	for _, g := range goals {
		r, ok := b.ratio(g.one, g.other)
		if !ok {
			continue
		}
		fmt.Fprintf(w, "| %s / %s | %.2f | %s | %s |\n", g.one, g.other, r, bound(g.least), met(g.least == 0 || r >= g.least, g.least == 0))
	}
}

// printBars prints what has to hold without a peer.
func (b *board) printBars(w *strings.Builder) {
	fmt.Fprintln(w, "\n| what | measured | bar | |\n|---|---|---|---|")
	rate, cpu, p99 := median(b.perSecond[inProcess]), median(b.client[inProcess]), median(b.halfP99[overHTTP])/1e3
	fmt.Fprintf(w, "| in process, a second | %.0f | at least 110000 | %s |\n", rate, met(rate >= 110_000, false))
	fmt.Fprintf(w, "| in process, CPU us an event, hashing included | %.1f | at most 10 | %s |\n", cpu, met(cpu <= 10, false))
	if rate, ran := median(b.perSecond[batches]), len(b.perSecond[batches]) > 0; ran {
		fmt.Fprintf(w, "| over HTTP in batches, events a second | %.0f | at least 100000 | %s |\n", rate, met(rate >= 100_000, false))
	}
	if len(b.halfP99[overHTTP]) > 0 {
		fmt.Fprintf(w, "| over HTTP, p99 at half load | %.2f ms | at most 5 ms | %s |\n", p99, met(p99 <= 5, false))
	}
}

func bound(least float64) string {
	if least == 0 {
		return "published"
	}
	return fmt.Sprintf("%.2f", least)
}

func met(yes, noBar bool) string {
	switch {
	case noBar:
		return ""
	case yes:
		return "met"
	}
	return "NOT MET"
}
