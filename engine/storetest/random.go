package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// asked are the signals compared with the model after every event: one of each
// aggregate for every kind of subject that keeps it.
var asked = []scoring.Signal{
	{Subject: scoring.Phone, Aggregate: scoring.Count, Event: scoring.Signup, Window: time.Minute},
	{Subject: scoring.Phone, Aggregate: scoring.Count, Event: scoring.Verification, Window: 24 * time.Hour},
	{Subject: scoring.Phone, Aggregate: scoring.Count, Event: scoring.Verified, Window: 30 * 24 * time.Hour},
	{Subject: scoring.Phone, Aggregate: scoring.Count, Event: scoring.Signup, Window: 180 * 24 * time.Hour},
	{Subject: scoring.Phone, Aggregate: scoring.Distinct, Member: scoring.Accounts, Window: 6 * time.Hour},
	{Subject: scoring.Phone, Aggregate: scoring.Distinct, Member: scoring.Devices, Window: 48 * time.Hour},
	{Subject: scoring.Phone, Aggregate: scoring.Links},
	{Subject: scoring.Phone, Aggregate: scoring.Labels, Event: scoring.Abuse},
	{Subject: scoring.Range, Aggregate: scoring.Distinct, Member: scoring.Phones, Window: time.Hour},
	{Subject: scoring.Range, Aggregate: scoring.Count, Event: scoring.Unverified, Window: 24 * time.Hour},
	{Subject: scoring.Account, Aggregate: scoring.Distinct, Member: scoring.Phones, Window: 24 * time.Hour},
	{Subject: scoring.Account, Aggregate: scoring.Count, Event: scoring.NumberChange, Window: 24 * time.Hour},
	{Subject: scoring.IP, Aggregate: scoring.Distinct, Member: scoring.Phones, Window: time.Hour},
	{Subject: scoring.Network, Aggregate: scoring.Distinct, Member: scoring.Accounts, Window: time.Hour},
	{Subject: scoring.Device, Aggregate: scoring.Labels, Event: scoring.Legitimate},
	{Subject: scoring.Device, Aggregate: scoring.Count, Event: scoring.SignIn, Window: 30 * time.Hour},
}

// Bounds of the package window: exact up to this many, and within 1/64 beyond.
const (
	exactEvents  = 32
	eventsErrors = 1.0 / 64
)

// few is how many different subjects of a kind there are: few enough that they
// meet, and too few for a distinct count to be an estimate.
const few = 6

// machine runs random operations on a store and on the model.
type machine struct {
	w     *world
	open  Opened
	model *model
	limit int

	// The key of the subjects that operations name; the model knows those of key 0. See rotate.go.
	key   int
	lived map[hashing.Subject]map[int]bool // keys under which tokens of a phone were given out
	named map[hashing.Subject]map[int]bool // keys under which a phone was named since it was erased
	gone  map[hashing.Subject]bool         // phones that were erased
}

func equalsModel(t *testing.T, open Open) {
	operations := 0
	defer func() { t.Logf("%d operations", operations) }()
	rapid.Check(t, func(rt *rapid.T) {
		o := open(t)
		m := &machine{w: &world{t: t, store: o.Store, open: o}, open: o, model: newModel(), limit: 3, lived: map[hashing.Subject]map[int]bool{}, named: map[hashing.Subject]map[int]bool{}, gone: map[hashing.Subject]bool{}}
		m.model.now = start
		defer func() {
			_ = m.w.store.Close()
			if o.Discard != nil {
				o.Discard()
			}
		}()
		actions := map[string]func(*rapid.T){
			"assess": m.assess, "assess more": m.assess, "outcome": m.outcome, "unlink": m.unlink,
			"release": m.release, "erase": m.erase, "list": m.list, "unlist": m.unlist, "limit": m.changeLimit,
			"adopt": m.adopt, "add policy": m.addPolicy, "roll out": m.rollOut, "roll back": m.rollBack, "calibrate": m.calibrate,
			"rotate": m.rotate, "stale token": m.staleToken, "": m.compareTimeline,
		}
		if o.Clock != nil {
			actions["sweep"], actions["idle"], actions["recall"] = m.sweep, m.idle, m.recall
		}
		if o.Reopen != nil {
			actions["reopen"] = m.reopen
		}
		if o.Crash != nil {
			actions["crash"] = m.crash
		}
		for name, action := range actions {
			actions[name] = func(rt *rapid.T) {
				operations++
				action(rt)
			}
		}
		rt.Repeat(actions)
	})
}

