package storetest

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

func (w *world) erase(phone hashing.Subject) {
	w.t.Helper()
	w.must(w.store.Erase(w.ctx(), &engine.Erasure{Domain: domain, Phones: []hashing.Subject{phone}, Now: start}))
}

// logged returns the ids in the log.
func (w *world) logged() (ids []engine.EventID) {
	w.t.Helper()
	w.must(w.store.Scan(w.ctx(), domain, engine.EventID{}, func(e *record.Entry) error {
		ids = append(ids, e.ID)
		return nil
	}))
	return ids
}

// eraseForgets erases a phone of two generations, between others.
func eraseForgets(w *world) {
	before := w.assess(verified(1, 1, start), 0).ID
	other := w.assess(signup(2, 1, start), 0).ID
	w.must(w.store.Release(w.ctx(), &engine.Release{Domain: domain, Phone: phone(1), Now: start}))
	after := w.assess(verified(1, 2, start), 0).ID
	w.outcome(after, scoring.Abuse, start, 0)
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "vip", Subject: phone(1)}, {List: "vip", Subject: phone(2)}}, nil))
	w.erase(phone(1))
	o := w.look(signup(1, 1, start))
	r := o.Records[hashing.Phone]
	equal(w.t, "known", r.Empty(), true)
	equal(w.t, "generation", r.Generation(), 0)
	equal(w.t, "links", r.Links(), 0)
	equal(w.t, "labels", r.Labels(scoring.Abuse), 0)
	equal(w.t, "lists", fmt.Sprint(o.Lists), "[]")
	equal(w.t, "signups of the ip, which stay", o.Records[hashing.IP].Total(scoring.Signup), 2)
	equal(w.t, "verified of the ip, which stay", o.Records[hashing.IP].Total(scoring.Verified), 2)
	equal(w.t, "labels of the ip, which stay", o.Records[hashing.IP].Labels(scoring.Abuse), 1)
	entries, err := w.store.Entries(w.ctx(), domain, "vip", hashing.Subject{}, 10, start)
	w.must(err)
	equal(w.t, "entries of the list", len(entries), 1)
	if ids := w.logged(); !slices.Equal(ids, []engine.EventID{other}) {
		w.t.Errorf("the log holds %v, want %v", ids, other)
	}
	events, err := w.store.Timeline(w.ctx(), domain, phone(1), 10)
	w.must(err)
	equal(w.t, "events in the timeline", len(events), 0)
	for _, id := range []engine.EventID{before, after} {
		if _, err := w.store.Entry(w.ctx(), domain, id); !errors.Is(err, engine.ErrUnknownEvent) {
			w.t.Errorf("an erased event: %v", err)
		}
		if err := w.store.RecordOutcome(w.ctx(), &engine.Outcome{Domain: domain, Event: id, Kind: scoring.Abuse}); !errors.Is(err, engine.ErrUnknownEvent) {
			w.t.Errorf("an outcome of an erased event: %v", err)
		}
	}
}

// eraseAgain erases what is not there, and what was erased before.
func eraseAgain(w *world) {
	w.erase(phone(1))
	w.assess(signup(1, 1, start), 0)
	w.erase(phone(1))
	w.erase(phone(1))
	id := w.assess(signup(1, 1, start), 0).ID
	equal(w.t, "signups since", w.look(signup(1, 1, start)).Records[hashing.Phone].Total(scoring.Signup), 1)
	if ids := w.logged(); !slices.Equal(ids, []engine.EventID{id}) {
		w.t.Errorf("the log holds %v, want %v", ids, id)
	}
}

func eraseRemembers(w *world) {
	once := &engine.Once{Key: hashing.Digest{1}, Expires: start + 10, Render: func() []byte { return []byte("done") }}
	w.must(w.store.Erase(w.ctx(), &engine.Erasure{Domain: domain, Phones: []hashing.Subject{phone(1)}, Now: start, Once: once}))
	r, err := w.store.Recall(w.ctx(), domain, once.Key, start)
	w.must(err)
	if r == nil || string(r.Answer) != "done" {
		w.t.Errorf("remembered: got %+v", r)
	}
}

