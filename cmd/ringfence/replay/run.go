package replay

import (
	"cmp"
	"context"
	"encoding/json"
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
	r := &runner{cfg: cfg, report: newReport(), labels: map[string]scoring.Event{}, ids: map[string]engine.EventID{}}
	e, err := engine.New(ctx, engine.Config{Store: cfg.Store, Domain: cfg.Hasher.Domain(), Policy: cfg.Policy, Now: r.now})
	if err != nil {
		return nil, err
	}
	r.engine = e
	order := byLine
	if cfg.Sort {
		order = byTime
	}
	s, err := newSpool(order, cmp.Or(cfg.room, defaultRoom))
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }() // nothing in it is wanted any more
	if err := in.rows(func(line int, row *row, bad error) error { return r.collect(ctx, s, line, row, bad) }); err != nil {
		return nil, err
	}
	if err := s.each(ctx, func(it *item) error { return r.apply(ctx, it) }); err != nil {
		return nil, err
	}
	r.report.UnusedLabels = r.report.Labels - r.used
	return r.report, nil
}

// runner is one replay.
type runner struct {
	cfg    Config
	engine *engine.Engine
	report *Report
	labels map[string]scoring.Event  // by the id of their event
	used   int                       // labels whose event was assessed
	ids    map[string]engine.EventID // of events that were applied
	newest int64                     // unix microseconds: the clock
	done   int
	all    int
	a      engine.Assessment
}

// now is the clock of the replay: the newest time of any line so far.
func (r *runner) now() time.Time { return time.UnixMicro(r.newest) }

func (r *runner) refuse(line int, why error) {
	r.report.Refused[codeOf(why)]++
	if r.cfg.Refused != nil {
		r.cfg.Refused(line, why)
	}
}

// collect keeps what a line says until it is applied.
func (r *runner) collect(ctx context.Context, s *spool, line int, row *row, bad error) error {
	r.report.Lines++
	if bad != nil {
		r.refuse(line, bad)
		return ctx.Err()
	}
	it, l, err := read(r.cfg.Hasher, line, row)
	switch {
	case err != nil:
		r.refuse(line, err)
		return ctx.Err()
	case l != nil:
		r.report.Labels++
		r.labels[l.of] = l.kind
		return nil
	}
	r.all++
	if err := s.add(it); err != nil {
		return err
	}
	return ctx.Err()
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
	id, ok := r.ids[it.For]
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

func (r *runner) applyEvent(ctx context.Context, it *item) error {
	if _, twice := r.ids[it.ID]; twice {
		r.refuse(it.Line, &problem{"duplicate_id", "an event before it has the same id"})
		return nil
	}
	if err := r.engine.Assess(ctx, it.Event, &r.a); err != nil {
		return fmt.Errorf("line %d: %w", it.Line, err)
	}
	kind := it.Label
	if it.ID != "" {
		r.ids[it.ID] = r.a.ID
		if l := r.labels[it.ID]; l != 0 {
			kind = l
			r.used++
		}
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