func (m *machine) check(rt *rapid.T, err error) {
	if err != nil {
		rt.Fatal(err)
	}
}

// pass lets some time go by: often none, sometimes hours.
func (m *machine) pass(rt *rapid.T) {
	m.goOn(rapid.SampledFrom([]int64{0, 0, 1, 30, 59, 60, 3600, 7 * 3600}).Draw(rt, "seconds"))
}

// goOn lets seconds go by.
func (m *machine) goOn(seconds int64) {
	m.model.now += seconds
	if m.open.Clock != nil {
		m.open.Clock.pass(seconds)
	}
}

// idle lets days go by.
func (m *machine) idle(rt *rapid.T) {
	m.goOn(days * rapid.SampledFrom([]int64{1, 29, 60, 90, 150, 180}).Draw(rt, "days"))
	m.mark(rt)
}

// mark has something happen at this time that nothing else asks about. What was left for later is durable then.
func (m *machine) mark(rt *rapid.T) {
	ev := &engine.Event{Domain: domain, Kind: scoring.SignIn, Time: m.model.now, Now: m.model.now, Later: rapid.Bool().Draw(rt, "later")}
	ev.Subjects[hashing.Network] = subject(hashing.Network, few)
	d := new(engine.Decision)
	m.check(rt, m.w.store.Assess(m.w.ctx(), m.present(rt, ev), d, func(*engine.Observation, *engine.Decision) {}))
	if ev.Later {
		m.check(rt, m.w.store.Durable(m.w.ctx()))
	}
	m.model.assess(d.ID, *ev, false, 0)
}

// sweep does some of the sweeper's work.
func (m *machine) sweep(rt *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(rt, "slices") {
		_, err := m.w.store.Sweep(m.w.ctx(), m.model.now)
		m.check(rt, err)
	}
}

func (m *machine) recall(rt *rapid.T) {
	for key, expires := range m.model.once {
		m.same(rt, "the key is remembered", m.w.recalls(key, m.model.now), expires > m.model.now)
	}
}

func (m *machine) event(rt *rapid.T) *engine.Event {
	ev := &engine.Event{Domain: domain, Time: m.model.now, Now: m.model.now}
	ev.Kind = rapid.SampledFrom([]scoring.Event{
		scoring.Signup, scoring.Verification, scoring.SignIn, scoring.Checkout, scoring.Recovery, scoring.NumberChange,
	}).Draw(rt, "event")
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		if n := rapid.IntRange(0, few).Draw(rt, kind.String()); n < few {
			ev.Subjects[kind] = subject(kind, n)
			if kind == hashing.Account {
				ev.Link = linkTag(n)
			}
		}
	}
	ev.Verified = rapid.Bool().Draw(rt, "verified")
	return ev
}

