// Package storetest holds the contract of engine.Store as tests that every
// driver runs:
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) storetest.Opened { … })
//	}
//
// Random operations are held against a model in plain maps. A new behaviour of
// drivers starts as a case here.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Opened is a new, empty store. The tests close it.
type Opened struct {
	Store engine.Store

	// Reopen opens the closed store again, with what it held. It is nil for a
	// store that cannot outlive being closed.
	Reopen func() engine.Store

	// Crash takes the power away from the store and opens what is left: all that was
	// durable, and some of what was not. It is nil where that cannot be tried.
	Crash func() engine.Store

	// Clock is that of the machine that the store runs on. It is nil where that cannot be set.
	Clock *Clock

	// Verify reports damage of an open store that no call shows. It may be nil.
	Verify func(engine.Store) error

	// Discard frees what the closed store holds on disk. It may be nil.
	Discard func()
}

// Open opens a new, empty store for one test.
type Open func(t testing.TB) Opened

// Run holds a driver to the contract.
func Run(t *testing.T, open Open) {
	cases := []struct {
		name string
		run  func(*world)
	}{
		{"an event counts itself and what came before", countsEvents},
		{"looking does not count", lookingDoesNotCount},
		{"what is not given is not counted", missingSubjects},
		{"never more accounts than the limit", claimsUnderConcurrency},
		{"a blocked event never claims", blockedNeverClaims},
		{"an outcome claims once", outcomeClaimsOnce},
		{"outcomes replace one another", outcomesReplace},
		{"an outcome of a released number changes no count", staleOutcome},
		{"an unknown event has no outcome", unknownEvent},
		{"unlinking frees the slot", unlinkFrees},
		{"releasing forgets all but the lists", releaseForgets},
		{"erasing forgets a phone and nobody else", eraseForgets},
		{"erasing again changes nothing", eraseAgain},
		{"an erasure remembers its answer", eraseRemembers},
		{"erasing forgets what every key made of a phone", eraseVersions},
		{"erasing finds events that were recorded late", eraseLate},
		{"lists are in force until they expire", listsExpire},
		{"lists are read page by page", listPages},
		{"list names are kept apart by domain", listDomains},
		{"an answer is remembered with its mutation", remembers},
		{"a refused call leaves nothing behind", refusedLeavesNothing},
		{"a call that panics leaves nothing behind", panicLeavesNothing},
		{"the timeline is newest first", timeline},
		{"the log is in order", scanOrder},
		{"an entry keeps what was decided", entryKeeps},
		{"a decision stays the caller's", decisionStays},
		{"policies get versions", policyVersions},
		{"versions of the policy are kept as they came", policiesKeep},
		{"only what is known to be live is replaced", rolloutsReplace},
		{"a few policies run in shadow", shadowsRun},
		{"one of many replaces the live version", rolloutsRace},
		{"the newest calibration of a version is kept", calibrationsKeep},
		{"rollbacks keep calibrations", rollbacksCalibrate},
		{"a concurrent crowd is counted exactly", concurrentCounts},
		{"a concurrent crowd on many subjects is counted exactly", concurrentSpread},
		{"sweeping frees what is out of force", sweepFrees},
		{"a clock that jumps makes nothing expire at once", clockJumps},
		{"a number moves to another key with all that is known of it", rotates},
		{"an outcome of an event of an older key links once", outcomeBeforeMigration},
		{"what moved in calls of its own is not counted twice", movedApart},
		{"an erased number is a stranger under the next key", erasedIsAStranger},
		{"nothing happens to a phone that has to be known, and leads nowhere", staleTokens},
		{"nothing happens to a phone by its newer name before it moved", earlyTokens},
		{"an idle phone is not known, swept or not", staleIdle},
		{"a phone that was idle, and on a list since, is not known", staleListed},
		{"a link is all that is kept of an idle phone, and moves", linkOfIdle},
		{"on a list by two older names", listedTwice},
		{"an outcome of an event of an idle phone finds its number under a newer key", outcomeOfIdle},
		{"a list finds the number of a token that leads nowhere", staleLists},
		{"an account that moved on with another phone is linked once", movedOnWithAnother},
		{"a concurrent crowd moves a number once", migrationsCrowd},
		{"a closed store says so", closedStore},
		{"closing ends a walk whose visitor asks the store", closeDuringScan},
		{"an ended context stops a call", endedContext},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := open(t)
			w := &world{t: t, store: o.Store, open: o}
			c.run(w)
			if err := o.Store.Close(); err != nil && !errors.Is(err, engine.ErrClosed) {
				t.Error(err)
			}
		})
	}
	RunRandom(t, open)
}

