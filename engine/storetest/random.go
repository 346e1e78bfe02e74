package storetest

import (
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
	now   int64
	limit int
}

func equalsModel(t *testing.T, open Open) {
	operations := 0
	defer func() { t.Logf("%d operations", operations) }()
	rapid.Check(t, func(rt *rapid.T) {
		o := open(t)
		m := &machine{w: &world{t: t, store: o.Store}, open: o, model: newModel(), now: start, limit: 3}
		defer func() {
			_ = m.w.store.Close()
			if o.Discard != nil {
				o.Discard()
			}
		}()
		actions := map[string]func(*rapid.T){
			"assess": m.assess, "assess more": m.assess, "outcome": m.outcome, "unlink": m.unlink,
			"release": m.release, "list": m.list, "unlist": m.unlist, "limit": m.changeLimit,
			"adopt": m.adopt, "add policy": m.addPolicy, "roll out": m.rollOut, "roll back": m.rollBack,
			"": m.compareTimeline,
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
	m.now += rapid.SampledFrom([]int64{0, 0, 1, 30, 59, 60, 3600, 7 * 3600}).Draw(rt, "seconds")
}

func (m *machine) event(rt *rapid.T) *engine.Event {
	ev := &engine.Event{Domain: domain, Time: m.now, Now: m.now}
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
	m.check(rt, m.w.store.Assess(m.w.ctx(), ev, d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict, d.Claim, d.MaxLinks = scoring.Allow, ev.Claims() && !blocked, m.limit
	}))
	m.model.assess(d.ID, *ev, blocked, m.limit)
	m.compare(rt, ev)
	if p := ev.Subjects[hashing.Phone]; p.Given() && m.limit > 0 {
		since := m.model.subject(p).links[ev.Link]
		m.same(rt, "linked since", d.Links.Since, since)
	}
}

// compare holds everything known of an event's subjects against the model.
func (m *machine) compare(rt *rapid.T, ev *engine.Event) {
	looking := *ev
	looking.Kind, looking.Time, looking.Now = 0, m.now, m.now
	o, err := m.w.store.Observe(m.w.ctx(), &looking)
	m.check(rt, err)
	for _, sig := range asked {
		s := ev.Subjects[sig.Subject]
		if !s.Given() {
			continue
		}
		got := o.Records[sig.Subject].Measure(sig, record.TimeOf(m.now))
		want := m.model.measure(s, sig, m.now)
		slack := 0.0
		if want > exactEvents {
			slack = want * eventsErrors
		}
		if got < want-slack || got > want+slack {
			rt.Fatalf("%v: got %v, want %v", sig, got, want)
		}
	}
	m.same(rt, "lists", fmt.Sprint(o.Lists), fmt.Sprint(m.model.listsAt(&ev.Subjects, m.now)))
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
	o := &engine.Outcome{Domain: domain, Event: m.model.events[i].id, Kind: kind, Time: m.now, Now: m.now, MaxLinks: m.limit}
	m.check(rt, m.w.store.RecordOutcome(m.w.ctx(), o))
	changed, stale := m.model.outcome(i, kind, m.now, m.limit)
	m.same(rt, "changed", o.Changed, changed)
	m.same(rt, "stale", o.Stale, stale)
	m.compare(rt, &m.model.events[i].ev)
}

func (m *machine) unlink(rt *rapid.T) {
	p, a := rapid.IntRange(0, few-1).Draw(rt, "phone"), rapid.IntRange(0, few-1).Draw(rt, "account")
	u := &engine.Unlink{Domain: domain, Phone: phone(p), Link: linkTag(a), Now: m.now}
	m.check(rt, m.w.store.Unlink(m.w.ctx(), u))
	m.same(rt, "unlinked", u.Unlinked, m.model.unlink(phone(p), linkTag(a)))
	m.same(rt, "links", u.Links.Count, len(m.model.subject(phone(p)).links))
}

func (m *machine) release(rt *rapid.T) {
	p := phone(rapid.IntRange(0, few-1).Draw(rt, "phone"))
	r := &engine.Release{Domain: domain, Phone: p, Now: m.now}
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
	until := rapid.SampledFrom([]int64{0, m.now, m.now + 1, m.now + 3600}).Draw(rt, "until")
	m.check(rt, m.w.store.PutEntries(m.w.ctx(), domain, []engine.ListEntry{{List: name, Subject: s, Added: m.now, Expires: until}}, nil))
	m.model.putEntry(name, s, until)
}

func (m *machine) unlist(rt *rapid.T) {
	name, s := m.listed(rt)
	removed, err := m.w.store.RemoveEntry(m.w.ctx(), domain, name, s)
	m.check(rt, err)
	m.same(rt, "removed", removed, m.model.removeEntry(name, s))
}

func (m *machine) changeLimit(rt *rapid.T) {
	m.limit = rapid.IntRange(0, 4).Draw(rt, "limit")
}

func (m *machine) reopen(rt *rapid.T) {
	m.check(rt, m.w.store.Close())
	m.w.store = m.open.Reopen()
}

func (m *machine) crash(*rapid.T) { m.w.store = m.open.Crash() }

// compareTimeline holds the walk of one phone's events against the model.
func (m *machine) compareTimeline(rt *rapid.T) {
	p := phone(len(m.model.events) % few)
	events, err := m.w.store.Timeline(m.w.ctx(), domain, p, 1000)
	m.check(rt, err)
	want := m.model.timeline(p)
	m.same(rt, "events in the timeline", len(events), len(want))
	for i, e := range events {
		m.same(rt, "event", e.ID, want[i])
	}
}
