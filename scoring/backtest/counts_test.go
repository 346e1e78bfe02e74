package backtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestReplayCountsAsLive holds that counting a complete log again leaves every subject with what the store holds of it:
// counts and distinct counts in several windows, totals, links, labels, when it was seen and its generation.
func TestReplayCountsAsLive(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		r := rand.New(rand.NewPCG(seed, 13))
		p := randomPolicy(t, r)
		w := newWorld(t, p, "")
		w.live(r, 400)
		w.at++
		w.assess(w.event(r)) // by when every outcome is due
		met := map[hashing.Subject]bool{}
		cfg := w.config(p)
		cfg.Each = func(row *Row) error {
			for _, s := range row.Entry.Subjects {
				if s.Given() {
					met[s] = true
				}
			}
			return nil
		}
		w.check(cfg.check())
		c := (&Config{Policy: p}).newCounter()
		c.records.omits = [hashing.Kinds]record.Omission{} // count what the policy does not ask for, too
		if _, err := cfg.replay(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if c.records.taken != len(met) || len(met) < 30 {
			t.Fatalf("seed %d: counted %d subjects of %d", seed, c.records.taken, len(met))
		}
		kinds := [hashing.Kinds]int{}
		for s := range met {
			kinds[s.Kind]++
			if live, again := tallies(w.observed(s), w.at), tallies(c.records.record(&s), w.at); live != again {
				t.Errorf("seed %d, a subject of kind %d: live\n%s\nreplayed\n%s", seed, s.Kind, live, again)
			}
		}
		for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
			if kinds[kind] == 0 {
				t.Errorf("seed %d: no subject of kind %d", seed, kind)
			}
		}
	}
}

// TestNothingThatIsAskedForIsLeftOut holds that a replay which counts only what its policy reads says the same as one that counts everything.
func TestNothingThatIsAskedForIsLeftOut(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		r := rand.New(rand.NewPCG(seed, 17))
		p := randomPolicy(t, r)
		w := newWorld(t, randomPolicy(t, r), "")
		w.live(r, 400)
		var said [2][]string
		var bytes [2]int
		for i := range said {
			c := (&Config{Policy: p}).newCounter()
			if i == 1 {
				c.records.omits = [hashing.Kinds]record.Omission{}
			}
			cfg := w.config(p)
			cfg.Each = func(row *Row) error {
				said[i] = append(said[i], fmt.Sprint(row.Entry.ID, row.State, *row.New, c.values))
				return nil
			}
			w.check(cfg.check())
			if _, err := cfg.replay(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			for n := range c.records.taken {
				bytes[i] += len(c.records.at(uint32(n + 1)).record.Bytes())
			}
		}
		if len(said[0]) < 300 || !slices.Equal(said[0], said[1]) {
			t.Errorf("seed %d: of %d events, %d with everything counted, some are judged differently", seed, len(said[0]), len(said[1]))
		}
		if bytes[0] >= bytes[1] {
			t.Errorf("seed %d: %d bytes, and %d with everything counted", seed, bytes[0], bytes[1])
		}
	}
}

// TestWhatIsKnownOfOldEntries holds that a report comes after what it replaced, also where the log does not say when that was recorded, and
// that an event claims once.
func TestWhatIsKnownOfOldEntries(t *testing.T) {
	event := func(n int64, kinds ...scoring.Event) *record.Entry {
		e := &record.Entry{ID: record.NewEventID(record.Seq((begin+n)*1e6), 1), Kind: scoring.SignIn, Time: begin + n, Now: begin + n, Values: make([]float64, 64)}
		e.Subjects[hashing.Phone], e.Subjects[hashing.Account] = someSubject(hashing.Phone, 1), someSubject(hashing.Account, 1)
		e.Link = hashing.LinkTag{1}
		for i, kind := range kinds {
			at := begin + n + int64(i) + 1
			if i == 0 {
				e.SetOutcome(record.Outcome{Kind: kind, Time: at})
				continue
			}
			e.Report(record.Report{Outcome: record.Outcome{Kind: kind, Time: at}, Seq: record.Seq(at * 1e6), Now: at})
		}
		return e
	}
	for _, want := range []struct {
		told        []scoring.Event // the first one by an earlier program; 0 is an unlinking
		abuse, link int
	}{
		{[]scoring.Event{scoring.Abuse, scoring.Legitimate}, 0, 0},
		{[]scoring.Event{scoring.Abuse, scoring.Legitimate, scoring.Abuse}, 1, 0},
		{[]scoring.Event{scoring.Verified, 0}, 0, 0},
		{[]scoring.Event{scoring.Verified, 0, scoring.Unverified, scoring.Verified}, 0, 0},
	} {
		c := (&Config{Policy: scoring.Default()}).newCounter()
		c.records.omits = [hashing.Kinds]record.Omission{}
		allow := func(*engine.Observation, *engine.Event) scoring.Decision { return scoring.Allow }
		c.count(event(0, want.told...), allow)
		c.count(event(100), allow)
		phone := someSubject(hashing.Phone, 1)
		r := c.records.record(&phone)
		if int(r.Labels(scoring.Abuse)) != want.abuse || r.Links() != want.link {
			t.Errorf("%v: abuse %d, links %d", want.told, r.Labels(scoring.Abuse), r.Links())
		}
	}
}

// observed returns what the store holds of a subject.
func (w *world) observed(s hashing.Subject) *record.Record {
	w.t.Helper()
	ev := &engine.Event{Domain: w.hasher.Domain(), Time: w.at, Now: w.at}
	ev.Subjects[s.Kind] = s
	seen, err := w.store.Observe(w.t.Context(), ev)
	w.check(err)
	return seen.Records[s.Kind]
}

// tallies writes down all that can be asked of a record.
func tallies(r *record.Record, at int64) string {
	now := record.TimeOf(at)
	text := fmt.Sprintf("first %d last %d generation %d links %d", r.FirstSeen(), r.LastSeen(), r.Generation(), r.Links())
	for ev := scoring.Event(1); ev < scoring.Events; ev++ {
		text += fmt.Sprintf("\nevent %d: total %d labels %d in", ev, r.Total(ev), r.Labels(ev))
		for _, seconds := range []uint32{3600, 86400, 30 * 86400} {
			text += fmt.Sprint(" ", r.Count(ev, now, seconds))
		}
	}
	for m := scoring.Member(1); m < scoring.Members; m++ {
		text += fmt.Sprintf("\nmember %d in", m)
		for _, seconds := range []uint32{3600, 86400, 30 * 86400} {
			text += fmt.Sprint(" ", r.Distinct(m, now, seconds))
		}
	}
	return text
}
