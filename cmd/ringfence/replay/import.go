package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
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

	// Refused is told of every line that cannot be used; never two at a time.
	Refused func(line int, why error)

	// Progress is told how many of all events and outcomes are done; never two at a time.
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
// time first, as a replay with Config.Sort does it, and counted in event time.
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
		if i.batch = append(i.batch, it); len(i.batch) < importTogether {
			return nil
		}
		return i.flush(ctx)
	})
	if err == nil {
		err = i.flush(ctx)
	}
	return i.report, err
}

// MarkedFor is how long an event that was imported is known again.
const MarkedFor = 400 * 24 * time.Hour

// importTogether is how many items are applied side by side, as far as they have nobody in common.
const importTogether = 512

type importer struct {
	cfg    ImportConfig
	engine *engine.Engine
	older  []*hashing.Hasher // under which an earlier import may have marked what it brought
	batch  []*item
	all    int

	mu     sync.Mutex
	done   int           // guarded by mu
	report *ImportReport // guarded by mu once items are applied
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
	i.mu.Lock()
	defer i.mu.Unlock()
	i.report.Refused[codeOf(why)]++
	if i.cfg.Refused != nil {
		i.cfg.Refused(line, why)
	}
}

// flush applies the batch: items that share a subject or an id one after the other, so that each
// sees what came before it, and all others side by side, so that they wait together for the disk.
func (i *importer) flush(ctx context.Context) error {
	defer func() { i.batch = i.batch[:0] }()
	parties := newParties(len(i.batch))
	ids := make([]engine.EventID, len(i.batch)) // of the events that outcomes are of
	for n, it := range i.batch {
		var err error
		if ids[n], err = i.join(ctx, parties, n, it); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, together := range parties.all() {
		wg.Go(func() {
			var a engine.Assessment
			for _, n := range together {
				if err := i.apply(ctx, i.batch[n], ids[n], &a); err != nil {
					mu.Lock()
					failed = cmp.Or(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// join says whom an item has to do with. The id is that of the event an outcome is of, where
// an earlier batch brought it.
func (i *importer) join(ctx context.Context, p *parties, n int, it *item) (id engine.EventID, err error) {
	p.meet(n, i.mark(it))
	if it.Event != nil {
		for _, s := range it.Event.Subjects {
			if s.Given() {
				p.meet(n, s)
			}
		}
		return id, nil
	}
	p.meet(n, i.markOf(it.For))
	id, ok, err := i.recall(ctx, it.For)
	if err != nil || !ok {
		return id, err
	}
	entry, err := i.cfg.Store.Entry(ctx, i.cfg.Hasher.Domain(), id)
	if errors.Is(err, engine.ErrUnknownEvent) {
		return id, nil // erased since, or gone with time: apply says so
	}
	if err != nil {
		return id, fmt.Errorf("line %d: %w", it.Line, err)
	}
	for _, s := range entry.Subjects {
		if s.Given() {
			p.meet(n, s)
		}
	}
	return id, nil
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
func (i *importer) apply(ctx context.Context, it *item, of engine.EventID, a *engine.Assessment) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, content, err := i.marked(ctx, it)
	switch {
	case err != nil:
	case r == nil:
		once := &engine.Once{Key: i.mark(it), Fingerprint: it.Content, Expires: i.cfg.Now().Add(MarkedFor).Unix(), Lasts: int64(MarkedFor / time.Second)}
		if it.Event != nil {
			err = i.applyEvent(ctx, it, once, a)
		} else {
			err = i.applyOutcome(ctx, it, once, of)
		}
	case r.Fingerprint != content:
		i.refuse(it.Line, &problem{"duplicate_id", "an event with the same id and another content is in already"})
	default:
		i.note(func() { i.report.Before++ })
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", it.Line, err)
	}
	i.note(func() {
		if i.done++; i.cfg.Progress != nil {
			i.cfg.Progress(i.done, i.all)
		}
	})
	return nil
}

func (i *importer) note(what func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	what()
}

func (i *importer) applyEvent(ctx context.Context, it *item, once *engine.Once, a *engine.Assessment) error {
	it.Event.Once = once
	once.Render = func() []byte { return a.ID[:] }
	if err := i.engine.Assess(ctx, it.Event, a); err != nil {
		return err
	}
	i.note(func() { i.report.Events++ })
	return nil
}

func (i *importer) applyOutcome(ctx context.Context, it *item, once *engine.Once, of engine.EventID) error {
	if !of.Given() {
		id, ok, err := i.recall(ctx, it.For) // this batch may have brought it
		if err != nil {
			return err
		}
		if !ok {
			i.refuse(it.Line, &problem{"unknown_event", "its for names no event before it"})
			return nil
		}
		of = id
	}
	once.Render = func() []byte { return nil }
	o := &engine.Outcome{Event: of, Kind: it.Outcome, Time: time.UnixMicro(it.Time).Unix(), Once: once}
	err := i.engine.RecordOutcome(ctx, o)
	if errors.Is(err, engine.ErrUnknownEvent) {
		i.refuse(it.Line, &problem{"unknown_event", "its for names an event that is no longer in the log"})
		return nil
	}
	if err != nil {
		return err
	}
	i.note(func() { i.report.Outcomes++ })
	return nil
}

// parties tells apart which of a batch's items have somebody in common, by whatever chain.
type parties struct {
	parent []int
	first  map[any]int // who met somebody first
}

func newParties(n int) *parties {
	p := &parties{parent: make([]int, n), first: make(map[any]int, 4*n)}
	for i := range p.parent {
		p.parent[i] = i
	}
	return p
}

// meet notes that an item has to do with somebody.
func (p *parties) meet(n int, who any) {
	other, met := p.first[who]
	if !met {
		p.first[who] = n
		return
	}
	p.parent[max(p.root(n), p.root(other))] = min(p.root(n), p.root(other))
}

func (p *parties) root(n int) int {
	for p.parent[n] != n {
		p.parent[n] = p.parent[p.parent[n]]
		n = p.parent[n]
	}
	return n
}

// all returns the items of each party, in their order.
func (p *parties) all() map[int][]int {
	all := map[int][]int{}
	for n := range p.parent {
		all[p.root(n)] = append(all[p.root(n)], n)
	}
	return all
}
