package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"pgregory.net/rapid"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
)

// policies returns all that the store says of the policies of a domain, in words.
func (w *world) policies() string {
	w.t.Helper()
	versions, err := w.store.Policies(w.ctx(), domain, 0, 1000)
	w.must(err)
	rollouts, err := w.store.Rollouts(w.ctx(), domain, 0, 1000)
	w.must(err)
	state, err := w.store.PolicyState(w.ctx(), domain)
	w.must(err)
	text := fmt.Sprintf("%+v %+v %+v", versions, rollouts, *state)
	for _, v := range versions {
		c, err := w.store.Calibration(w.ctx(), domain, v.Version)
		w.must(err)
		if c != nil {
			text += fmt.Sprintf(" %d: %+v", v.Version, *c)
		}
	}
	return text
}

func (w *world) add(source string) uint32 {
	w.t.Helper()
	v := &engine.PolicyVersion{Source: []byte(source), Added: start, Author: "k1", Note: "about " + source}
	w.must(w.store.AddPolicy(w.ctx(), domain, v, nil))
	return v.Version
}

// state is which versions are in force, in words.
func (w *world) state() string {
	w.t.Helper()
	state, err := w.store.PolicyState(w.ctx(), domain)
	w.must(err)
	return fmt.Sprintf("%d %v", state.Live, state.Shadows)
}

func (w *world) rollOut(kind engine.RolloutKind, version, replaces uint32) error {
	w.t.Helper()
	return w.store.RollOut(w.ctx(), domain, &engine.Rollout{Kind: kind, Version: version, Replaces: replaces, At: start, Author: "k2", Note: "because"})
}

func policiesKeep(w *world) {
	equal(w.t, "before the first", w.state(), "0 []")
	equal(w.t, "first", w.add("a"), 1)
	equal(w.t, "the same again", w.add("a"), 2)
	equal(w.t, "nothing is live yet", w.state(), "0 []")
	adopted, err := w.store.AdoptPolicy(w.ctx(), domain, []byte("a"), start)
	w.must(err)
	equal(w.t, "what is not live is adopted as a version of its own", adopted, 3)
	for i := 4; i < 9; i++ {
		w.add(fmt.Sprint("p", i))
	}
	v, err := w.store.Policy(w.ctx(), domain, 2)
	w.must(err)
	if string(v.Source) != "a" || v.Version != 2 || v.Added != start || v.Author != "k1" || v.Note != "about a" || v.Of != 0 {
		w.t.Errorf("version 2: %+v", v)
	}
	page := func(before uint32, limit int) (got []uint32) {
		all, err := w.store.Policies(w.ctx(), domain, before, limit)
		w.must(err)
		for _, v := range all {
			got = append(got, v.Version)
		}
		return got
	}
	if got := page(0, 3); !slices.Equal(got, []uint32{8, 7, 6}) {
		w.t.Errorf("the newest: %v", got)
	}
	if got := page(3, 10); !slices.Equal(got, []uint32{2, 1}) {
		w.t.Errorf("before the third: %v", got)
	}
	if _, err := w.store.Policy(w.ctx(), domain, 9); !errors.Is(err, engine.ErrUnknownPolicy) {
		w.t.Errorf("a version that is not there: %v", err)
	}
	if all, err := w.store.Policies(w.ctx(), domain+1, 0, 10); err != nil || len(all) != 0 {
		w.t.Errorf("another domain has %v, %v", all, err)
	}
}

