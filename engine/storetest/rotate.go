package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pgregory.net/rapid"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// under makes up what a subject of key 0 is under another key: nothing of it shows that they are the same.
func under(s hashing.Subject, key int) hashing.Subject {
	if !s.Given() || key == 0 {
		return s
	}
	s.Key += hashing.KeyID(key) //nolint:gosec // a handful
	for i := 0; i < len(s.ID); i += 8 {
		x := binary.BigEndian.Uint64(s.ID[i:])
		binary.BigEndian.PutUint64(s.ID[i:], mix(x+uint64(key)*0x9e3779b97f4a7c15)) //nolint:gosec // a handful
	}
	return s
}

func tagUnder(tag hashing.LinkTag, key int) hashing.LinkTag {
	if tag == (hashing.LinkTag{}) || key == 0 {
		return tag
	}
	x := binary.BigEndian.Uint64(tag[:])
	binary.BigEndian.PutUint64(tag[:], mix(x^uint64(key))) //nolint:gosec // a handful
	return tag
}

// version is who took part in an event, under a key.
func version(subjects hashing.Subjects, link hashing.LinkTag, key int) hashing.Version {
	v := hashing.Version{Link: tagUnder(link, key)}
	for kind, s := range subjects {
		v.Subjects[kind] = under(s, key)
	}
	return v
}

// versions are those under all keys before one, the newest first.
func versions(subjects hashing.Subjects, link hashing.LinkTag, before int) []hashing.Version {
	var all []hashing.Version
	for key := before - 1; key >= 0; key-- {
		all = append(all, version(subjects, link, key))
	}
	return all
}

// migrate moves the subjects of an event to a key, and returns the event with them.
func (w *world) migrate(ev *engine.Event, key int) *engine.Event {
	w.t.Helper()
	to := version(ev.Subjects, ev.Link, key)
	w.must(w.store.Migrate(w.ctx(), &engine.Migration{Domain: domain, Now: ev.Now, To: to, From: versions(ev.Subjects, ev.Link, key)}))
	now := *ev
	now.Subjects, now.Link = to.Subjects, to.Link
	return &now
}

// rotate has a new key from now on.
func (m *machine) rotate(*rapid.T) {
	if m.key < 3 {
		m.key++
	}
}

// gaveOut notes that the answer to an event had a token of its phone, as the store knew it then.
func (m *machine) gaveOut(ev, now *engine.Event) {
	if p := ev.Subjects[hashing.Phone]; p.Given() {
		note(m.lived, p, int(now.Subjects[hashing.Phone].Key-p.Key))
	}
}

func note(keys map[hashing.Subject]map[int]bool, p hashing.Subject, key int) {
	if keys[p] == nil {
		keys[p] = map[int]bool{}
	}
	keys[p][key] = true
}

// at returns subjects of key 0 as a caller names them at present, moved there first. Now and then a phone comes by
// a token of earlier days instead, and then without any other name; but not one that was erased and may be known by the tag of another key, since
// nothing leads from there any more: see erasedIsAStranger.
func (m *machine) at(rt *rapid.T, subjects hashing.Subjects, link hashing.LinkTag) hashing.Version {
	to, from := version(subjects, link, m.key), versions(subjects, link, m.key)
	p := subjects[hashing.Phone]
	m.dropIdle(p)
	if key := rapid.IntRange(0, 6).Draw(rt, "token"); p.Given() && m.lived[p][key] && (m.key == 0 || !m.gone[p]) {
		to.Subjects[hashing.Phone] = under(p, key)
		for i := range from {
			from[i].Subjects[hashing.Phone] = hashing.Subject{}
		}
	}
	if p.Given() {
		key := int(to.Subjects[hashing.Phone].Key - p.Key)
		if key == m.key && !m.named[p][key] && m.model.nothing(p) {
			delete(m.named, p) // nothing moves, so that no older name leads on
		}
		note(m.named, p, key)
	}
	m.check(rt, m.w.store.Migrate(m.w.ctx(), &engine.Migration{Domain: domain, Now: m.model.now, To: to, From: from}))
	return to
}

