package storetest

import (
	"errors"
	"fmt"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

const (
	hours = int64(60 * 60)
	days  = 24 * hours
	years = 365 * days
)

// pass lets seconds go by and returns the time after them. A store whose clock stands cannot be tried.
func (w *world) pass(seconds int64) int64 {
	w.t.Helper()
	if w.open.Clock == nil {
		w.t.Skip("the driver's clock cannot be set")
	}
	w.open.Clock.pass(seconds)
	return w.open.Clock.Now().Unix()
}

// sweep goes round everything.
func (w *world) sweep(now int64) (all engine.Swept) {
	w.t.Helper()
	for rounds := 0; rounds < 2; { // the first may begin anywhere
		swept, err := w.store.Sweep(w.ctx(), now)
		w.must(err)
		if all.Add(swept); swept.Done {
			rounds++
		}
	}
	return all
}

// remember counts an event under an idempotency key, and returns the event's id.
func (w *world) remember(ev *engine.Event, key byte) engine.EventID {
	w.t.Helper()
	ev.Once = &engine.Once{Key: hashing.Digest{key}, Expires: ev.Now + engine.OnceFor, Lasts: engine.OnceFor, Render: func() []byte { return []byte("answer") }}
	return w.assess(ev, 0).ID
}

func (w *world) recalls(key byte, now int64) bool {
	w.t.Helper()
	r, err := w.store.Recall(w.ctx(), domain, hashing.Digest{key}, now)
	w.must(err)
	return r != nil
}

func sweepFrees(w *world) {
	w.pass(0)
	id := w.remember(signup(1, 1, start), 1)
	w.outcome(id, scoring.Abuse, start, 0)
	w.assess(verified(2, 2, start), 0)
	w.assess(signup(3, 3, start), 0)
	w.assess(signup(4, 4, start), 0)
	w.must(w.store.Release(w.ctx(), &engine.Release{Domain: domain, Phone: phone(5), Now: start}))
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{
		{List: "kept", Subject: phone(3), Added: start},
		{List: "gone", Subject: phone(4), Added: start, Expires: start + days},
		{List: "gone", Subject: phone(6), Added: start, Expires: start + days},
	}, nil))
	now := w.pass(180*days - 1)
	equal(w.t, "a second before, signups", w.look(signup(1, 1, now)).Records[hashing.Phone].Total(scoring.Signup), 1)
	now = w.pass(1)
	w.assess(signup(9, 9, now), 0)
	equal(w.t, "a caller whose clock is behind finds the key", w.recalls(1, start), false)
	w.checkSwept(id, now)
	swept := w.sweep(now)
	if swept.Subjects == 0 || swept.Keys != 1 || swept.Entries != 2 || swept.Ranges != 1 {
		w.t.Errorf("swept: %+v", swept)
	}
	w.checkSwept(id, now)
	again := w.sweep(now)
	equal(w.t, "swept again", again.Subjects+again.Keys+again.Entries+again.Ranges, 0)
	equal(w.t, "signups of a new beginning", w.assess(signup(1, 1, now), 0).ID.Given(), true)
	r := w.look(signup(1, 1, now)).Records[hashing.Phone]
	equal(w.t, "signups", r.Total(scoring.Signup), 1)
	equal(w.t, "first seen", r.FirstSeen(), now)
}

// checkSwept holds that what is out of force is not seen, swept or not, and the rest is.
func (w *world) checkSwept(id engine.EventID, now int64) {
	w.t.Helper()
	look := func(p int) *record.Record { return w.look(signup(p, p, now)).Records[hashing.Phone] }
	equal(w.t, "an idle phone is empty", look(1).Empty(), true)
	equal(w.t, "its labels", look(1).Labels(scoring.Abuse), 0)
	equal(w.t, "a linked phone's links", look(2).Links(), 1)
	equal(w.t, "and what it was verified", look(2).Total(scoring.Verified), 1)
	equal(w.t, "a listed phone's signups", look(3).Total(scoring.Signup), 1)
	equal(w.t, "those of one whose entry expired", look(4).Total(scoring.Signup), 0)
	equal(w.t, "a released phone's generation", look(5).Generation(), 1)
	equal(w.t, "lists", fmt.Sprint(w.look(signup(3, 4, now)).Lists), "[kept]")
	for list, want := range map[string]int{"kept": 1, "gone": 0} {
		entries, err := w.store.Entries(w.ctx(), domain, list, hashing.Subject{}, 10, now)
		w.must(err)
		equal(w.t, "entries of "+list, len(entries), want)
	}
	equal(w.t, "the key is remembered", w.recalls(1, now), false)
	if _, err := w.store.Entry(w.ctx(), domain, id); !errors.Is(err, engine.ErrUnknownEvent) {
		w.t.Errorf("an old event: %v", err)
	}
	o := &engine.Outcome{Domain: domain, Event: id, Kind: scoring.Legitimate, Time: now, Now: now}
	if err := w.store.RecordOutcome(w.ctx(), o); !errors.Is(err, engine.ErrUnknownEvent) {
		w.t.Errorf("an outcome of an old event: %v", err)
	}
	events, err := w.store.Timeline(w.ctx(), domain, phone(2), 10)
	w.must(err)
	equal(w.t, "old events in a timeline", len(events), 0)
	w.must(w.store.Scan(w.ctx(), domain, engine.EventID{}, func(e *record.Entry) error {
		if e.Time == start {
			return errors.New("an old event is in the log")
		}
		return nil
	}))
}

// clockJumps sets the clock wrong for a while. What happens then is counted, nothing is forgotten that
// the right time would not have forgotten, and no count stays wrong.
func clockJumps(w *world) {
	for _, jump := range []int64{-hours, hours, 10 * years, -10 * years} {
		now := w.pass(days)
		p := int(jump/hours + 1_000_000)
		id := w.remember(signup(p, p, now), byte(jump/hours)) //nolint:gosec // a few
		for range 4 {
			w.assess(signup(p, p, now), 0)
		}
		list := fmt.Sprint("l", p%1000)
		w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: list, Subject: phone(p), Added: now, Expires: now + 2*days}}, nil))
		w.open.Clock.jump(jump)
		w.sweep(now + jump)
		again := byte(jump/hours) ^ 0x80 //nolint:gosec // a few
		w.remember(signup(p, p, now+jump), again)
		equal(w.t, "a key used meanwhile is remembered", w.recalls(again, now+jump), true)
		if n := w.look(signup(p, p, now+jump)).Records[hashing.Phone].Count(scoring.Signup, record.TimeOf(now+jump), 3600); n < 0 {
			w.t.Errorf("jump of %d h: %v signups", jump/hours, n)
		}
		w.open.Clock.jump(-jump)
		now = w.pass(60)
		w.sweep(now)
		w.assess(signup(p, p, now), 0)
		r := w.look(signup(p, p, now)).Records[hashing.Phone]
		equal(w.t, "signups", r.Total(scoring.Signup), 7)
		if n := r.Count(scoring.Signup, record.TimeOf(now), uint32(2*hours)); n != 7 && jump > -days { // one long ago is no signup of today
			w.t.Errorf("jump of %d h: %v of 7 signups are counted", jump/hours, n)
		}
		equal(w.t, "the key is remembered", w.recalls(byte(jump/hours), now), true) //nolint:gosec // a few
		_, err := w.store.Entry(w.ctx(), domain, id)
		w.must(err)
		entries, err := w.store.Entries(w.ctx(), domain, list, hashing.Subject{}, 10, now)
		w.must(err)
		equal(w.t, "entries", len(entries), 1)
	}
}