// RunRandom holds random operations on a driver against the model. It is part of Run.
func RunRandom(t *testing.T, open Open) {
	t.Run("random operations equal the model", func(t *testing.T) { equalsModel(t, open) })
}

// RunReopen holds a driver whose stores outlive being closed to what they
// promise then. Opened.Reopen must be set.
func RunReopen(t *testing.T, open Open) {
	t.Run("everything is there after reopening", func(t *testing.T) { survivesReopen(t, open) })
}

func countsEvents(w *world) {
	w.assess(signup(1, 1, start), 0)
	w.assess(signup(1, 2, start+30), 0)
	ev := signup(1, 3, start+60)
	err := w.store.Assess(w.ctx(), ev, new(engine.Decision), func(o *engine.Observation, _ *engine.Decision) {
		r, at := o.Records[hashing.Phone], record.TimeOf(ev.Time)
		equal(w.t, "events in the window, which is open at its start", r.Count(scoring.Signup, at, 60), 2)
		equal(w.t, "events in a longer window", r.Count(scoring.Signup, at, 61), 3)
		equal(w.t, "accounts", r.Distinct(scoring.Accounts, at, 3600), 3)
		equal(w.t, "first seen", r.FirstSeen(), start)
		equal(w.t, "events of the ip", o.Records[hashing.IP].Count(scoring.Signup, at, 3600), 3)
		equal(w.t, "phones of the ip", o.Records[hashing.IP].Distinct(scoring.Phones, at, 3600), 1)
	})
	w.must(err)
}

func lookingDoesNotCount(w *world) {
	for range 3 {
		o, err := w.store.Observe(w.ctx(), signup(1, 1, start))
		w.must(err)
		equal(w.t, "the event itself is part of the view", o.Records[hashing.Phone].Total(scoring.Signup), 1)
	}
	o := w.look(signup(1, 1, start))
	equal(w.t, "nothing is there", o.Records[hashing.Phone].Empty(), true)
}

func missingSubjects(w *world) {
	ev := signup(1, 1, start)
	ev.Subjects[hashing.Phone], ev.Subjects[hashing.Device] = hashing.Subject{}, hashing.Subject{}
	err := w.store.Assess(w.ctx(), ev, new(engine.Decision), func(o *engine.Observation, _ *engine.Decision) {
		equal(w.t, "record of a missing phone", o.Records[hashing.Phone], nil)
		equal(w.t, "phones of the ip", o.Records[hashing.IP].Distinct(scoring.Phones, record.TimeOf(start), 60), 0)
	})
	w.must(err)
}

func claimsUnderConcurrency(w *world) {
	const clients, limit = 64, 3
	decisions := make([]*engine.Decision, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { decisions[i] = w.assess(verified(1, i, start), limit) })
	}
	wg.Wait()
	linked := 0
	for _, d := range decisions {
		if d.Links.Count > limit {
			w.t.Errorf("%d accounts on a number with a limit of %d", d.Links.Count, limit)
		}
		if d.Links.Linked {
			linked++
		}
	}
	equal(w.t, "linked", linked, limit)
	equal(w.t, "links", w.look(signup(1, 0, start)).Records[hashing.Phone].Links(), limit)
}

func blockedNeverClaims(w *world) {
	d := new(engine.Decision)
	w.must(w.store.Assess(w.ctx(), verified(1, 1, start), d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict = scoring.Block
	}))
	equal(w.t, "linked", d.Links.Linked, false)
	equal(w.t, "verified is counted all the same", w.look(signup(1, 1, start)).Records[hashing.Phone].Total(scoring.Verified), 1)
}