// staleToken has a phone come by a token that leads to nothing: of a key under which it was not named since it was erased, or of a phone of which nothing
// is known.
func (m *machine) staleToken(rt *rapid.T) {
	n, key := rapid.IntRange(0, few-1).Draw(rt, "phone"), rapid.IntRange(0, 3).Draw(rt, "token")
	p, a := phone(n), rapid.IntRange(0, few-1).Draw(rt, "account")
	m.dropIdle(p)
	if key > m.key || (m.named[p][key] || key == m.key) && m.model.happened(p) {
		return
	}
	alone := verified(n, a, m.model.now)
	alone.Subjects = hashing.Subjects{hashing.Phone: under(p, key), hashing.Account: under(account(a), m.key)}
	alone.Link = tagUnder(alone.Link, m.key)
	m.check(rt, m.w.refused(alone))
}

// dropIdle forgets which tokens of a phone were given out, if it is idle: a sweep may have forgotten it, so that nothing is left to move.
func (m *machine) dropIdle(p hashing.Subject) {
	if m.model.subjects[p] != nil && m.model.idle(p) {
		delete(m.lived, p)
	}
}

// present is at for an event.
func (m *machine) present(rt *rapid.T, ev *engine.Event) *engine.Event {
	now := *ev
	at := m.at(rt, ev.Subjects, ev.Link)
	now.Subjects, now.Link = at.Subjects, at.Link
	now.Known = now.Subjects[hashing.Phone] != under(ev.Subjects[hashing.Phone], m.key) // it came by a token
	return &now
}

// one is at for one subject.
func (m *machine) one(rt *rapid.T, s hashing.Subject) hashing.Subject {
	var subjects hashing.Subjects
	subjects[s.Kind] = s
	return m.at(rt, subjects, hashing.LinkTag{}).Subjects[s.Kind]
}

// rotates takes one number through two rotations: what was given out stays good, and nothing counts twice.
func rotates(w *world) {
	first := w.assess(verified(1, 1, start), 2)
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "named", Subject: phone(1), Reason: "why", Added: start}}, nil))
	w.assess(w.migrate(verified(1, 1, start+10), 1), 2)
	second := w.assess(w.migrate(verified(1, 2, start+20), 2), 2)
	equal(w.t, "links", second.Links.Count, 2)
	third := w.assess(w.migrate(verified(1, 3, start+30), 2), 2)
	equal(w.t, "the third account is linked", third.Links.Linked, false)

	for _, key := range []int{0, 1, 2} { // by a token of any of the keys
		ev := &engine.Event{Domain: domain, Time: start + 40, Now: start + 40, Subjects: hashing.Subjects{hashing.Phone: under(phone(1), key)}}
		o, err := w.store.Observe(w.ctx(), ev)
		w.must(err)
		r, at := o.Records[hashing.Phone], record.TimeOf(start+40)
		equal(w.t, "events", r.Count(scoring.Signup, at, 3600), 4)
		equal(w.t, "accounts", r.Distinct(scoring.Accounts, at, 3600), 3)
		equal(w.t, "devices", r.Distinct(scoring.Devices, at, 3600), 1)
		equal(w.t, "first seen", r.FirstSeen(), start)
		equal(w.t, "lists", fmt.Sprint(o.Lists), "[named]")
		equal(w.t, "phones of the ip", w.look(w.migrate(signup(1, 1, start+40), 2)).Records[hashing.IP].Distinct(scoring.Phones, at, 3600), 1)
		events, err := w.store.Timeline(w.ctx(), domain, under(phone(1), key), 10)
		w.must(err)
		equal(w.t, "events in the timeline", len(events), 4)
	}
	o := w.outcome(first.ID, scoring.Verified, start+50, 2)
	equal(w.t, "links after an outcome of the first key's days", o.Links.Count, 2)
	equal(w.t, "its account is linked", o.Links.Since, start)

	entries, err := w.store.Entries(w.ctx(), domain, "named", hashing.Subject{}, 10, start+60)
	w.must(err)
	if len(entries) != 1 || entries[0].Subject != under(phone(1), 2) || entries[0].Reason != "why" {
		w.t.Errorf("entries: %d", len(entries))
	}
	removed, err := w.store.RemoveEntry(w.ctx(), domain, "named", phone(1), start+60)
	w.must(err)
	equal(w.t, "taken off by the oldest token", removed, true)
	w.must(w.store.Scan(w.ctx(), domain, engine.EventID{}, func(e *record.Entry) error {
		equal(w.t, "phone of a logged event", e.Subjects[hashing.Phone], under(phone(1), 2))
		return nil
	}))
	w.verified()
}