// eraseVersions erases a phone that two keys made pseudonyms of.
func eraseVersions(w *world) {
	older := phone(1)
	older.Key = 2
	w.assess(signup(1, 1, start), 0)
	ev := signup(1, 1, start)
	ev.Subjects[hashing.Phone] = older
	w.assess(ev, 0)
	kept := w.assess(signup(2, 2, start), 0).ID
	w.must(w.store.Erase(w.ctx(), &engine.Erasure{Domain: domain, Phones: []hashing.Subject{phone(1), older, phone(1)}, Now: start}))
	equal(w.t, "known", w.look(signup(1, 1, start)).Records[hashing.Phone].Empty(), true)
	equal(w.t, "known under the older key", w.look(ev).Records[hashing.Phone].Empty(), true)
	if ids := w.logged(); !slices.Equal(ids, []engine.EventID{kept}) {
		w.t.Errorf("the log holds %v, want %v", ids, kept)
	}
}

// eraseLate erases phones whose events happened long before they were recorded, so that the phones are idle while
// the events are in the log.
func eraseLate(w *world) {
	w.pass(0)
	late := func(p int) engine.EventID {
		ev := signup(p, p, start-300*days)
		ev.Now = start
		return w.assess(ev, 0).ID
	}
	for p := range 6 {
		late(p)
	}
	again := late(6)
	w.sweep(start)
	equal(w.t, "signups of an idle phone", w.look(signup(0, 0, start)).Records[hashing.Phone].Total(scoring.Signup), 0)
	w.assess(signup(1, 1, start), 0)
	w.sweep(start)
	w.must(w.store.Release(w.ctx(), &engine.Release{Domain: domain, Phone: phone(2), Now: start}))
	w.assess(signup(2, 2, start), 0)
	list := []engine.ListEntry{{List: "vip", Subject: phone(3), Added: start}}
	w.must(w.store.PutEntries(w.ctx(), domain, list, nil))
	_, err := w.store.RemoveEntry(w.ctx(), domain, "vip", phone(3), start)
	w.must(err)
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "vip", Subject: phone(4), Added: start}}, nil))
	w.outcome(again, scoring.Abuse, start, 0)
	w.assess(signup(6, 6, start), 0)
	w.sweep(start)
	events, err := w.store.Timeline(w.ctx(), domain, phone(1), 10)
	w.must(err)
	equal(w.t, "events since the phone began anew", len(events), 1)
	for p := range 7 {
		w.erase(phone(p))
	}
	equal(w.t, "events in the log", len(w.logged()), 0)
}

func (m *machine) erase(rt *rapid.T) {
	p := phone(rapid.IntRange(0, few-1).Draw(rt, "phone"))
	var all []hashing.Subject // by the number: under every key
	for key := m.key; key >= 0; key-- {
		all = append(all, under(p, key))
	}
	if key := rapid.IntRange(0, 6).Draw(rt, "token"); m.lived[p][key] && (m.model.subjects[p] == nil || !m.model.idle(p)) {
		all = []hashing.Subject{under(p, key)} // by a token of earlier days
	}
	m.check(rt, m.w.store.Erase(m.w.ctx(), &engine.Erasure{Domain: domain, Phones: all, Now: m.model.now}))
	delete(m.lived, p)
	delete(m.named, p)
	m.gone[p] = true
	m.model.erase(p)
	m.compareLog(rt)
}

// compareLog holds the ids in the log against the model.
func (m *machine) compareLog(rt *rapid.T) {
	var got []engine.EventID
	m.check(rt, m.w.store.Scan(m.w.ctx(), domain, engine.EventID{}, func(e *record.Entry) error {
		got = append(got, e.ID)
		return nil
	}))
	var want []engine.EventID
	for _, e := range m.model.events {
		if m.model.logged(e) {
			want = append(want, e.id)
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("the log holds %v, want %v", got, want)
	}
}

// compareAll holds every subject against the model.
func (m *machine) compareAll(rt *rapid.T) {
	for n := range few {
		ev := &engine.Event{Domain: domain, Link: linkTag(n)}
		for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
			ev.Subjects[kind] = subject(kind, n)
		}
		m.compare(rt, ev)
	}
	m.compareLog(rt)
}