func outcomeClaimsOnce(w *world) {
	first, second := w.assess(signup(1, 1, start), 1), w.assess(signup(1, 2, start), 1)
	o := w.outcome(first.ID, scoring.Verified, start+5, 1)
	equal(w.t, "links", o.Links, engine.Links{Count: 1, Linked: true, Since: start + 5})
	equal(w.t, "linked over the limit", w.outcome(second.ID, scoring.Verified, start+6, 1).Links.Linked, false)
	w.must(w.store.Unlink(w.ctx(), &engine.Unlink{Domain: domain, Phone: phone(1), Link: linkTag(1), Now: start}))
	o = w.outcome(first.ID, scoring.Verified, start+7, 1)
	equal(w.t, "an outcome delivered twice links again", o.Links.Linked, false)
	equal(w.t, "changed", o.Changed, false)
	equal(w.t, "an outcome that found no room links when there is", w.outcome(second.ID, scoring.Verified, start+8, 1).Links.Linked, true)
}

func outcomesReplace(w *world) {
	id := w.assess(signup(1, 1, start), 0).ID
	labels := func() [2]int {
		r := w.look(signup(1, 1, start)).Records[hashing.Phone]
		return [2]int{r.Labels(scoring.Abuse), r.Labels(scoring.Legitimate)}
	}
	equal(w.t, "changed", w.outcome(id, scoring.Abuse, start+1, 0).Changed, true)
	equal(w.t, "changed again", w.outcome(id, scoring.Abuse, start+2, 0).Changed, false)
	equal(w.t, "labels", labels(), [2]int{1, 0})
	equal(w.t, "changed back", w.outcome(id, scoring.Legitimate, start+3, 0).Changed, true)
	equal(w.t, "labels", labels(), [2]int{0, 1})
	w.outcome(id, scoring.Verified, start+4, 0)
	e, err := w.store.Entry(w.ctx(), domain, id)
	w.must(err)
	want := []record.Outcome{
		{Kind: scoring.Verified, Time: start + 4, Source: "test"},
		{Kind: scoring.Legitimate, Time: start + 3, Source: "test"},
	}
	if got := e.Outcomes(); !slices.Equal(got, want) {
		w.t.Errorf("outcomes: got %v, want %v", got, want)
	}
	checkReports(w, e, []record.Report{
		{Outcome: record.Outcome{Kind: scoring.Abuse, Time: start + 1, Source: "test"}, Now: start + 1},
		{Outcome: record.Outcome{Kind: scoring.Legitimate, Time: start + 3, Source: "test"}, Now: start + 3},
		{Outcome: record.Outcome{Kind: scoring.Verified, Time: start + 4, Source: "test"}, Now: start + 4},
	})
}

// checkReports holds that the log tells what was told of an event in the order in which it came, each with a number above that of the
// one before it unless it is stale.
func checkReports(w *world, e *record.Entry, want []record.Report) {
	w.t.Helper()
	last, got := e.ID.Seq(), slices.Clone(e.Reports())
	for i := range got {
		if !got[i].Stale {
			equal(w.t, "a report comes after the one before it", got[i].Seq > last, true)
			last = got[i].Seq
		}
		got[i].Seq = 0
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("reports: got %+v, want %+v", got, want)
	}
}

func staleOutcome(w *world) {
	id := w.assess(signup(1, 1, start), 0).ID
	w.must(w.store.Release(w.ctx(), &engine.Release{Domain: domain, Phone: phone(1), Now: start}))
	for _, kind := range []scoring.Event{scoring.Verified, scoring.Abuse} {
		o := w.outcome(id, kind, start+1, 0)
		equal(w.t, "stale", o.Stale, true)
		equal(w.t, "links", o.Links.Count, 0)
	}
	r := w.look(signup(1, 1, start)).Records[hashing.Phone]
	equal(w.t, "verified", r.Total(scoring.Verified), 0)
	equal(w.t, "abuse", r.Labels(scoring.Abuse), 0)
	e, err := w.store.Entry(w.ctx(), domain, id)
	w.must(err)
	equal(w.t, "the label is kept", e.Outcome(scoring.Abuse).Kind, scoring.Abuse)
	checkReports(w, e, []record.Report{
		{Outcome: record.Outcome{Kind: scoring.Verified, Time: start + 1, Source: "test"}, Stale: true},
		{Outcome: record.Outcome{Kind: scoring.Abuse, Time: start + 1, Source: "test"}, Stale: true},
	})
}

