package storetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Sizes of one history of links: few accounts and a low limit, so that its clients meet.
const (
	linkClients  = 8
	linkSteps    = 7 // of each client
	linkAccounts = 6
	linkLimit    = 3
)

// checkTime is how long a history may be looked at until it counts as unknown, which is a failure.
const checkTime = 30 * time.Second

// linkOp is one call on a number. What it is about is an account, and in proves the event of that account that came first.
type linkOp struct {
	what    linkCall
	account int
}

type linkCall int

const (
	claims   linkCall = iota // a verified event
	proves                   // the outcome verified of an event that was not
	unlinks                  // frees a slot
	releases                 // starts a new generation
	looks                    // reads
	linkCalls
)

// linkSaw is what a call answered; what it does not say is zero.
type linkSaw struct {
	count      int
	linked     bool // the account is, or for unlinks was
	stale      bool
	generation int
}

// linkState is what a number should be: sets of accounts as bits.
type linkState struct {
	linked     uint
	claimed    uint // whose first event has claimed
	generation int
}

func (s linkState) count() int {
	n := 0
	for b := s.linked; b != 0; b &= b - 1 {
		n++
	}
	return n
}

// link links an account if there is room for it, and reports whether it is linked then.
func (s *linkState) link(account int) bool {
	if s.linked>>account&1 == 0 && s.count() >= linkLimit {
		return false
	}
	s.linked |= 1 << account
	return true
}

// step does one call on the state and says what it should answer.
func (s linkState) step(op linkOp) (linkState, linkSaw) {
	bit := uint(1) << op.account
	var saw linkSaw
	switch op.what {
	case claims:
		saw.linked = s.link(op.account)
	case proves:
		if saw.stale = s.generation > 0; !saw.stale && s.claimed&bit == 0 && s.link(op.account) {
			s.claimed |= bit
		}
		saw.linked = s.linked&bit != 0
	case unlinks:
		saw.linked = s.linked&bit != 0
		s.linked &^= bit
	case releases:
		s.linked, s.generation = 0, s.generation+1
		saw.generation = s.generation
	case looks:
		saw.linked, saw.generation = s.linked&bit != 0, s.generation
	}
	saw.count = s.count()
	return s, saw
}

var linkModel = porcupine.Model{
	Init: func() any { return linkState{} },
	Step: func(state, input, output any) (bool, any) {
		next, want := state.(linkState).step(input.(linkOp)) //nolint:forcetypeassert // what Init and the histories hold
		return want == output, next
	},
}

// RunLinks has clients claim, unlink, release and prove on one number at the same time, in so many histories, and holds that each
// history is what some order of its calls would have answered: never more accounts than the limit, at any moment.
func RunLinks(t *testing.T, open Open, histories int) {
	t.Helper()
	o := open(t)
	defer func() { _ = o.Store.Close() }()
	w := &world{t: t, store: o.Store}
	seed := rand.Uint64() //nolint:gosec // it is printed
	for n := range histories {
		history := w.linkHistory(n, seed)
		switch porcupine.CheckOperationsTimeout(linkModel, history, checkTime) {
		case porcupine.Ok:
		case porcupine.Illegal:
			t.Fatalf("history %d of seed %d is illegal: %+v", n, seed, history)
		default:
			t.Fatalf("history %d of seed %d is unknown after %v", n, seed, checkTime)
		}
	}
	t.Logf("%d histories of %d calls: 0 illegal, 0 unknown", histories, linkClients*linkSteps)
}

func (w *world) linkHistory(number int, seed uint64) []porcupine.Operation {
	first := make([]engine.EventID, linkAccounts)
	for a := range first {
		first[a] = w.assess(signup(number, a, start), linkLimit).ID
	}
	began := time.Now()
	histories := make([][]porcupine.Operation, linkClients)
	ready := make(chan struct{})
	var wg sync.WaitGroup
	for c := range histories {
		random := rand.New(rand.NewPCG(seed, uint64(number)<<8|uint64(c))) //nolint:gosec // a seed
		wg.Go(func() {
			<-ready
			for range linkSteps {
				op := linkOp{what: drawLinkCall(random), account: random.IntN(linkAccounts)}
				called := time.Since(began)
				saw, err := w.linkCall(number, op, first)
				if err != nil {
					w.t.Error(err)
					return
				}
				histories[c] = append(histories[c], porcupine.Operation{
					ClientId: c, Input: op, Call: called.Nanoseconds(), Output: saw, Return: time.Since(began).Nanoseconds(),
				})
			}
		})
	}
	close(ready)
	wg.Wait()
	var all []porcupine.Operation
	for _, h := range histories {
		all = append(all, h...)
	}
	return all
}

// drawLinkCall draws a call: releases seldom, since they end every rivalry.
func drawLinkCall(random *rand.Rand) linkCall {
	if random.IntN(30) == 0 {
		return releases
	}
	return []linkCall{claims, claims, claims, proves, unlinks, unlinks, looks}[random.IntN(7)]
}

func (w *world) linkCall(number int, op linkOp, first []engine.EventID) (saw linkSaw, err error) {
	ctx := context.Background()
	switch op.what {
	case claims:
		d := new(engine.Decision)
		err = w.store.Assess(ctx, verified(number, op.account, start), d, func(_ *engine.Observation, d *engine.Decision) {
			d.Verdict, d.Claim, d.MaxLinks = scoring.Allow, true, linkLimit
		})
		return linkSaw{count: d.Links.Count, linked: d.Links.Linked}, err
	case proves:
		o := &engine.Outcome{Domain: domain, Event: first[op.account], Kind: scoring.Verified, Time: start, Now: start, MaxLinks: linkLimit}
		err = w.store.RecordOutcome(ctx, o)
		return linkSaw{count: o.Links.Count, linked: o.Links.Linked, stale: o.Stale}, err
	case unlinks:
		u := &engine.Unlink{Domain: domain, Phone: phone(number), Link: linkTag(op.account), Now: start}
		err = w.store.Unlink(ctx, u)
		return linkSaw{count: u.Links.Count, linked: u.Unlinked}, err
	case releases:
		r := &engine.Release{Domain: domain, Phone: phone(number), Now: start}
		err = w.store.Release(ctx, r)
		return linkSaw{generation: int(r.Generation)}, err
	}
	looking := &engine.Event{Domain: domain, Time: start, Now: start}
	looking.Subjects[hashing.Phone] = phone(number)
	o, err := w.store.Observe(ctx, looking)
	if err != nil {
		return saw, err
	}
	r := o.Records[hashing.Phone]
	return linkSaw{count: r.Links(), linked: r.LinkedSince(linkTag(op.account)) != 0, generation: int(r.Generation())}, nil
}