func rolloutsReplace(w *world) {
	w.add("a")
	w.add("b")
	w.must(w.rollOut(engine.Published, 1, 0))
	equal(w.t, "published", w.state(), "1 []")
	if err := w.rollOut(engine.Published, 2, 0); !errors.Is(err, engine.ErrPolicyReplaced) {
		w.t.Errorf("another one is live: %v", err)
	}
	if err := w.rollOut(engine.Published, 3, 1); !errors.Is(err, engine.ErrUnknownPolicy) {
		w.t.Errorf("no such version: %v", err)
	}
	w.must(w.rollOut(engine.Published, 2, 1))
	again := &engine.Rollout{Kind: engine.Published, Version: 2, Replaces: 1} // as it was sent before
	w.must(w.store.RollOut(w.ctx(), domain, again))
	equal(w.t, "what is live already is no change", again.Number, 0)
	back := &engine.Rollout{Kind: engine.RolledBack, Replaces: 2, At: start + 1, Author: "k3", Note: "back"}
	back.New = &engine.PolicyVersion{Source: []byte("a"), Added: start + 1, Author: "k3", Note: "back", Of: 1}
	w.must(w.store.RollOut(w.ctx(), domain, back))
	equal(w.t, "rolled back", w.state(), "3 []")
	v, err := w.store.Policy(w.ctx(), domain, 3)
	w.must(err)
	equal(w.t, "the version that it equals", v.Of, 1)

	stale := *back
	stale.New = &engine.PolicyVersion{Source: []byte("a"), Of: 1}
	if err := w.store.RollOut(w.ctx(), domain, &stale); !errors.Is(err, engine.ErrPolicyReplaced) {
		w.t.Errorf("rolled back twice: %v", err)
	}
	if _, err := w.store.Policy(w.ctx(), domain, 4); !errors.Is(err, engine.ErrUnknownPolicy) {
		w.t.Errorf("a refused change left a version behind: %v", err)
	}
	all, err := w.store.Rollouts(w.ctx(), domain, 0, 10)
	w.must(err)
	want := []engine.Rollout{
		{Number: 3, Kind: engine.RolledBack, Version: 3, Replaces: 2, At: start + 1, Author: "k3", Note: "back"},
		{Number: 2, Kind: engine.Published, Version: 2, Replaces: 1, At: start, Author: "k2", Note: "because"},
		{Number: 1, Kind: engine.Published, Version: 1, At: start, Author: "k2", Note: "because"},
	}
	if !slices.Equal(all, want) {
		w.t.Errorf("history: got %+v", all)
	}
	if older, err := w.store.Rollouts(w.ctx(), domain, 3, 1); err != nil || len(older) != 1 || older[0].Number != 2 {
		w.t.Errorf("a page of the history: %+v, %v", older, err)
	}
}

func shadowsRun(w *world) {
	for i := range record.MaxShadows + 2 {
		w.add(fmt.Sprint("p", i))
	}
	w.must(w.rollOut(engine.Published, 1, 0))
	if err := w.rollOut(engine.ShadowBegins, 1, 0); !errors.Is(err, engine.ErrShadowLive) {
		w.t.Errorf("the live one in shadow: %v", err)
	}
	w.must(w.rollOut(engine.ShadowBegins, 5, 0))
	w.must(w.rollOut(engine.ShadowBegins, 3, 0))
	w.must(w.rollOut(engine.ShadowBegins, 4, 0))
	w.must(w.rollOut(engine.ShadowBegins, 3, 0))
	w.must(w.rollOut(engine.ShadowBegins, 2, 0))
	equal(w.t, "in shadow", w.state(), "1 [2 3 4 5]")
	if err := w.rollOut(engine.ShadowBegins, 6, 0); !errors.Is(err, engine.ErrTooManyShadows) {
		w.t.Errorf("one too many: %v", err)
	}
	w.must(w.rollOut(engine.ShadowEnds, 4, 0))
	w.must(w.rollOut(engine.ShadowEnds, 4, 0))
	w.must(w.rollOut(engine.Published, 3, 1))
	equal(w.t, "what is live runs no longer in shadow", w.state(), "3 [2 5]")
	all, err := w.store.Rollouts(w.ctx(), domain, 0, 10)
	w.must(err)
	equal(w.t, "changes", len(all), 7)
	equal(w.t, "what a shadow replaces", all[1].Replaces, 0)
}

// rolloutsRace has a crowd replace the version that all of them saw: one may.
func rolloutsRace(w *world) {
	const clients = 16
	for i := range clients + 1 {
		w.add(fmt.Sprint("p", i))
	}
	w.must(w.rollOut(engine.Published, 1, 0))
	var done atomic.Int32
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			switch err := w.rollOut(engine.Published, uint32(i+2), 1); { //nolint:gosec // small numbers
			case err == nil:
				done.Add(1)
			case !errors.Is(err, engine.ErrPolicyReplaced):
				w.t.Error(err)
			}
		})
	}
	wg.Wait()
	equal(w.t, "replaced", done.Load(), 1)
}