func unknownEvent(w *world) {
	id := record.NewEventID(1, 1)
	err := w.store.RecordOutcome(w.ctx(), &engine.Outcome{Domain: domain, Event: id, Kind: scoring.Abuse})
	if !errors.Is(err, engine.ErrUnknownEvent) {
		w.t.Errorf("outcome: got %v", err)
	}
	if _, err := w.store.Entry(w.ctx(), domain, id); !errors.Is(err, engine.ErrUnknownEvent) {
		w.t.Errorf("entry: got %v", err)
	}
}

func unlinkFrees(w *world) {
	id := w.assess(verified(1, 1, start), 1).ID
	equal(w.t, "linked", w.assess(verified(1, 2, start), 1).Links.Linked, false)
	u := &engine.Unlink{Domain: domain, Phone: phone(1), Link: linkTag(1), Now: start}
	w.must(w.store.Unlink(w.ctx(), u))
	equal(w.t, "unlinked", u.Unlinked, true)
	w.must(w.store.Unlink(w.ctx(), u))
	equal(w.t, "unlinked again", u.Unlinked, false)
	e, err := w.store.Entry(w.ctx(), domain, id)
	w.must(err)
	checkReports(w, e, []record.Report{{Outcome: record.Outcome{Time: start}, Now: start}})
	equal(w.t, "linked", w.assess(verified(1, 2, start), 1).Links.Linked, true)
}

func releaseForgets(w *world) {
	w.assess(verified(1, 1, start), 0)
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "vip", Subject: phone(1), Added: start}}, nil))
	r := &engine.Release{Domain: domain, Phone: phone(1), Now: start}
	w.must(w.store.Release(w.ctx(), r))
	equal(w.t, "generation", r.Generation, 1)
	o := w.look(signup(1, 1, start))
	got := o.Records[hashing.Phone]
	equal(w.t, "signups", got.Total(scoring.Signup), 0)
	equal(w.t, "links", got.Links(), 0)
	equal(w.t, "first seen", got.FirstSeen(), 0)
	equal(w.t, "lists", fmt.Sprint(o.Lists), "[vip]")
	events, err := w.store.Timeline(w.ctx(), domain, phone(1), 10)
	w.must(err)
	equal(w.t, "events of this generation", len(events), 0)
	w.must(w.store.Release(w.ctx(), r))
	equal(w.t, "generation", r.Generation, 2)
}

func remembers(w *world) {
	key := hashing.Digest{1}
	r, err := w.store.Recall(w.ctx(), domain, key, start)
	w.must(err)
	equal(w.t, "remembered before", r == nil, true)
	ev := signup(1, 1, start)
	d := new(engine.Decision)
	ev.Once = &engine.Once{Key: key, Fingerprint: hashing.Digest{2}, Expires: start + 10, Render: func() []byte {
		return fmt.Append(nil, "answer ", d.ID)
	}}
	w.must(w.store.Assess(w.ctx(), ev, d, func(*engine.Observation, *engine.Decision) {}))
	r, err = w.store.Recall(w.ctx(), domain, key, start)
	w.must(err)
	if r == nil || r.Fingerprint != (hashing.Digest{2}) || r.Expires != start+10 || string(r.Answer) != "answer "+d.ID.String() {
		w.t.Errorf("remembered: got %+v", r)
	}
	r, err = w.store.Recall(w.ctx(), domain+1, key, start)
	w.must(err)
	equal(w.t, "remembered in another domain", r == nil, true)
}

func panicLeavesNothing(w *world) {
	ev := verified(1, 1, start)
	ev.Once = &engine.Once{Key: hashing.Digest{1}, Render: func() []byte { panic("render") }}
	func() {
		defer func() { _ = recover() }()
		_ = w.store.Assess(w.ctx(), ev, new(engine.Decision), func(_ *engine.Observation, d *engine.Decision) { d.Claim = true })
		w.t.Error("the panic was swallowed")
	}()
	r := w.look(signup(1, 1, start)).Records[hashing.Phone]
	equal(w.t, "nothing was counted", r.Empty(), true)
	equal(w.t, "links", r.Links(), 0)
}

