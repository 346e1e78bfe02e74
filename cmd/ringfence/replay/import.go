package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// ImportConfig says how to import.
type ImportConfig struct {
	Store  engine.Store
	Hasher *hashing.Hasher
	Policy *scoring.Policy  // scores the events: what it blocks links no account
	Now    func() time.Time // the clock

	// Refused is told of every line that cannot be used.
	Refused func(line int, why error)

	// Progress is told how many of all events and outcomes are done.
	Progress func(done, all int)

	room int // of the spool; 0 is defaultRoom
}

// ImportReport is what became of the lines of an import.
type ImportReport struct {
	Lines    int            `json:"lines"`    // that were not blank
	Events   int            `json:"events"`   // counted now
	Outcomes int            `json:"outcomes"` // recorded now
	Before   int            `json:"before"`   // events and outcomes that an earlier import, or a line above, brought
	Labels   int            `json:"labels"`   // lines that are labels, which are no history
	Refused  map[string]int `json:"refused"`  // by cause
}

// RefusedLines returns how many lines could not be used.
func (r *ImportReport) RefusedLines() int {
	n := 0
	for _, refused := range r.Refused {
		n += refused
	}
	return n
}

// Import counts a file of past events and outcomes into a store that stays. They are sorted by
// time first, as a replay with Config.Sort does it, and counted in event time, one after the other: a log in the order of
// its times is what a backtest can count again.
//
// An import can be cut short at any point, also by a loss of power, and run again: what is in is
// not counted twice. Every event is committed together with a mark: a keyed digest of its id, or of
// its whole line where it has no id. So files may also overlap, and a line that stands in them
// twice is one event. The marks are in force for MarkedFor. An id that comes again with another
// content is refused.
func Import(ctx context.Context, cfg ImportConfig, in Input) (*ImportReport, error) {
	e, err := engine.New(ctx, engine.Config{Store: cfg.Store, Domain: cfg.Hasher.Domain(), Policy: cfg.Policy, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	i := &importer{cfg: cfg, engine: e, older: cfg.Hasher.Before(), report: &ImportReport{Refused: map[string]int{}}}
	sorted := newSpool(byTime, cmp.Or(cfg.room, defaultRoom))
	defer func() { _ = sorted.close() }() // nothing in it is wanted any more
	err = in.rows(func(line int, r *row, bad error) error {
		if it := i.read(line, r, bad); it != nil {
			i.all++
			return errors.Join(sorted.add(it), ctx.Err())
		}
		return ctx.Err()
	})
	if err != nil {
		return i.report, err
	}
	err = sorted.each(ctx, func(it *item) error {
		if err := i.apply(ctx, it); err != nil {
			return err
		}
		if i.done%importTogether == 0 {
			return cfg.Store.Durable(ctx)
		}
		return nil
	})
	if err == nil {
		err = cfg.Store.Durable(ctx)
	}
	return i.report, err
}

// MarkedFor is how long an event that was imported is known again.
const MarkedFor = 400 * 24 * time.Hour

// importTogether is how many items wait together for the disk.
const importTogether = 512

type importer struct {
	cfg    ImportConfig
	engine *engine.Engine
	older  []*hashing.Hasher // under which an earlier import may have marked what it brought
	all    int
	done   int
	report *ImportReport
	answer engine.Assessment
}

// read returns what a line says, nil when it is not to be imported.
func (i *importer) read(line int, r *row, bad error) *item {
	i.report.Lines++
	it, err := (*item)(nil), bad
	if err == nil {
		it, err = read(i.cfg.Hasher, line, r)
	}
	if err == nil && !it.isLabel() && time.UnixMicro(it.Time).After(i.cfg.Now().Add(10*time.Minute)) {
		err = &problem{"in_the_future", "its time has not come yet"}
	}
	if err != nil {
		i.refuse(line, err)
		return nil
	}
	if it.isLabel() {
		i.report.Labels++
		return nil
	}
	text, err := json.Marshal(r.plain())
	if err != nil {
		panic("replay: a row that is not JSON")
	}
	it.Content = i.cfg.Hasher.Fingerprint("import", text)
	for _, older := range i.older {
		it.Before = append(it.Before, older.Fingerprint("import", text))
	}
	return it
}

// plain is a row for encoding/json, which would show the embedded request's fixed word.
func (r *row) plain() any {
	type request struct{ Row, Number, Region, Event, Account, IP, Device, Country, At, Outcome, For, Verified string }
	return request{
		r.ID, r.PhoneNumber, r.DefaultRegion, r.Event, r.AccountID, r.IP, r.DeviceID, r.IPCountry, r.OccurredAt, r.Outcome, r.For, fmt.Sprint(r.Verified),
	}
}

func (i *importer) refuse(line int, why error) {
	i.report.Refused[codeOf(why)]++
	if i.cfg.Refused != nil {
		i.cfg.Refused(line, why)
	}
}

// The marks of items. No key of a caller has a space in it.
func (i *importer) mark(it *item) hashing.Digest {
	if it.Event != nil && it.ID != "" {
		return i.markOf(it.ID)
	}
	return lineMark(i.cfg.Hasher, it.Content)
}

func lineMark(h *hashing.Hasher, content hashing.Digest) hashing.Digest {
	return h.IdempotencyKey("import line " + string(content[:]))
}

func (i *importer) markOf(name string) hashing.Digest { return nameMark(i.cfg.Hasher, name) }

func nameMark(h *hashing.Hasher, name string) hashing.Digest {
	return h.IdempotencyKey("import id " + name)
}

// marked returns what an earlier import left of an item, and what the content of the item would be there.
func (i *importer) marked(ctx context.Context, it *item) (*engine.Remembered, hashing.Digest, error) {
	r, err := i.remembered(ctx, i.mark(it))
	content := it.Content
	for n, older := range i.older {
		if r != nil || err != nil {
			break
		}
		mark := lineMark(older, it.Before[n])
		if it.Event != nil && it.ID != "" {
			mark = nameMark(older, it.ID)
		}
		content = it.Before[n]
		r, err = i.remembered(ctx, mark)
	}
	return r, content, err
}

// recall returns the event that an id in the file stands for.
func (i *importer) recall(ctx context.Context, name string) (id engine.EventID, ok bool, err error) {
	r, err := i.remembered(ctx, i.markOf(name))
	for _, older := range i.older {
		if r == nil && err == nil {
			r, err = i.remembered(ctx, nameMark(older, name))
		}
	}
	if err != nil || r == nil {
		return id, false, err
	}
	if len(r.Answer) != len(id) {
		return id, false, fmt.Errorf("%w: the mark of an import", engine.ErrCorrupt)
	}
	copy(id[:], r.Answer)
	return id, true, nil
}

func (i *importer) remembered(ctx context.Context, mark hashing.Digest) (*engine.Remembered, error) {
	now := i.cfg.Now().Unix()
	r, err := i.cfg.Store.Recall(ctx, i.cfg.Hasher.Domain(), mark, now)
	if r != nil && r.Expires <= now { // the store does not believe a clock that jumped
		r = nil
	}
	return r, err
}

// apply counts an item, unless it is in already.
func (i *importer) apply(ctx context.Context, it *item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, content, err := i.marked(ctx, it)
	switch {
	case err != nil:
	case r == nil:
		once := &engine.Once{Key: i.mark(it), Fingerprint: it.Content, Expires: i.cfg.Now().Add(MarkedFor).Unix(), Lasts: int64(MarkedFor / time.Second)}
		if it.Event != nil {
			err = i.applyEvent(ctx, it, once)
		} else {
			err = i.applyOutcome(ctx, it, once)
		}
	case r.Fingerprint != content:
		i.refuse(it.Line, &problem{"duplicate_id", "an event with the same id and another content is in already"})
	default:
		i.report.Before++
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", it.Line, err)
	}
	if i.done++; i.cfg.Progress != nil {
		i.cfg.Progress(i.done, i.all)
	}
	return nil
}

func (i *importer) applyEvent(ctx context.Context, it *item, once *engine.Once) error {
	it.Event.Once, it.Event.Later = once, true
	once.Render = func() []byte { return i.answer.ID[:] }
	if err := i.engine.Assess(ctx, it.Event, &i.answer); err != nil {
		return err
	}
	i.report.Events++
	return nil
}

func (i *importer) applyOutcome(ctx context.Context, it *item, once *engine.Once) error {
	of, ok, err := i.recall(ctx, it.For)
	if err != nil {
		return err
	}
	if !ok {
		i.refuse(it.Line, &problem{"unknown_event", "its for names no event before it"})
		return nil
	}
	once.Render = func() []byte { return nil }
	o := &engine.Outcome{Event: of, Kind: it.Outcome, Time: time.UnixMicro(it.Time).Unix(), Once: once, Later: true}
	err = i.engine.RecordOutcome(ctx, o)
	if errors.Is(err, engine.ErrUnknownEvent) {
		i.refuse(it.Line, &problem{"unknown_event", "its for names an event that is no longer in the log"})
		return nil
	}
	if err != nil {
		return err
	}
	i.report.Outcomes++
	return nil
}