// verified holds the store against what no call shows.
func (w *world) verified() {
	w.t.Helper()
	if w.open.Verify != nil {
		w.must(w.open.Verify(w.store))
	}
}

// outcomeBeforeMigration has an outcome claim for an account that was moved while its event was not looked at.
func outcomeBeforeMigration(w *world) {
	d := w.assess(signup(1, 1, start), 1)
	w.migrate(signup(1, 1, start+10), 1) // both are moved; the event names them as they were
	o := w.outcome(d.ID, scoring.Verified, start+20, 1)
	equal(w.t, "linked by the outcome", o.Links.Linked, true)
	again := w.assess(w.migrate(verified(1, 1, start+30), 1), 1)
	equal(w.t, "links", again.Links.Count, 1)
	equal(w.t, "linked since", again.Links.Since, start+20)
	// An outcome that comes first: the phone knows the account by the older tag, then moves.
	d = w.assess(signup(2, 2, start), 1)
	w.outcome(d.ID, scoring.Verified, start+20, 1)
	again = w.assess(w.migrate(verified(2, 2, start+30), 1), 1)
	equal(w.t, "links", again.Links.Count, 1)
	equal(w.t, "linked since", again.Links.Since, start+20)
	w.verified()
}

// migrationsCrowd has many calls move one number at the same time, and count it.
func migrationsCrowd(w *world) {
	w.assess(verified(1, 1, start), 3)
	done := make(chan error)
	const crowd = 16
	for i := range crowd {
		go func() {
			ev := verified(1, 1+i%2, start+1)
			to := version(ev.Subjects, ev.Link, 1)
			err := w.store.Migrate(w.ctx(), &engine.Migration{Domain: domain, Now: start + 1, To: to, From: versions(ev.Subjects, ev.Link, 1)})
			if i%3 > 0 { // by the number; the others by the old token
				ev.Subjects[hashing.Phone] = to.Subjects[hashing.Phone]
			}
			ev.Subjects[hashing.Account], ev.Link = to.Subjects[hashing.Account], to.Link
			if err == nil {
				err = w.store.Assess(w.ctx(), ev, new(engine.Decision), func(_ *engine.Observation, d *engine.Decision) {
					d.Claim, d.MaxLinks = true, 3
				})
			}
			done <- err
		}()
	}
	for range crowd {
		w.must(<-done)
	}
	o := w.look(w.migrate(signup(1, 1, start+1), 1))
	equal(w.t, "events", o.Records[hashing.Phone].Total(scoring.Signup), crowd+1)
	equal(w.t, "links", o.Records[hashing.Phone].Links(), 2)
	equal(w.t, "accounts", o.Records[hashing.Phone].Distinct(scoring.Accounts, record.TimeOf(start+1), 3600), 2)
	w.verified()
}

