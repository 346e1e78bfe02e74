package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ringfence/ringfence/bench/load"
	"github.com/ringfence/ringfence/bench/traffic"
	"github.com/ringfence/ringfence/cmd/ringfence/replay"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// judged is a made-up event and what a policy said of it.
type judged struct {
	*traffic.Event
	world    *traffic.World
	decision scoring.Decision
}

// judge scores a world by a policy, with the bought list of disposable numbers loaded.
func judge(tb testing.TB, p *scoring.Policy, cfg traffic.Config) []judged {
	tb.Helper()
	w, text := written(tb, cfg)
	return read(tb, w, said(tb, p, cfg.Seed, w, text))
}

// written makes up a world, and the file of its events.
func written(tb testing.TB, cfg traffic.Config) (*traffic.World, []byte) {
	tb.Helper()
	w, err := traffic.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	var text bytes.Buffer
	if err := w.Write(&text); err != nil {
		tb.Fatal(err)
	}
	return w, text.Bytes()
}

// said is what a replay of the file of a world says of every event.
func said(tb testing.TB, p *scoring.Policy, seed uint64, w *traffic.World, text []byte) *bytes.Buffer {
	tb.Helper()
	ring, err := hashing.NewKeyring(rand.NewChaCha8([32]byte{byte(seed)}), time.Unix(0, 0))
	if err != nil {
		tb.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		tb.Fatal(err)
	}
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var entries []engine.ListEntry
	for _, number := range w.Disposable {
		n, err := hashing.Parse(number, "")
		if err != nil {
			tb.Fatal(err)
		}
		entries = append(entries, engine.ListEntry{List: "disposable", Subject: h.Phone(n), Added: 1})
	}
	if err := store.PutEntries(tb.Context(), h.Domain(), entries, nil); err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := replay.Run(tb.Context(), replay.Config{
		Store: store, Hasher: h, Policy: p, Assessments: &out,
		Refused: func(line int, why error) { tb.Fatalf("line %d: %v", line, why) },
	}, replay.Input{From: bytes.NewReader(text)}); err != nil {
		tb.Fatal(err)
	}
	return &out
}

// BenchmarkTraffic is made-up people and campaigns from the lines of a file to what is said of each: read, hashed, counted in memory and judged by
// the default policy. An operation is one event.
func BenchmarkTraffic(b *testing.B) {
	w, text := written(b, traffic.Config{Seed: 1, People: 1000})
	p, used := scoring.Default(), load.CPU()
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += len(w.Events) {
		said(b, p, 1, w, text)
	}
	rounds := (b.N + len(w.Events) - 1) / len(w.Events)
	b.ReportMetric(float64((load.CPU()-used).Nanoseconds())/1e3/float64(rounds*len(w.Events)), "cpu-us/event")
}

// read matches what replay says of every event with the event.
func read(tb testing.TB, w *traffic.World, out *bytes.Buffer) []judged {
	tb.Helper()
	var all []judged
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said struct {
			ID, Decision string
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			tb.Fatal(err)
		}
		n, err := strconv.Atoi(said.ID[1:])
		if err != nil {
			tb.Fatal(err)
		}
		j := judged{Event: &w.Events[n-1], world: w}
		for d := scoring.Allow; d <= scoring.Block; d++ {
			if d.String() == said.Decision {
				j.decision = d
			}
		}
		all = append(all, j)
	}
	if len(all) != len(w.Events) {
		tb.Fatalf("%d of %d events were judged", len(all), len(w.Events))
	}
	return all
}

// share counts how many of some reach each decision.
type share struct {
	all int
	at  [scoring.Block + 1]int
}

func (s *share) count(d scoring.Decision) {
	s.all++
	for at := scoring.Challenge; at <= d; at++ {
		s.at[at]++
	}
}

func (s *share) rate(at scoring.Decision) float64 { return float64(s.at[at]) / float64(max(s.all, 1)) }

