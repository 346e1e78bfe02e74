package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Config says how to replay.
type Config struct {
	// Store gets the counts. It should be new, in memory, and have lists loaded.
	Store  engine.Store
	Hasher *hashing.Hasher
	Policy *scoring.Policy

	// Sort applies lines by time. Without it, they are applied in the order of
	// the file, and one that happened more than MaxLateness before the newest so far
	// is refused.
	Sort        bool
	MaxLateness time.Duration

	// Assessments gets one line of JSON for each event, in the order they were
	// applied. Nil for none.
	Assessments io.Writer

	// Assessed is told of every event that was assessed, in that order: the line it stands on, and what its
	// label says, 0 for nothing. Nil for nobody.
	Assessed func(line int, ev *engine.Event, label scoring.Event)

	// Refused is told of every line that cannot be used. Nil to only count them.
	Refused func(line int, why error)

	// Progress is told how many of all lines were applied. Nil for nobody.
	Progress func(done, all int)

	room int // of the spool; 0 is defaultRoom
}

// Run replays an input and reports on it. A line that cannot be used is no
// error.
func Run(ctx context.Context, cfg Config, in Input) (*Report, error) {
	r := &runner{cfg: cfg, report: newReport(), awaiting: map[string]*awaited{}}
	e, err := engine.New(ctx, engine.Config{Store: cfg.Store, Domain: cfg.Hasher.Domain(), Policy: cfg.Policy, Now: r.now})
	if err != nil {
		return nil, err
	}
	r.engine = e
	// Nothing in the spools is wanted any more at the end.
	ordered := newSpool(cfg.order(), cmp.Or(cfg.room, defaultRoom))
	defer func() { _ = ordered.close() }()
	named := newSpool(byName(cfg.order()), cmp.Or(cfg.room, defaultRoom))
	defer func() { _ = named.close() }()
	err = in.rows(func(line int, row *row, bad error) error {
		it := r.read(line, row, bad)
		switch {
		case it == nil:
			return ctx.Err()
		case it.name() == "":
			return errors.Join(ordered.add(it), ctx.Err())
		}
		return errors.Join(named.add(it), ctx.Err())
	})
	if err != nil {
		return nil, err
	}
	j := join{next: ordered.add}
	if err := named.each(ctx, j.add); err != nil {
		return nil, err
	}
	if err := ordered.each(ctx, func(it *item) error { return r.apply(ctx, it) }); err != nil {
		return nil, err
	}
	r.report.UnusedLabels = r.report.Labels - r.used
	return r.report, nil
}

// order is the order in which events and outcomes are applied.
func (c *Config) order() func(a, b *item) int {
	if c.Sort {
		return byTime
	}
	return byLine
}

// runner is one replay.
type runner struct {
	cfg    Config
	engine *engine.Engine
	report *Report
	used   int   // labels whose event was assessed
	newest int64 // unix microseconds: the clock
	done   int
	all    int
	a      engine.Assessment

	awaiting map[string]*awaited // by id: events with outcomes still to come
}

// awaited is an event that was applied, while outcomes of it are still to come.
type awaited struct {
	id   engine.EventID
	left int // how many
}

// now is the clock of the replay: the newest time of any line so far.
func (r *runner) now() time.Time { return time.UnixMicro(r.newest) }

func (r *runner) refuse(line int, why error) {
	r.report.Refused[codeOf(why)]++
	if r.cfg.Refused != nil {
		r.cfg.Refused(line, why)
	}
}

// read returns what a line says, nil when it cannot be used.
func (r *runner) read(line int, row *row, bad error) *item {
	r.report.Lines++
	if bad != nil {
		r.refuse(line, bad)
		return nil
	}
	it, err := read(r.cfg.Hasher, line, row)
	switch {
	case err != nil:
		r.refuse(line, err)
		return nil
	case it.isLabel():
		r.report.Labels++
	default:
		r.all++
	}
	return it
}

func (r *runner) apply(ctx context.Context, it *item) error {
	r.done++
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.done, r.all)
	}
	if it.Time < r.newest-r.cfg.MaxLateness.Microseconds() {
		r.refuse(it.Line, &problem{"late", "it happened too long before the lines above it; sort the input (--sort) or allow it (--max-lateness)"})
		return nil
	}
	r.newest = max(r.newest, it.Time)
	if it.Event == nil {
		return r.applyOutcome(ctx, it)
	}
	return r.applyEvent(ctx, it)
}

func (r *runner) applyOutcome(ctx context.Context, it *item) error {
	id, ok := r.outcomeOf(it.For)
	if !ok {
		r.refuse(it.Line, &problem{"unknown_event", "its for names no event before it"})
		return nil
	}
	o := &engine.Outcome{Event: id, Kind: it.Outcome, Time: time.UnixMicro(it.Time).Unix()}
	if err := r.engine.RecordOutcome(ctx, o); err != nil {
		return fmt.Errorf("line %d: %w", it.Line, err)
	}
	r.report.Outcomes++
	return nil
}

// outcomeOf returns the event that an outcome is of, and forgets it after the last one.
func (r *runner) outcomeOf(name string) (engine.EventID, bool) {
	of, ok := r.awaiting[name]
	if !ok {
		return engine.EventID{}, false
	}
	if of.left--; of.left == 0 {
		delete(r.awaiting, name)
	}
	return of.id, true
}

func (r *runner) applyEvent(ctx context.Context, it *item) error {
	if it.Twice {
		r.refuse(it.Line, &problem{"duplicate_id", "an event before it has the same id"})
		return nil
	}
	if err := r.engine.Assess(ctx, it.Event, &r.a); err != nil {
		return fmt.Errorf("line %d: %w", it.Line, err)
	}
	if it.Outcomes > 0 {
		r.awaiting[it.ID] = &awaited{r.a.ID, it.Outcomes}
	}
	kind := it.Label
	if it.Labelled != 0 {
		kind = it.Labelled
		r.used++
	}
	r.report.count(it, r.a.Decision, kind)
	if r.cfg.Assessed != nil {
		r.cfg.Assessed(it.Line, it.Event, kind)
	}
	return r.print(it, kind)
}

// line is what is printed of an event.
type line struct {
	ID       string             `json:"id"`
	Decision string             `json:"decision"`
	Score    int                `json:"score"`
	Reasons  []reason           `json:"reasons"`
	Signals  map[string]float64 `json:"signals"`
	Label    *string            `json:"label"`
}

type reason struct {
	Code     string   `json:"code"`
	Points   int      `json:"points"`
	Observed *float64 `json:"observed,omitempty"`
}

func (r *runner) print(it *item, kind scoring.Event) error {
	if r.cfg.Assessments == nil {
		return nil
	}
	out := line{ID: it.ID, Decision: r.a.Decision.String(), Score: r.a.Score, Reasons: []reason{}, Signals: map[string]float64{}}
	if out.ID == "" {
		out.ID = fmt.Sprintf("line-%d", it.Line)
	}
	for _, why := range r.a.Reasons {
		out.Reasons = append(out.Reasons, reason{Code: why.Code, Points: why.Points, Observed: known(why.Observed)})
	}
	for i, signal := range r.cfg.Policy.Signals() {
		if v := known(r.a.Values[scoring.SlotSignals+i]); v != nil {
			out.Signals[signal.Name] = *v
		}
	}
	if kind != 0 {
		name := kind.String()
		out.Label = &name
	}
	text, err := json.Marshal(&out)
	if err != nil {
		return err
	}
	_, err = r.cfg.Assessments.Write(append(text, '\n'))
	return err
}

// known returns nil for an unknown value.
func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}