func calibrationsKeep(w *world) {
	w.add("a")
	none, err := w.store.Calibration(w.ctx(), domain, 1)
	w.must(err)
	equal(w.t, "calibrated", none != nil, false)
	for i := range 2 {
		c := &engine.Calibration{At: start + int64(i), Author: "k", Digest: "00ff", Bands: []engine.CalibrationBand{
			{From: 0, To: 10, Probability: 0.01, Labels: 90}, {From: 30, To: 30, Probability: 0.1 + float64(i)/3, Labels: 7},
		}}
		w.must(w.store.Calibrate(w.ctx(), domain, 1, c, nil))
		got, err := w.store.Calibration(w.ctx(), domain, 1)
		w.must(err)
		equal(w.t, "calibration", fmt.Sprint(*got), fmt.Sprint(*c))
	}
	if err := w.store.Calibrate(w.ctx(), domain, 2, &engine.Calibration{}, nil); !errors.Is(err, engine.ErrUnknownPolicy) {
		w.t.Errorf("a version that is not there: %v", err)
	}
}

// rollbacksCalibrate holds that a version equal to a calibrated one is calibrated, and no other.
func rollbacksCalibrate(w *world) {
	w.add("a")
	w.add("b")
	w.must(w.rollOut(engine.Published, 2, 0))
	calibrate := func(version uint32, at int64) {
		w.must(w.store.Calibrate(w.ctx(), domain, version, calibrationOf(at), nil))
	}
	calibration := func(version uint32) (at int64) {
		c, err := w.store.Calibration(w.ctx(), domain, version)
		w.must(err)
		if c == nil {
			return 0
		}
		equal(w.t, "calibration", fmt.Sprint(*c), fmt.Sprint(*calibrationOf(c.At)))
		return c.At
	}
	back := func(source string, to, replaces uint32) error {
		r := &engine.Rollout{Kind: engine.RolledBack, Replaces: replaces, New: &engine.PolicyVersion{Source: []byte(source), Of: to}}
		return w.store.RollOut(w.ctx(), domain, r)
	}
	calibrate(1, start)
	if err := back("a", 1, 1); !errors.Is(err, engine.ErrPolicyReplaced) {
		w.t.Errorf("over another version: %v", err)
	}
	equal(w.t, "left behind by a refused rollback", calibration(3), 0)
	w.must(back("a", 1, 2))
	equal(w.t, "rolled back to a calibrated version", calibration(3), start)
	w.must(back("b", 2, 3))
	equal(w.t, "rolled back to one that is not", calibration(4), 0)
	w.must(back("a", 3, 4))
	equal(w.t, "rolled back to a rollback", calibration(5), start)
	w.must(back("c", 1, 5))
	equal(w.t, "another document", calibration(6), 0)
	calibrate(1, start+1)
	equal(w.t, "the old version is calibrated anew", calibration(3), start)
	calibrate(5, start+2)
	equal(w.t, "the new one", fmt.Sprint(calibration(3), calibration(5)), fmt.Sprint(start, start+2))
}

// calibrationOf makes up a calibration that was stored at some time.
func calibrationOf(at int64) *engine.Calibration {
	return &engine.Calibration{At: at, Author: "k", Digest: "00ff", Bands: []engine.CalibrationBand{{From: 0, To: 10, Probability: 0.25, Labels: 90}}}
}

func (m *machine) adopt(rt *rapid.T) {
	source := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "policy")
	version, err := m.w.store.AdoptPolicy(m.w.ctx(), domain, []byte(source), m.model.now)
	m.check(rt, err)
	if m.model.live == 0 || m.model.policies[m.model.live-1] != source {
		m.model.policies = append(m.model.policies, source)
		m.model.goLive(uint32(len(m.model.policies))) //nolint:gosec // small numbers
	}
	m.same(rt, "adopted", version, m.model.live)
	m.comparePolicies(rt)
}

func (m *machine) addPolicy(rt *rapid.T) {
	source := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "policy")
	m.model.policies = append(m.model.policies, source)
	m.same(rt, "added", m.w.add(source), uint32(len(m.model.policies))) //nolint:gosec // small numbers
	m.comparePolicies(rt)
}