func (s *share) String() string {
	return fmt.Sprintf("%8d %9.2f %% %9.2f %% %9.2f %%", s.all, 100*s.rate(scoring.Challenge), 100*s.rate(scoring.Review), 100*s.rate(scoring.Block))
}

// strictest returns the strictest decision for everybody ordinary of whom an event is one that counts.
func strictest(all []judged, counts func(*judged) bool) *share {
	worst := map[string]scoring.Decision{}
	for i := range all {
		if j := &all[i]; !j.Abuse() && counts(j) {
			who := fmt.Sprintf("%p %s", j.world, j.Account)
			worst[who] = max(worst[who], j.decision)
		}
	}
	s := &share{}
	for _, d := range worst {
		s.count(d)
	}
	return s
}

func has(trait string) func(*judged) bool { return func(j *judged) bool { return j.Has(trait) } }

func everybody(*judged) bool { return true }

// victims says which events come from people whose number a stranger has typed before.
func victims(all []judged) func(*judged) bool {
	typed := map[string]time.Time{} // by world and number: the first time
	for i := len(all) - 1; i >= 0; i-- {
		if j := &all[i]; j.Campaign == traffic.Stranger {
			typed[fmt.Sprintf("%p %s", j.world, j.Number)] = j.At
		}
	}
	return func(j *judged) bool {
		first, ok := typed[fmt.Sprintf("%p %s", j.world, j.Number)]
		return ok && !j.At.Before(first)
	}
}

// The seeds on which figures are given. The policy was tuned on 1 to 6, and on what one run of 101 to
// 106 had shown; nobody looked at these before it had its present form. Once it is tuned on what they show,
// they have to be replaced too.
const (
	firstHeldOut = 1001
	lastHeldOut  = 1006
)

// TestDefaultPolicyOnMadeUpTraffic holds what the embedded policy promises, on held-out
// seeds: abuse is what is at least challenged. The figures say nothing
// about the real world: see package traffic.
func TestDefaultPolicyOnMadeUpTraffic(t *testing.T) {
	var all []judged
	for seed := uint64(firstHeldOut); seed <= lastHeldOut; seed++ {
		all = append(all, judge(t, scoring.Default(), traffic.Config{Seed: seed, People: 2000})...)
	}
	caught := map[string]*share{}
	for _, name := range traffic.CampaignNames() {
		caught[name] = &share{}
	}
	bySeed := map[string]map[*traffic.World]*share{}
	for _, j := range all {
		if !j.Abuse() {
			continue
		}
		caught[j.Campaign].count(j.decision)
		if bySeed[j.Campaign] == nil {
			bySeed[j.Campaign] = map[*traffic.World]*share{}
		}
		if bySeed[j.Campaign][j.world] == nil {
			bySeed[j.Campaign][j.world] = &share{}
		}
		bySeed[j.Campaign][j.world].count(j.decision)
	}
	t.Logf("%-24s %8s %11s %11s %11s", "at or above", "n", "challenge", "review", "block")
	for _, name := range traffic.CampaignNames() {
		least, most := 1.0, 0.0
		for _, s := range bySeed[name] {
			least, most = min(least, s.rate(scoring.Challenge)), max(most, s.rate(scoring.Challenge))
		}
		t.Logf("%-24s %s   of a seed: %.1f to %.1f %% challenged", name, caught[name], 100*least, 100*most)
	}
	for _, name := range []string{traffic.AccountFarm, traffic.SMSPumping, traffic.Disposable} {
		if caught[name].rate(scoring.Challenge) < 0.9 {
			t.Errorf("%s: less than 90 %% is noticed", name)
		}
	}
	for _, group := range []struct {
		name      string
		of        func(*judged) bool
		challenge float64 // at most this share is challenged, or worse
		block     float64
	}{
		{"people", everybody, 0.005, 0.005},
		{"victims, from then on", victims(all), 0, 0},
		{traffic.Launch, has(traffic.Launch), 1, 0.005},
		{traffic.CarrierNAT, has(traffic.CarrierNAT), 1, 0.005},
		{traffic.Office, has(traffic.Office), 1, 0.005},
		{traffic.NoNumber, has(traffic.NoNumber), 0.005, 0},
		{traffic.NumberChange, has(traffic.NumberChange), 0.01, 0.01},
		{traffic.Abroad, has(traffic.Abroad), 0.02, 0.01},
		{traffic.Family, has(traffic.Family), 0.02, 0.02},
		{traffic.Typo, has(traffic.Typo), 1, 0},
	} {
		s := strictest(all, group.of)
		t.Logf("%-24s %s", group.name, s)
		if s.all == 0 || s.rate(scoring.Challenge) > group.challenge || s.rate(scoring.Block) > group.block {
			t.Errorf("%s: more than %.1f %% are challenged or more than %.1f %% blocked", group.name, 100*group.challenge, 100*group.block)
		}
	}
}