// movedApart has a number, its account and its address move in calls that know nothing of each other.
func movedApart(w *world) {
	alone := func(s hashing.Subject, link hashing.LinkTag) {
		ev := &engine.Event{Now: start + 10, Link: link}
		ev.Subjects[s.Kind] = s
		w.migrate(ev, 1)
	}
	w.assess(verified(1, 1, start), 3)
	d := w.assess(signup(1, 1, start+1), 3)
	alone(phone(1), hashing.LinkTag{})
	alone(account(1), linkTag(1))
	o := w.outcome(d.ID, scoring.Verified, start+20, 3)
	equal(w.t, "links after an outcome", o.Links.Count, 1)
	equal(w.t, "linked since", o.Links.Since, start)

	ev := signup(1, 1, start+30) // by the token of the present key: nobody says what it was before
	to, from := version(ev.Subjects, ev.Link, 1), versions(ev.Subjects, ev.Link, 1)
	from[0].Subjects[hashing.Phone] = hashing.Subject{}
	w.must(w.store.Migrate(w.ctx(), &engine.Migration{Domain: domain, Now: ev.Now, To: to, From: from}))
	ev.Subjects, ev.Link = to.Subjects, to.Link
	w.assess(ev, 3)
	r := w.look(ev).Records[hashing.IP]
	equal(w.t, "phones of the ip", r.Distinct(scoring.Phones, record.TimeOf(start+30), 3600), 1)
	w.verified()
}

// erasedIsAStranger has an erased number come back after a rotation, by its token, to an address that knew it by the tag of the older key: what it was
// called is forgotten, so that the address takes it for another one, until it comes by the number again.
func erasedIsAStranger(w *world) {
	w.assess(signup(1, 1, start), 0)
	w.erase(phone(1))
	alone := &engine.Event{Domain: domain, Kind: scoring.Signup, Time: start + 10, Now: start + 10, Subjects: hashing.Subjects{hashing.Phone: phone(1)}}
	w.assess(w.migrate(alone, 1), 0)

	byToken := signup(1, 1, start+20)
	from := versions(byToken.Subjects, byToken.Link, 1)
	from[0].Subjects[hashing.Phone] = hashing.Subject{}
	to := version(byToken.Subjects, byToken.Link, 1)
	w.must(w.store.Migrate(w.ctx(), &engine.Migration{Domain: domain, Now: start + 20, To: to, From: from}))
	byToken.Subjects, byToken.Link = to.Subjects, to.Link
	w.assess(byToken, 0)
	phones := func(ev *engine.Event) float64 {
		return w.look(ev).Records[hashing.IP].Distinct(scoring.Phones, record.TimeOf(start+20), 3600)
	}
	equal(w.t, "phones of the ip, by the token", phones(byToken), 2)
	equal(w.t, "phones of the ip, by the number", phones(w.migrate(signup(1, 1, start+20), 1)), 1)
	w.verified()
}

// movedOnWithAnother has an account move to a third key with another phone, when its phone knows it by the tag of the second,
// and an outcome come of an event from the days of the first.
func movedOnWithAnother(w *world) {
	w.assess(verified(1, 1, start), 3)
	d := w.assess(signup(1, 1, start+1), 3)
	w.assess(w.migrate(verified(1, 1, start+10), 1), 3)
	w.assess(w.migrate(signup(2, 1, start+20), 2), 3)
	o := w.outcome(d.ID, scoring.Verified, start+30, 3)
	equal(w.t, "links after an outcome", o.Links.Count, 1)
	equal(w.t, "linked since", o.Links.Since, start)
	again := w.assess(w.migrate(verified(1, 1, start+40), 2), 3)
	equal(w.t, "links", again.Links.Count, 1)
	w.verified()
}

// staleTokens has a number that was erased come back by its number and by its token from before the rotation, from which nothing leads to the number any
// more: were that let in, the number would have twice as many accounts as it may.
func staleTokens(w *world) {
	w.assess(verified(1, 1, start), 3)
	w.migrate(signup(1, 1, start+10), 1)
	erase := func() {
		w.must(w.store.Erase(w.ctx(), &engine.Erasure{Domain: domain, Phones: []hashing.Subject{under(phone(1), 1), phone(1)}, Now: start + 20}))
	}
	erase()
	w.stale(byToken(1, 1, 0, start+30))
	w.stale(byToken(1, 1, 1, start+30)) // nor has anything to be moved to where the token of the newer key leads
	var ids []engine.EventID
	for a := range 3 {
		ids = append(ids, w.assess(w.migrate(verified(1, 3+a, start+40), 1), 3).ID)
	}
	w.stale(byToken(1, 6, 0, start+50))
	equal(w.t, "links", w.assess(byToken(1, 6, 1, start+50), 3).Links.Count, 3)
	equal(w.t, "links", w.assess(w.migrate(verified(1, 6, start+60), 1), 3).Links.Count, 3)
	erase()
	for _, id := range ids {
		if _, err := w.store.Entry(w.ctx(), domain, id); !errors.Is(err, engine.ErrUnknownEvent) {
			w.t.Errorf("an event after the number was erased again: %v", err)
		}
	}
	w.verified()
}