func (m *machine) assess(rt *rapid.T) {
	m.pass(rt)
	ev := m.event(rt)
	blocked := rapid.IntRange(0, 4).Draw(rt, "blocked") == 0
	d := new(engine.Decision)
	if key := byte(rapid.IntRange(0, 3).Draw(rt, "key")); key > 0 && m.model.once[key] <= m.model.now { //nolint:gosec // 0 to 3
		m.model.once[key] = m.model.now + engine.OnceFor
		ev.Once = &engine.Once{Key: hashing.Digest{key}, Expires: m.model.once[key], Lasts: engine.OnceFor, Render: func() []byte { return nil }}
	}
	ev.Later = rapid.Bool().Draw(rt, "later")
	now := m.present(rt, ev)
	m.check(rt, m.w.store.Assess(m.w.ctx(), now, d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict, d.Claim, d.MaxLinks = scoring.Allow, ev.Claims() && !blocked, m.limit
	}))
	m.gaveOut(ev, now)
	m.model.assess(d.ID, *ev, blocked, m.limit)
	m.compare(rt, ev)
	if p := ev.Subjects[hashing.Phone]; p.Given() && m.limit > 0 {
		since := m.model.subject(p).links[ev.Link]
		m.same(rt, "linked since", d.Links.Since, since)
	}
}

// compare holds everything known of an event's subjects against the model.
func (m *machine) compare(rt *rapid.T, ev *engine.Event) {
	looking := *m.present(rt, ev)
	looking.Kind, looking.Time, looking.Now = 0, m.model.now, m.model.now
	o, err := m.w.store.Observe(m.w.ctx(), &looking)
	m.check(rt, err)
	for _, sig := range asked {
		s := ev.Subjects[sig.Subject]
		if !s.Given() {
			continue
		}
		got := o.Records[sig.Subject].Measure(&sig, record.TimeOf(m.model.now))
		want := m.model.measure(s, sig, m.model.now)
		slack := 0.0
		if want > exactEvents {
			slack = want * eventsErrors
		}
		if got < want-slack || got > want+slack {
			rt.Fatalf("%v: got %v, want %v", sig, got, want)
		}
	}
	for _, s := range ev.Subjects {
		if s.Given() {
			m.compareWhole(rt, o.Records[s.Kind], m.model.subject(s))
		}
	}
	m.same(rt, "lists", fmt.Sprint(o.Lists), fmt.Sprint(m.model.listsAt(&ev.Subjects, m.model.now)))
}

// compareWhole holds what has no window against the model.
func (m *machine) compareWhole(rt *rapid.T, r *record.Record, sm *subjectModel) {
	first, proofs := int64(0), uint64(0)
	for _, h := range sm.happened {
		if first == 0 || h.time < first {
			first = h.time
		}
		if h.event == scoring.Verified {
			proofs++
		}
	}
	m.same(rt, "first seen", r.FirstSeen(), first)
	m.same(rt, "verified", r.Total(scoring.Verified), proofs)
	m.same(rt, "generation", r.Generation(), sm.generation)
}