func concurrentCounts(w *world) {
	const clients, each = 16, 50
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				w.assess(signup(i%3, c, start), 0)
			}
		})
	}
	wg.Wait()
	total := uint64(0)
	for p := range 3 {
		total += w.look(signup(p, 0, start)).Records[hashing.Phone].Total(scoring.Signup)
	}
	equal(w.t, "events", total, clients*each)
}

// concurrentSpread lets a crowd loose on more subjects than a store under test may keep in
// memory, again and again on each.
func concurrentSpread(w *world) {
	const clients, each, phones = 16, 400, 160
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				p := (i*clients + c) % phones
				w.assess(signup(p, p, start), 0)
			}
		})
	}
	wg.Wait()
	for p := range phones {
		for kind, r := range w.look(signup(p, p, start)).Records {
			if r != nil && r.Total(scoring.Signup) != clients*each/phones {
				w.t.Errorf("phone %d, subject %d: %d events are counted, want %d", p, kind, r.Total(scoring.Signup), clients*each/phones)
			}
		}
	}
}

func closedStore(w *world) {
	w.must(w.store.Close())
	if _, err := w.store.Observe(w.ctx(), signup(1, 1, start)); !errors.Is(err, engine.ErrClosed) {
		w.t.Errorf("got %v", err)
	}
	if err := w.store.Close(); !errors.Is(err, engine.ErrClosed) {
		w.t.Errorf("second close: got %v", err)
	}
}

// closeDuringScan closes the store while a visitor of the log asks it something for every entry: the
// visitor is refused, and nobody waits for the other.
func closeDuringScan(w *world) {
	for i := range 50 {
		w.assess(signup(i, i, start), 0)
	}
	closed := make(chan error, 1)
	begun := false
	err := w.store.Scan(w.ctx(), domain, engine.EventID{}, func(*record.Entry) error {
		if !begun {
			begun = true
			go func() { closed <- w.store.Close() }()
		}
		for { // until Close has begun
			if _, err := w.store.Lists(w.ctx(), domain); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, engine.ErrClosed) {
		w.t.Errorf("the walk ended with %v", err)
	}
	w.must(<-closed)
}

func endedContext(w *world) {
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	err := w.store.Assess(ctx, signup(1, 1, start), new(engine.Decision), func(*engine.Observation, *engine.Decision) {})
	if !errors.Is(err, context.Canceled) {
		w.t.Errorf("got %v", err)
	}
	equal(w.t, "counted", w.look(signup(1, 1, start)).Records[hashing.Phone].Empty(), true)
}

func survivesReopen(t *testing.T, open Open) {
	o := open(t)
	w := &world{t: t, store: o.Store, open: o}
	before := w.assess(verified(1, 1, start), 1).ID
	w.outcome(before, scoring.Abuse, start, 1)
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "vip", Subject: phone(1)}}, nil))
	version, err := w.store.AdoptPolicy(w.ctx(), domain, []byte("p"), start)
	w.must(err)
	w.add("q")
	w.must(w.rollOut(engine.ShadowBegins, version+1, 0))
	w.must(w.store.Calibrate(w.ctx(), domain, version, &engine.Calibration{Digest: "00", Bands: []engine.CalibrationBand{{To: 9, Probability: 0.5, Labels: 3}}}, nil))
	policies := w.policies()
	w.must(w.store.Close())

	w.store = o.Reopen()
	seen := w.look(signup(1, 1, start))
	r := seen.Records[hashing.Phone]
	equal(t, "signups", r.Total(scoring.Signup), 1)
	equal(t, "links", r.Links(), 1)
	equal(t, "labels", r.Labels(scoring.Abuse), 1)
	equal(t, "lists", fmt.Sprint(seen.Lists), "[vip]")
	again, err := w.store.AdoptPolicy(w.ctx(), domain, []byte("p"), start)
	w.must(err)
	equal(t, "policy version", again, version)
	equal(t, "policies", w.policies(), policies)
	if next := w.assess(signup(1, 2, start), 1).ID; next.Seq() <= before.Seq() {
		t.Errorf("event ids went back: %d, then %d", before.Seq(), next.Seq())
	}
	w.must(w.store.Close())
}
