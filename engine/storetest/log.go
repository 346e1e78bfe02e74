package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

func timeline(w *world) {
	var want []engine.EventID
	for i := range 5 {
		want = append(want, w.assess(signup(1, i, start+int64(i)), 0).ID)
		w.assess(signup(2, i, start), 0)
	}
	slices.Reverse(want)
	events, err := w.store.Timeline(w.ctx(), domain, phone(1), 4)
	w.must(err)
	var got []engine.EventID
	for _, e := range events {
		got = append(got, e.ID)
	}
	if !slices.Equal(got, want[:4]) {
		w.t.Errorf("timeline: got %v, want %v", got, want[:4])
	}
}

func scanOrder(w *world) {
	var want []engine.EventID
	for i := range 10 {
		want = append(want, w.assess(signup(i, i, start-int64(i)), 0).ID)
	}
	var got []engine.EventID
	w.must(w.store.Scan(w.ctx(), domain, want[3], func(e *record.Entry) error {
		got = append(got, e.ID)
		return nil
	}))
	if !slices.Equal(got, want[4:]) {
		w.t.Errorf("scan: got %v, want %v", got, want[4:])
	}
	stop := errors.New("enough")
	if err := w.store.Scan(w.ctx(), domain, engine.EventID{}, func(*record.Entry) error { return stop }); !errors.Is(err, stop) {
		w.t.Errorf("stopped scan: got %v", err)
	}
}

func entryKeeps(w *world) {
	ev := verified(1, 1, start)
	d := new(engine.Decision)
	w.must(w.store.Assess(w.ctx(), ev, d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict, d.Score, d.Holdout, d.Policy = scoring.Review, 63, true, 9
		d.Values, d.Claim = []float64{1, 2.5}, true
		d.Shadows = []record.Shadow{{Policy: 3, Decision: scoring.Block, Score: 81, Values: []float64{4}}}
	}))
	e, err := w.store.Entry(w.ctx(), domain, d.ID)
	w.must(err)
	equal(w.t, "verdict", e.Verdict, scoring.Review)
	equal(w.t, "score", e.Score, 63)
	equal(w.t, "policy", e.Policy, 9)
	equal(w.t, "holdout, claimed, verified", [3]bool{e.Holdout, e.Claimed, e.Verified}, [3]bool{true, true, true})
	equal(w.t, "values", fmt.Sprint(e.Values), "[1 2.5]")
	equal(w.t, "shadows", fmt.Sprint(e.Shadows), "[{3 block 81 false [4]}]")
	equal(w.t, "subjects", e.Subjects, ev.Subjects)
	equal(w.t, "link", e.Link, ev.Link)
	equal(w.t, "time", e.Time, start)
}

// decisionStays holds that what one call was told is not what another one makes of it: drivers use
// their memory again.
func decisionStays(w *world) {
	assess := func(p int, v float64) *engine.Decision {
		d := new(engine.Decision)
		w.must(w.store.Assess(w.ctx(), signup(p, p, start), d, func(_ *engine.Observation, d *engine.Decision) {
			d.Verdict, d.Policy, d.Values = scoring.Allow, 1, []float64{v, v, v}
			d.Shadows = []record.Shadow{{Policy: 2, Decision: scoring.Block, Values: []float64{v}}}
		}))
		return d
	}
	other := assess(1, 7)
	for i := range 20 {
		d := assess(2, 1)
		w.outcome(other.ID, []scoring.Event{scoring.Abuse, scoring.Legitimate}[i%2], start, 0)
		if !slices.Equal(d.Values, []float64{1, 1, 1}) {
			w.t.Fatalf("values became %v", d.Values)
		}
		if s := d.Shadows; len(s) != 1 || !slices.Equal(s[0].Values, []float64{1}) {
			w.t.Fatalf("shadows became %+v", s)
		}
	}
}

func policyVersions(w *world) {
	adopt := func(source string) uint32 {
		v, err := w.store.AdoptPolicy(w.ctx(), domain, []byte(source), start)
		w.must(err)
		return v
	}
	equal(w.t, "first", adopt("a"), 1)
	equal(w.t, "the same", adopt("a"), 1)
	equal(w.t, "another", adopt("b"), 2)
	equal(w.t, "the first one again", adopt("a"), 3)
	source, ok, err := w.store.PolicySource(w.ctx(), domain, 2)
	w.must(err)
	if !ok || !bytes.Equal(source, []byte("b")) {
		w.t.Errorf("version 2: got %q, %v", source, ok)
	}
	_, ok, err = w.store.PolicySource(w.ctx(), domain, 4)
	w.must(err)
	equal(w.t, "a version that is not there", ok, false)
}
