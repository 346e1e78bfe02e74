package pebblestore

import (
	"context"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// between is a context that does something when it is asked the second time.
type between struct {
	context.Context
	asked int
	do    func()
}

func (b *between) Err() error {
	if b.asked++; b.asked == 2 {
		b.do()
	}
	return b.Context.Err()
}

// TestUnlinkOfWhatWasLinkedMeanwhile holds that the log tells of an unlinking also where the account was linked between the look for an event of it
// and the lock on the phone.
func TestUnlinkOfWhatWasLinkedMeanwhile(t *testing.T) {
	s, err := OpenMemory(Options{Keys: testKeys, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ev := spread(1)
	ev.Verified = false
	var d engine.Decision
	if err := s.Assess(t.Context(), ev, &d, func(_ *engine.Observation, d *engine.Decision) { d.Verdict = scoring.Allow }); err != nil {
		t.Fatal(err)
	}
	ctx := &between{Context: t.Context(), do: func() {
		o := &engine.Outcome{Domain: 1, Event: d.ID, Kind: scoring.Verified, Time: ev.Time, Now: ev.Now}
		if err := s.RecordOutcome(t.Context(), o); err != nil || !o.Links.Linked {
			t.Fatal(o, err)
		}
	}}
	u := &engine.Unlink{Domain: 1, Phone: ev.Subjects[hashing.Phone], Link: ev.Link, Now: ev.Now}
	if err := s.Unlink(ctx, u); err != nil || !u.Unlinked {
		t.Fatal(u, err)
	}
	e, err := s.Entry(t.Context(), 1, d.ID)
	if err != nil || len(e.Reports()) != 2 || e.Reports()[1].Kind != 0 {
		t.Errorf("reports %+v, %v", e.Reports(), err)
	}
}