// rollOut publishes a version, or begins or ends a shadow, and sees it refused now and then.
func (m *machine) rollOut(rt *rapid.T) {
	kind := rapid.SampledFrom([]engine.RolloutKind{engine.Published, engine.ShadowBegins, engine.ShadowBegins, engine.ShadowEnds}).Draw(rt, "kind")
	version := rapid.Uint32Range(1, uint32(len(m.model.policies)+1)).Draw(rt, "version") //nolint:gosec // small numbers
	replaces := m.model.live - rapid.SampledFrom([]uint32{0, 0, 0, 1}).Draw(rt, "behind")
	want := m.model.rollOut(kind, version, replaces)
	if err := m.w.rollOut(kind, version, replaces); !errors.Is(err, want) {
		rt.Fatalf("%v of version %d: got %v, want %v", kind, version, err, want)
	}
	m.comparePolicies(rt)
}

func (m *machine) rollBack(rt *rapid.T) {
	if len(m.model.policies) == 0 {
		rt.Skip("no policy yet")
	}
	to := rapid.IntRange(1, len(m.model.policies)).Draw(rt, "to")
	source := m.model.policies[to-1]
	m.model.calibrated[len(m.model.policies)+1] = m.model.calibrated[to]
	r := &engine.Rollout{Kind: engine.RolledBack, Replaces: m.model.live, New: &engine.PolicyVersion{Source: []byte(source), Of: uint32(to)}} //nolint:gosec // small numbers
	m.check(rt, m.w.store.RollOut(m.w.ctx(), domain, r))
	m.model.policies = append(m.model.policies, source)
	m.model.goLive(uint32(len(m.model.policies))) //nolint:gosec // small numbers
	m.same(rt, "rolled back", r.Version, m.model.live)
	m.comparePolicies(rt)
}

func (m *machine) calibrate(rt *rapid.T) {
	version := rapid.IntRange(1, len(m.model.policies)+1).Draw(rt, "version")
	err := m.w.store.Calibrate(m.w.ctx(), domain, uint32(version), calibrationOf(m.model.now), nil) //nolint:gosec // small numbers
	if version > len(m.model.policies) {
		m.same(rt, "a version that is not there", errors.Is(err, engine.ErrUnknownPolicy), true)
		return
	}
	m.check(rt, err)
	m.model.calibrated[version] = m.model.now
	m.comparePolicies(rt)
}

// comparePolicies holds versions, calibrations, history and what is in force against the model.
func (m *machine) comparePolicies(rt *rapid.T) {
	m.same(rt, "in force", m.w.state(), fmt.Sprint(m.model.live, " ", m.model.shadows))
	all, err := m.w.store.Policies(m.w.ctx(), domain, 0, len(m.model.policies)+1)
	m.check(rt, err)
	var sources []string
	for _, v := range slices.Backward(all) {
		sources = append(sources, string(v.Source))
		c, err := m.w.store.Calibration(m.w.ctx(), domain, v.Version)
		m.check(rt, err)
		at := int64(0)
		if c != nil {
			at = c.At
		}
		m.same(rt, fmt.Sprint("calibration of version ", v.Version), at, m.model.calibrated[int(v.Version)])
	}
	m.same(rt, "policies", fmt.Sprint(sources), fmt.Sprint(m.model.policies))
	rollouts, err := m.w.store.Rollouts(m.w.ctx(), domain, 0, m.model.rollouts+1)
	m.check(rt, err)
	m.same(rt, "changes", len(rollouts), m.model.rollouts)
}

func (m *model) goLive(version uint32) {
	m.live = version
	m.shadows = slices.DeleteFunc(m.shadows, func(s uint32) bool { return s == version })
	m.rollouts++
}

// rollOut makes a change, or returns why it cannot be.
func (m *model) rollOut(kind engine.RolloutKind, version, replaces uint32) error {
	running := slices.Contains(m.shadows, version)
	switch {
	case kind == engine.Published && version == m.live && m.live != 0:
		return nil
	case kind == engine.Published && replaces != m.live:
		return engine.ErrPolicyReplaced
	case int(version) > len(m.policies):
		return engine.ErrUnknownPolicy
	case kind == engine.Published:
		m.goLive(version)
	case kind == engine.ShadowBegins && version == m.live:
		return engine.ErrShadowLive
	case kind == engine.ShadowBegins && !running && len(m.shadows) == record.MaxShadows:
		return engine.ErrTooManyShadows
	case kind == engine.ShadowBegins && !running:
		m.shadows = append(m.shadows, version)
		slices.Sort(m.shadows)
		m.rollouts++
	case kind == engine.ShadowEnds && running:
		m.shadows = slices.DeleteFunc(m.shadows, func(s uint32) bool { return s == version })
		m.rollouts++
	}
	return nil
}