// earlyTokens has a number come by a token of the newer key while all that is known of it lies under the older one, as a server gives it out that cannot
// ask its store.
func earlyTokens(w *world) {
	for a := range 2 {
		w.assess(verified(1, a, start), 2)
	}
	w.stale(byToken(1, 3, 1, start+10))
	equal(w.t, "links", w.assess(w.migrate(verified(1, 3, start+20), 1), 2).Links.Count, 2)
	equal(w.t, "links", w.assess(byToken(1, 3, 1, start+30), 2).Links.Count, 2)
	w.verified()
}

// byToken is an event of a number by its token of a key, which wants its account linked, after one rotation.
func byToken(n, a, key int, at int64) *engine.Event {
	ev := verified(n, a, at)
	ev.Subjects = hashing.Subjects{hashing.Phone: under(phone(n), key), hashing.Account: under(account(a), 1)}
	ev.Link, ev.Known = tagUnder(ev.Link, 1), true
	return ev
}

// stale holds that a phone is refused.
func (w *world) stale(ev *engine.Event) {
	w.t.Helper()
	w.must(w.refused(ev))
}

// refused has the phone of an event, which wants its account linked, come by a token to every call that would do something to it. It returns what
// was wrong if one of them does not refuse it, or something is known of it.
func (w *world) refused(ev *engine.Event) error {
	ev.Known = true
	p := ev.Subjects[hashing.Phone]
	_, observed := w.store.Observe(w.ctx(), ev)
	for call, err := range map[string]error{
		"assess":  w.store.Assess(w.ctx(), ev, new(engine.Decision), func(_ *engine.Observation, d *engine.Decision) { d.Claim, d.MaxLinks = true, 3 }),
		"observe": observed,
		"unlink":  w.store.Unlink(w.ctx(), &engine.Unlink{Domain: domain, Phone: p, Known: true, Link: ev.Link, Now: ev.Now}),
		"release": w.store.Release(w.ctx(), &engine.Release{Domain: domain, Phone: p, Known: true, Now: ev.Now}),
	} {
		if !errors.Is(err, engine.ErrStalePhone) {
			return fmt.Errorf("%s: a phone that has to be known: %v", call, err) //nolint:errorlint // often there is none
		}
	}
	looking := *ev
	looking.Known, looking.Kind = false, 0
	o, err := w.store.Observe(w.ctx(), &looking)
	if err != nil {
		return err
	}
	events, err := w.store.Timeline(w.ctx(), domain, p, 10)
	if n := o.Records[hashing.Phone].Total(scoring.Signup); err == nil && (n > 0 || len(events) > 0) {
		return fmt.Errorf("%d events, and %d in the timeline, of a phone that is not known", n, len(events))
	}
	return err
}

// staleIdle has an idle phone come by its token, whether it was swept or not, and again when its number has come back.
func staleIdle(w *world) {
	now := w.pass(0)
	for p := range 2 {
		w.assess(signup(p, p, now), 0)
	}
	now = w.pass(200 * days)
	w.stale(byToken(0, 0, 0, now))
	w.assess(w.migrate(signup(0, 0, now), 1), 0)
	w.sweep(now)
	w.assess(w.migrate(signup(1, 1, now), 1), 0)
	for p := range 2 {
		w.stale(byToken(p, p, 0, now))
		equal(w.t, "signups", w.look(byToken(p, p, 1, now)).Records[hashing.Phone].Total(scoring.Signup), 1)
	}
	w.verified()
}

