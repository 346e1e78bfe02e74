package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// desk is an engine over a store in memory that outlives it, with a clock that stands.
type desk struct {
	t     *testing.T
	store *pebblestore.Store
	*engine.Engine
}

const domain = hashing.DomainID(1)

func newDesk(t *testing.T) *desk {
	t.Helper()
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: []hashing.KeyCheck{{Key: 1, Value: [16]byte{1}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	d := &desk{t: t, store: store}
	d.restart(nil)
	return d
}

// restart begins a new engine on the same store.
func (d *desk) restart(policy *scoring.Policy) {
	d.t.Helper()
	var err error
	d.Engine, err = engine.New(d.t.Context(), engine.Config{
		Store: d.store, Domain: domain, Policy: policy, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	})
	d.must(err)
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// add adds a policy that blocks from a number of signups on.
func (d *desk) add(at int) uint32 {
	d.t.Helper()
	v := &engine.PolicyVersion{Source: blocksAt(at), Author: "k1", Note: "a test"}
	_, err := d.AddPolicy(d.t.Context(), v, nil)
	d.must(err)
	return v.Version
}

func blocksAt(n int) []byte {
	return fmt.Appendf(nil, "name: at_%d\nsignals: {n: {subject: phone, count: signup, window: %dh}}\nscore: [{code: N, signal: n, points: {%d: 50}}]\ndecisions: {block: 50}", n, n, n)
}

func (d *desk) signup() *engine.Assessment {
	d.t.Helper()
	ev := &engine.Event{Kind: scoring.Signup}
	ev.Subjects[hashing.Phone] = hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [hashing.IDSize]byte{7}}
	a := new(engine.Assessment)
	d.must(d.Assess(d.t.Context(), ev, a))
	return a
}

// TestPublish holds that a policy is in force for the next event, that nobody overwrites what he has not seen, and that
// a restart changes nothing.
func TestPublish(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	if p, version := d.Live(); version != 1 || p.Name() != "default" {
		t.Fatalf("a new store has %s, version %d", p.Name(), version)
	}
	two := d.add(2)
	if a := d.signup(); a.Version != 1 {
		t.Errorf("an added version decides: %d", a.Version)
	}
	d.must(d.Publish(ctx, two, engine.Change{Replaces: 1, Author: "k1", Note: "try it"}))
	if a := d.signup(); a.Version != two || a.Decision != scoring.Block {
		t.Errorf("published: version %d says %v", a.Version, a.Decision)
	}
	three := d.add(3)
	if err := d.Publish(ctx, three, engine.Change{Replaces: 1, Author: "k1", Note: "late"}); !errors.Is(err, engine.ErrPolicyReplaced) {
		t.Errorf("publishing over what was not seen: %v", err)
	}
	var r engine.Rollout
	if err := d.RollBack(ctx, 1, engine.Change{Replaces: 1, Author: "k1", Note: "late"}, &r); !errors.Is(err, engine.ErrPolicyReplaced) {
		t.Errorf("rolling back over what was not seen: %v", err)
	}
	if err := d.Publish(ctx, 99, engine.Change{Replaces: two, Author: "k1", Note: "no such"}); !errors.Is(err, engine.ErrUnknownPolicy) {
		t.Errorf("no such version: %v", err)
	}
	if err := d.Publish(ctx, three, engine.Change{Replaces: two, Author: "k1", Note: "call +1 202 555 0143"}); !errors.Is(err, engine.ErrNote) {
		t.Errorf("a number in a note: %v", err)
	}
	d.must(d.Publish(ctx, three, engine.Change{Replaces: two, Author: "k1", Note: "stricter"}))
	d.must(d.RollBack(ctx, two, engine.Change{Replaces: three, Author: "k2", Note: "too strict"}, &r))
	back := r.Version
	if a := d.signup(); a.Version != back || back != 4 || a.Policy.Name() != "at_2" {
		t.Errorf("rolled back to version %d: %s", a.Version, a.Policy.Name())
	}
	d.restart(nil)
	if a := d.signup(); a.Version != back {
		t.Errorf("after a restart version %d decides", a.Version)
	}
	d.restart(scoring.Default())
	if _, version := d.Live(); version != 5 {
		t.Errorf("a policy given at start is version %d", version)
	}
	history, err := d.Rollouts(ctx, 0, 10)
	d.must(err)
	var said []string
	for _, r := range history {
		said = append(said, fmt.Sprintf("%s %d over %d by %s", r.Kind, r.Version, r.Replaces, r.Author))
	}
	want := "adopted 5 over 4 by local; rolled_back 4 over 3 by k2; published 3 over 2 by k1; published 2 over 1 by k1; adopted 1 over 0 by local"
	if got := strings.Join(said, "; "); got != want {
		t.Errorf("history: %s", got)
	}
}

// TestBrokenPolicyNeverGetsIn holds that the store has no version more after a refusal.
func TestBrokenPolicyNeverGetsIn(t *testing.T) {
	d := newDesk(t)
	for _, source := range []string{"", "name: x", "name: x\ndecisions: {block: 50}\nscore: [{code: A, when: nobody > 3, points: 5}]"} {
		v := &engine.PolicyVersion{Source: []byte(source), Note: "broken"}
		var bad *scoring.PolicyError
		if _, err := d.AddPolicy(t.Context(), v, nil); !errors.As(err, &bad) || len(bad.Problems) == 0 {
			t.Errorf("%q: %v", source, err)
		}
	}
	if _, err := d.AddPolicy(t.Context(), &engine.PolicyVersion{Source: blocksAt(1)}, nil); !errors.Is(err, engine.ErrNote) {
		t.Errorf("without a note: %v", err)
	}
	if all, err := d.Policies(t.Context(), 0, 10); err != nil || len(all) != 1 {
		t.Errorf("%d versions, %v", len(all), err)
	}
}

func TestCheckNote(t *testing.T) {
	for note, want := range map[string]bool{
		"": false, "a": true, "fewer false positives: 0.5 % at 1234 labels": true, "two\nlines": false, strings.Repeat("x", 501): false,
		strings.Repeat("é", 500): true, "202 555 0143": false, "(202) 555-0143 calls": false, "12.34.56.7": false, "123456 and 7": true, "\xff": false,
		"٠١٢٣٤٥٦": false,
	} {
		if got := engine.CheckNote(note); got != want {
			t.Errorf("%q: %v", note, got)
		}
	}
}

// TestShadow holds that a policy in shadow changes nothing, says what it would have decided, and that what only it measures is logged.
func TestShadow(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	live := d.add(9)
	d.must(d.Publish(ctx, live, engine.Change{Replaces: 1, Author: "k1", Note: "lenient"}))
	strict := d.add(2)
	d.must(d.Shadow(ctx, strict, true, engine.Change{Author: "k1", Note: "is it too strict"}))
	d.must(d.Shadow(ctx, 1, true, engine.Change{Author: "k1", Note: "the default beside it"}))
	if err := d.Shadow(ctx, live, true, engine.Change{Author: "k1", Note: "itself"}); !errors.Is(err, engine.ErrShadowLive) {
		t.Errorf("the live one in shadow: %v", err)
	}
	first, second := d.signup(), d.signup()
	if len(first.Shadows) != 2 || first.Decision != scoring.Allow || second.Decision != scoring.Allow || second.Version != live {
		t.Fatalf("%+v", second)
	}
	if s := second.Shadows; s[0].Policy != 1 || s[1].Policy != strict || s[1].Decision != scoring.Block || s[1].Score != 50 || len(s[1].Values) != 1 || s[1].Values[0] != 2 {
		t.Errorf("shadows say %+v", s)
	}
	e, err := d.store.Entry(ctx, domain, second.ID)
	d.must(err)
	if e.Verdict != scoring.Allow || e.Policy != live || len(e.Shadows) != 2 || e.Shadows[1].Values[0] != 2 || len(e.Shadows[0].Values) != len(scoring.Default().Signals())+1 {
		t.Errorf("logged: %+v", e)
	}
	d.must(d.RecordOutcome(ctx, &engine.Outcome{Event: second.ID, Kind: scoring.Abuse}))
	if e, err = d.store.Entry(ctx, domain, second.ID); err != nil || len(e.Shadows) != 2 || e.Shadows[1].Score != 50 {
		t.Errorf("an outcome lost what shadows said: %+v, %v", e, err)
	}
	looked := new(engine.Assessment)
	ev := &engine.Event{Kind: scoring.Signup}
	ev.Subjects[hashing.Phone] = second.Phone
	d.must(d.Peek(ctx, ev, looked))
	if len(looked.Shadows) != 2 {
		t.Errorf("a look has no shadows: %+v", looked)
	}
	counts := func() string { return fmt.Sprint(d.ShadowCounts()) }
	want := fmt.Sprint([]engine.ShadowCount{{1, scoring.Allow, scoring.Allow, 2}, {strict, scoring.Allow, scoring.Allow, 1}, {strict, scoring.Allow, scoring.Block, 1}})
	if got := counts(); got != want {
		t.Errorf("counted: %s, want %s", got, want)
	}
	d.must(d.Shadow(ctx, 1, false, engine.Change{Author: "k1", Note: "enough"}))
	if got := counts(); !strings.HasPrefix(got, fmt.Sprintf("[{%d allow", strict)) {
		t.Errorf("counts after another shadow ended: %s", got)
	}
	d.restart(nil)
	if a := d.signup(); len(a.Shadows) != 1 || a.Shadows[0].Policy != strict {
		t.Errorf("after a restart: %+v", a.Shadows)
	}
	d.must(d.Publish(ctx, strict, engine.Change{Replaces: live, Author: "k1", Note: "it was right"}))
	if a := d.signup(); len(a.Shadows) != 0 || a.Decision != scoring.Block {
		t.Errorf("published: %+v", a)
	}
}

// TestCalibration holds that answers carry a probability once their policy version has one, and only where the score decided.
func TestCalibration(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.must(d.Publish(ctx, d.add(2), engine.Change{Replaces: 1, Author: "k1", Note: "simple"}))
	c := &engine.Calibration{Bands: []engine.CalibrationBand{{From: 0, To: 20, Probability: 0.125, Labels: 70}, {From: 50, To: 90, Probability: 0.75, Labels: 31}}}
	if a := d.signup(); a.CalibrationLabels != 0 {
		t.Errorf("not calibrated: %+v", a)
	}
	if err := d.Calibrate(ctx, 2, c, 19, 1000, nil); !errors.Is(err, engine.ErrFewLabels) {
		t.Errorf("with 19 labels of abuse: %v", err)
	}
	d.must(d.Calibrate(ctx, 2, c, 20, 1000, nil))
	if a := d.signup(); a.Score != 50 || a.Probability != 0.75 || a.CalibrationLabels != 31 {
		t.Errorf("calibrated: %+v", a)
	}
	d.restart(nil)
	if a := d.signup(); a.CalibrationLabels != 31 {
		t.Errorf("after a restart: %+v", a)
	}
	d.must(d.PutEntries(ctx, []engine.ListEntry{{List: engine.DenyList, Subject: d.signup().Phone}}, nil))
	if a := d.signup(); a.CalibrationLabels != 0 || a.Decision != scoring.Block {
		t.Errorf("on the deny list: %+v", a)
	}
	d.must(d.Publish(ctx, d.add(3), engine.Change{Replaces: 2, Author: "k1", Note: "another"}))
	if a := d.signup(); a.CalibrationLabels != 0 {
		t.Errorf("another version: %+v", a)
	}
}

// TestRollBackKeepsCalibration holds that answers carry a probability as soon as a calibrated policy is back, and that it is said who calibrated it and when.
func TestRollBackKeepsCalibration(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.must(d.Publish(ctx, d.add(1), engine.Change{Replaces: 1, Author: "k1", Note: "simple"}))
	c := &engine.Calibration{Author: "k1", Digest: "00ff", Bands: []engine.CalibrationBand{{From: 50, To: 50, Probability: 0.75, Labels: 31}}}
	d.must(d.Calibrate(ctx, 2, c, 20, 20, nil))
	d.must(d.Publish(ctx, d.add(3), engine.Change{Replaces: 2, Author: "k1", Note: "another"}))
	var r engine.Rollout
	d.must(d.RollBack(ctx, 2, engine.Change{Replaces: 3, Author: "k2", Note: "back"}, &r))
	if a := d.signup(); a.Version != 4 || a.Probability != 0.75 || a.CalibrationLabels != 31 {
		t.Errorf("rolled back: %+v", a)
	}
	if kept, err := d.Calibration(ctx, r.Version); err != nil || fmt.Sprint(kept) != fmt.Sprint(c) {
		t.Errorf("kept: %+v, %v", kept, err)
	}
}
