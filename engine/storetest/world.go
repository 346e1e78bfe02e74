package storetest

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// domain is the domain of all events here.
const domain = hashing.DomainID(1)

// Start is when the events here begin, in unix seconds.
const Start = int64(1_800_000_000)

const start = Start

// subject makes up the n-th pseudonym of a kind. Its bytes are spread as a
// keyed hash spreads them.
func subject(kind hashing.Kind, n int) hashing.Subject {
	s := hashing.Subject{Kind: kind, Key: 1}
	x := uint64(kind)<<56 | uint64(n) //nolint:gosec // small numbers
	for i := 0; i < len(s.ID); i += 8 {
		x = mix(x + 0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(s.ID[i:], x)
	}
	return s
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func phone(n int) hashing.Subject   { return subject(hashing.Phone, n) }
func account(n int) hashing.Subject { return subject(hashing.Account, n) }

// linkTag is the tag of the n-th account.
func linkTag(n int) hashing.LinkTag {
	var tag hashing.LinkTag
	binary.BigEndian.PutUint64(tag[:], mix(uint64(n)+1)) //nolint:gosec // small numbers
	return tag
}

// signup is an event of one account on one phone, and everything around them.
func signup(p, a int, at int64) *engine.Event {
	ev := &engine.Event{Domain: domain, Kind: scoring.Signup, Time: at, Now: at, Link: linkTag(a)}
	ev.Number = engine.Number{Given: true, Valid: true, Region: "GB", Type: "mobile"}
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		ev.Subjects[kind] = subject(kind, p)
	}
	ev.Subjects[hashing.Account] = account(a)
	return ev
}

// verified is a signup that wants its account linked.
func verified(p, a int, at int64) *engine.Event {
	ev := signup(p, a, at)
	ev.Verified = true
	return ev
}

// world is a store under test with what the tests do to it.
type world struct {
	t     testing.TB
	store engine.Store
	open  Opened
}

func (w *world) ctx() context.Context { return w.t.Context() }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// assess counts an event, claims for up to limit accounts if it asks for it,
// and returns the decision.
func (w *world) assess(ev *engine.Event, limit int) *engine.Decision {
	w.t.Helper()
	d := new(engine.Decision)
	w.must(w.store.Assess(w.ctx(), ev, d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict, d.Policy, d.Score = scoring.Allow, 1, 7
		d.Claim, d.MaxLinks = ev.Claims(), limit
	}))
	return d
}

// look returns what is known of the subjects of an event.
func (w *world) look(ev *engine.Event) *engine.Observation {
	w.t.Helper()
	looking := *ev
	looking.Kind = 0
	o, err := w.store.Observe(w.ctx(), &looking)
	w.must(err)
	return o
}

func (w *world) outcome(id engine.EventID, kind scoring.Event, at int64, limit int) *engine.Outcome {
	w.t.Helper()
	o := &engine.Outcome{Domain: domain, Event: id, Kind: kind, Source: "test", Time: at, Now: at, MaxLinks: limit}
	w.must(w.store.RecordOutcome(w.ctx(), o))
	return o
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