// staleListed has a phone that was idle come on a list, and off it by the time that the number comes back under the next key: nothing is left to move,
// whether what is out of force was swept or not.
func staleListed(w *world) {
	now := w.pass(0)
	for p := range 2 {
		w.assess(signup(p, p, now), 0)
	}
	now = w.pass(200 * days)
	for p := range 2 {
		w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "named", Subject: phone(p), Added: now, Expires: now + 60}}, nil))
	}
	now = w.pass(60)
	w.assess(w.migrate(signup(0, 0, now), 1), 0)
	w.sweep(now)
	w.assess(w.migrate(signup(1, 1, now), 1), 0)
	for p := range 2 {
		w.stale(byToken(p, p, 0, now))
	}
	w.verified()
}

// listedTwice has a number come to a third key that is on a list by both of its older names: that of the newer one holds.
func listedTwice(w *world) {
	for key, until := range []int64{start + 60, 0} {
		w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "named", Subject: under(phone(1), key), Added: start, Expires: until}}, nil))
	}
	w.assess(w.migrate(signup(1, 1, start+10), 2), 0)
	w.verified()
	entries, err := w.store.Entries(w.ctx(), domain, "named", hashing.Subject{}, 10, start+10)
	w.must(err)
	if len(entries) != 1 || entries[0].Subject != under(phone(1), 2) || entries[0].Expires != 0 {
		w.t.Errorf("entries: %+v", entries)
	}
}

// outcomeOfIdle has an outcome link an account to a phone that was swept, by an event that was recorded late under an older key, when the number has
// come back under the newer one: the event keeps something of the phone, so that it has moved.
func outcomeOfIdle(w *world) {
	w.pass(0)
	ev := signup(1, 1, start-300*days)
	ev.Now = start
	d := w.assess(ev, 2)
	w.sweep(start)
	w.assess(w.migrate(verified(1, 2, start+10), 1), 2)
	w.assess(w.migrate(verified(1, 3, start+10), 1), 2)
	o := w.outcome(d.ID, scoring.Verified, start+20, 2)
	equal(w.t, "links of a phone that is full", o.Links.Count, 2)
	equal(w.t, "linked", o.Links.Linked, false)
	w.verified()
}

// linkOfIdle has an outcome link an account to an idle phone, by an event that was recorded late and has counted that outcome already, so that
// all that is kept of the phone is the link. When the event has left the log and the number comes under the next key, the link comes with it.
func linkOfIdle(w *world) {
	w.pass(0)
	ev := verified(1, 1, start-300*days)
	ev.Now = start
	d := new(engine.Decision)
	w.must(w.store.Assess(w.ctx(), ev, d, func(*engine.Observation, *engine.Decision) {})) // claims nothing
	equal(w.t, "linked", w.outcome(d.ID, scoring.Verified, start, 1).Links.Linked, true)
	now := w.pass(100 * days)
	equal(w.t, "links under the next key", w.look(w.migrate(signup(1, 1, now), 1)).Records[hashing.Phone].Links(), 1)
	w.verified()
}

// staleLists has a token of an older key put on a list, about which nothing else is known: the number is on it when it comes, and all that was known of it
// still is, the name of an event that was recorded late included.
func staleLists(w *world) {
	w.pass(0)
	late := signup(1, 1, start-300*days)
	late.Now = start
	id := w.assess(w.migrate(late, 1), 0).ID
	for _, p := range []hashing.Subject{under(phone(1), 1), phone(1)} { // the first forgets the event but for its name
		w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "named", Subject: p, Added: start}}, nil))
	}
	w.stale(byToken(1, 1, 0, start+10))
	equal(w.t, "lists", fmt.Sprint(w.look(w.migrate(signup(1, 1, start+20), 1)).Lists), "[named]")
	w.must(w.store.Erase(w.ctx(), &engine.Erasure{Domain: domain, Phones: []hashing.Subject{under(phone(1), 1), phone(1)}, Now: start + 30}))
	if _, err := w.store.Entry(w.ctx(), domain, id); !errors.Is(err, engine.ErrUnknownEvent) {
		w.t.Errorf("an event of an erased number: %v", err)
	}
	w.verified()
}