func (m *machine) same(rt *rapid.T, what string, got, want any) {
	if got != want {
		rt.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (m *machine) outcome(rt *rapid.T) {
	if len(m.model.events) == 0 {
		rt.Skip("nothing happened yet")
	}
	m.pass(rt)
	i := rapid.IntRange(0, len(m.model.events)-1).Draw(rt, "of")
	kind := rapid.SampledFrom([]scoring.Event{
		scoring.Verified, scoring.Unverified, scoring.Abuse, scoring.Legitimate,
	}).Draw(rt, "outcome")
	o := &engine.Outcome{Domain: domain, Event: m.model.events[i].id, Kind: kind, Time: m.model.now, Now: m.model.now, MaxLinks: m.limit}
	o.Later = rapid.Bool().Draw(rt, "later")
	err := m.w.store.RecordOutcome(m.w.ctx(), o)
	if known := m.model.logged(m.model.events[i]); !known {
		m.same(rt, "an old event is unknown", errors.Is(err, engine.ErrUnknownEvent), true)
		return
	}
	m.check(rt, err)
	changed, stale := m.model.outcome(i, kind, m.model.now, m.limit)
	m.same(rt, "changed", o.Changed, changed)
	m.same(rt, "stale", o.Stale, stale)
	m.compare(rt, &m.model.events[i].ev)
}

func (m *machine) unlink(rt *rapid.T) {
	p, a := rapid.IntRange(0, few-1).Draw(rt, "phone"), rapid.IntRange(0, few-1).Draw(rt, "account")
	at := m.at(rt, hashing.Subjects{hashing.Phone: phone(p), hashing.Account: account(a)}, linkTag(a))
	u := &engine.Unlink{Domain: domain, Phone: at.Subjects[hashing.Phone], Link: at.Link, Now: m.model.now}
	m.check(rt, m.w.store.Unlink(m.w.ctx(), u))
	m.same(rt, "unlinked", u.Unlinked, m.model.unlink(phone(p), linkTag(a)))
	m.dropIdle(phone(p)) // the link may have been all that kept it
	m.same(rt, "links", u.Links.Count, len(m.model.subject(phone(p)).links))
}

func (m *machine) release(rt *rapid.T) {
	p := phone(rapid.IntRange(0, few-1).Draw(rt, "phone"))
	at := m.at(rt, hashing.Subjects{hashing.Phone: p}, hashing.LinkTag{})
	r := &engine.Release{Domain: domain, Phone: at.Subjects[hashing.Phone], Now: m.model.now}
	m.check(rt, m.w.store.Release(m.w.ctx(), r))
	m.same(rt, "generation", r.Generation, m.model.release(p))
}

func (m *machine) listed(rt *rapid.T) (string, hashing.Subject) {
	name := rapid.SampledFrom([]string{engine.DenyList, engine.AllowList, "named"}).Draw(rt, "list")
	kind := rapid.SampledFrom([]hashing.Kind{hashing.Phone, hashing.Range}).Draw(rt, "kind")
	return name, subject(kind, rapid.IntRange(0, few-1).Draw(rt, "entry"))
}

func (m *machine) list(rt *rapid.T) {
	name, s := m.listed(rt)
	until := rapid.SampledFrom([]int64{0, m.model.now, m.model.now + 1, m.model.now + 3600}).Draw(rt, "until")
	m.check(rt, m.w.store.PutEntries(m.w.ctx(), domain, []engine.ListEntry{{List: name, Subject: m.one(rt, s), Added: m.model.now, Expires: until}}, nil))
	m.model.putEntry(name, s, until)
}

func (m *machine) unlist(rt *rapid.T) {
	name, s := m.listed(rt)
	removed, err := m.w.store.RemoveEntry(m.w.ctx(), domain, name, m.one(rt, s), m.model.now)
	m.check(rt, err)
	m.same(rt, "removed", removed, m.model.removeEntry(name, s))
}

func (m *machine) changeLimit(rt *rapid.T) {
	m.limit = rapid.IntRange(0, 4).Draw(rt, "limit")
}

func (m *machine) reopen(rt *rapid.T) {
	m.mark(rt) // the store knows no other time than that of its last change
	m.check(rt, m.w.store.Close())
	m.w.store = m.open.Reopen()
	m.mark(rt)
	m.verify(rt)
	m.compareAll(rt)
}

func (m *machine) verify(rt *rapid.T) {
	if m.open.Verify != nil {
		m.check(rt, m.open.Verify(m.w.store))
	}
}

func (m *machine) crash(rt *rapid.T) {
	m.mark(rt)
	m.w.store = m.open.Crash()
	m.mark(rt)
	m.verify(rt)
	m.compareAll(rt)
}

// compareTimeline holds the walk of one phone's events against the model.
func (m *machine) compareTimeline(rt *rapid.T) {
	p := phone(len(m.model.events) % few)
	events, err := m.w.store.Timeline(m.w.ctx(), domain, m.one(rt, p), 1000)
	m.check(rt, err)
	want := m.model.timeline(p)
	m.same(rt, "events in the timeline", len(events), len(want))
	for i, e := range events {
		m.same(rt, "event", e.ID, want[i])
	}
}