// ladder is intensities of a campaign, with a share of its numbers on the bought list, nil to draw it.
type ladder struct {
	campaign string
	listed   *float64
	rungs    []float64
}

// ladders go from what is not noticed to what cannot be missed.
func ladders() []ladder {
	half, tenth, none := 0.5, 0.1, 0.0
	return []ladder{
		{traffic.AccountFarm, nil, []float64{2, 3, 4, 6, 10, 30, 100}},
		{traffic.DistributedFarm, nil, []float64{2, 3, 4, 6, 10, 30, 60}},
		{traffic.SIMFarm, nil, []float64{0.05, 0.1, 0.2, 0.3, 0.5, 1, 3, 10, 20, 50, 200}},
		{traffic.SMSPumping, nil, []float64{2, 5, 10, 20, 30, 60, 200, 1000}},
		{traffic.Disposable, nil, []float64{1, 3, 6, 12}},
		{traffic.Disposable, &half, []float64{1, 2, 3, 6, 12}},
		{traffic.Disposable, &tenth, []float64{1, 2, 3, 6, 12}},
		{traffic.Disposable, &none, []float64{1, 2, 3, 6, 12}},
		{traffic.Stranger, nil, []float64{2, 4, 6, 8, 12, 30}},
		{traffic.SlowAndLow, nil, []float64{0.5, 2, 6, 24}},
	}
}

// noise is how far two shares of a hundred events or so may lie apart by chance.
const noise = 0.05

// unnoticed is what share of a campaign at most is noticed at the foot of its ladders.
const unnoticed = 0.05

// TestRecallByIntensity shows how hard a campaign can go about it before it is noticed, and holds that the ladders go down to where it is not.
func TestRecallByIntensity(t *testing.T) {
	if os.Getenv("RINGFENCE_LONG") == "" {
		t.Skip("takes a minute; set RINGFENCE_LONG=1")
	}
	all := map[string][]float64{} // shares that are noticed
	for _, l := range ladders() {
		list := "drawn"
		if l.listed != nil {
			list = fmt.Sprintf("%.0f %%", 100**l.listed)
		}
		var shares []float64
		for _, intensity := range l.rungs {
			s := &share{}
			for _, j := range judge(t, scoring.Default(), traffic.Config{
				Seed: firstHeldOut, People: 300, Campaigns: []string{l.campaign}, Intensity: map[string]float64{l.campaign: intensity}, Listed: l.listed, Runs: 4,
			}) {
				if j.Abuse() {
					s.count(j.decision)
				}
			}
			t.Logf("%-18s listed %-6s %8.2f %s", l.campaign, list, intensity, s)
			shares = append(shares, s.rate(scoring.Challenge))
		}
		if shares[len(shares)-1] < shares[0]-noise {
			t.Errorf("%s is noticed more often when it is less intense", l.campaign)
		}
		all[l.campaign] = append(all[l.campaign], shares...)
	}
	for _, name := range traffic.CampaignNames() {
		if least := slices.Min(append(all[name], 1)); least > unnoticed {
			t.Errorf("%s: the ladders end where %.0f %% is noticed", name, 100*least)
		}
	}
}
