package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// history is a store that files are imported into.
type history struct {
	store  *pebblestore.Store
	hasher *hashing.Hasher
	why    map[int]string // refused lines of the last import
}

func newHistory(t testing.TB) *history {
	t.Helper()
	ring, h := newHasher(t)
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &history{store: store, hasher: h}
}

var importedAt = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func (h *history) load(ctx context.Context, lines string, cfg ImportConfig) (*ImportReport, error) {
	h.why = map[int]string{}
	cfg.Store, cfg.Hasher, cfg.Policy = h.store, h.hasher, cmp.Or(cfg.Policy, scoring.Default())
	cfg.Now = func() time.Time { return importedAt }
	cfg.Refused = func(line int, why error) { h.why[line] = why.Error() }
	return Import(ctx, cfg, text(lines))
}

// seen is all that the log holds, in the order in which it happened, without what differs from
// import to import.
func (h *history) seen(t testing.TB) []string {
	t.Helper()
	type event struct {
		Time     int64
		Phone    string
		Signals  string
		Decision string
		Outcomes []string
	}
	var all []event
	err := h.store.Scan(t.Context(), h.hasher.Domain(), engine.EventID{}, func(e *record.Entry) error {
		x := event{e.Time, e.Subjects[hashing.Phone].Token(), fmt.Sprint(e.Values), e.Verdict.String(), nil}
		for _, o := range e.Outcomes() {
			x.Outcomes = append(x.Outcomes, fmt.Sprint(o.Kind, o.Time))
		}
		all = append(all, x)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, x := range all {
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	slices.Sort(lines)
	return lines
}

// manyLines is made-up history, not in the order of time: numbers share accounts and networks, some lines stand in it
// twice, every fifth event has an outcome and every seventh no id.
func manyLines(n int) string {
	random := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	var lines []string
	for i := range n {
		at := importedAt.Add(-time.Duration(n-i) * 20 * time.Minute)
		id := fmt.Sprintf(`"id":"e%d",`, i)
		if i%7 == 0 {
			id = ""
		}
		l := fmt.Sprintf(`{%s"occurred_at":%q,"event":"signup","phone_number":"+1202555%04d","account_id":"u%d","ip":"203.0.%d.7","verified":%v}`,
			id, at.Format(time.RFC3339), 100+random.IntN(100), random.IntN(n), random.IntN(200), i%3 == 0)
		lines = append(lines, l)
		if i%50 == 1 {
			lines = append(lines, l)
		}
		if i%5 == 0 && id != "" {
			lines = append(lines, fmt.Sprintf(`{"occurred_at":%q,"outcome":"abuse","for":"e%d"}`, at.Add(time.Hour+time.Second).Format(time.RFC3339), i))
		}
	}
	random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	return b.String()
}

// TestImportCountsOnceHoweverOftenItIsCut cuts an import at every so many lines, and compares
// what the store has in the end, decisions included, with that of an import that was never cut.
func TestImportCountsOnceHoweverOftenItIsCut(t *testing.T) {
	const n = 600
	lines := manyLines(n)
	whole := newHistory(t)
	report, err := whole.load(t.Context(), lines, ImportConfig{})
	if err != nil || report.Events != n || report.Before != n/50 || report.RefusedLines() != 0 || report.Lines != report.Events+report.Outcomes+report.Before {
		t.Fatalf("%+v, %v", report, err)
	}
	want := whole.seen(t)
	for _, every := range []int{1, 97, 400} {
		cut := newHistory(t)
		sum, cuts := 0, 0
		for {
			ctx, cancel := context.WithCancel(t.Context())
			report, err := cut.load(ctx, lines, ImportConfig{room: 200, Progress: func(done, _ int) {
				if done-sum >= every && cuts < 15 {
					cancel()
				}
			}})
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			cuts++
			sum = max(sum, report.Events+report.Outcomes+report.Before)
		}
		if got := cut.seen(t); cuts == 0 || !slices.Equal(got, want) {
			t.Errorf("cut %d times: %d events are in, %d should be; or they were decided otherwise", cuts, len(got), len(want))
		}
		if report, err := cut.load(t.Context(), lines, ImportConfig{}); err != nil || report.Events+report.Outcomes != 0 || report.Before != report.Lines {
			t.Errorf("once more: %+v, %v", report, err)
		}
	}
}

// TestImportAcrossARotation imports a part of a file, rotates the key, and imports all of it.
func TestImportAcrossARotation(t *testing.T) {
	ring, hasher := newHasher(t)
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h := &history{store: store, hasher: hasher}
	const n = 300
	lines := manyLines(n)
	part := strings.Join(strings.SplitAfter(lines, "\n")[:200], "")
	first, err := h.load(t.Context(), part, ImportConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ring.Rotate(rand.NewChaCha8([32]byte{2}), importedAt); err != nil {
		t.Fatal(err)
	}
	if err := store.Rekey(t.Context(), ring.KeyChecks()); err != nil {
		t.Fatal(err)
	}
	if h.hasher, err = ring.Domain(hashing.DefaultDomain); err != nil {
		t.Fatal(err)
	}
	second, err := h.load(t.Context(), lines, ImportConfig{})
	if err != nil || first.Events+second.Events != n {
		t.Errorf("%d events of %d, then %d: %v", first.Events, n, second.Events, err)
	}
	if want := first.Events + first.Outcomes; second.Before < want {
		t.Errorf("%d were known before, want at least %d", second.Before, want)
	}
	if again, err := h.load(t.Context(), lines, ImportConfig{}); err != nil || again.Events+again.Outcomes != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
}

// TestAnImportCanBeCountedAgain holds that an import leaves a log in the order of its times, and that a backtest which counts the log of an import again decides as the import did,
// also where the events are so old that it forgets everybody between two of them.
func TestAnImportCanBeCountedAgain(t *testing.T) {
	t.Run("young", func(t *testing.T) { countAgain(t, 0) })
	t.Run("old", func(t *testing.T) { countAgain(t, 300*24*time.Hour) })
}

func countAgain(t *testing.T, ago time.Duration) {
	h := newHistory(t)
	var lines strings.Builder
	for i := range 2000 { // of 50 people who have nothing in common
		at, who := importedAt.Add(-ago-time.Duration(3000-i)*20*time.Minute), i%50
		fmt.Fprintf(&lines, `{"id":"e%d","occurred_at":%q,"event":"signup","phone_number":"+1%d5550143","account_id":"u%d","ip":"203.%d.%d.7"}`+"\n",
			i, at.Format(time.RFC3339), 200+who, who, who%250, who/250)
		if i%4 < 2 { // a link keeps a number from being forgotten from then on
			fmt.Fprintf(&lines, `{"occurred_at":%q,"outcome":%q,"for":"e%d"}`+"\n", at.Add(time.Hour+time.Second).Format(time.RFC3339), []string{"abuse", "verified"}[i%2], i)
		}
	}
	p, err := scoring.Compile([]byte(`
name: counts
signals:
  n: {subject: phone, count: signup, window: 7d}
score:
  - {code: N, signal: n, points: {2: 10, 4: 30, 6: 60}}
decisions: {review: 30}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.load(t.Context(), lines.String(), ImportConfig{Policy: p}); err != nil {
		t.Fatal(err)
	}
	events, labels, last := 0, 0, int64(0)
	_, err = backtest.Replay(t.Context(), backtest.Config{
		Policy: p, AsOf: importedAt.Unix(),
		Log: func(ctx context.Context, fn func(*record.Entry) error) error {
			return h.store.Scan(ctx, h.hasher.Domain(), engine.EventID{}, fn)
		},
		Source: func(context.Context, uint32) ([]byte, bool, error) { return p.Source(), true, nil },
		Each: func(r *backtest.Row) error {
			events++
			labels += len(r.Entry.Outcomes())
			if r.Entry.Time < last {
				t.Errorf("event %d stands in the log behind one that happened later", events)
			}
			last = r.Entry.Time
			if e := r.Entry; r.State == backtest.NotReplayable || r.New.Decision != e.Verdict || r.New.Score != e.Score {
				t.Errorf("event %d was %v with %d, and is %v with %d", events, e.Verdict, e.Score, r.New.Decision, r.New.Score)
			}
			return nil
		},
	})
	if err != nil || events != 2000 || labels != 1000 {
		t.Errorf("%d events, %d outcomes, %v", events, labels, err)
	}
}

// TestImportedEventsSeeEachOther holds that events of one batch that share a subject are counted in their order, and
// that an outcome finds its event.
func TestImportedEventsSeeEachOther(t *testing.T) {
	h := newHistory(t)
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `{"id":"%d","occurred_at":"2026-02-01T10:00:%02dZ","event":"signup","phone_number":"+12025550143"}`+"\n", i, i)
	}
	b.WriteString(`{"occurred_at":"2026-02-01T10:01:00Z","outcome":"abuse","for":"19"}` + "\n")
	if report, err := h.load(t.Context(), b.String(), ImportConfig{}); err != nil || report.Events != 20 || report.Outcomes != 1 {
		t.Fatal(report, err)
	}
	signal := slices.IndexFunc(scoring.Default().Signals(), func(s scoring.Signal) bool { return s.Name == "signups_1h" })
	n := 0
	err := h.store.Scan(t.Context(), h.hasher.Domain(), engine.EventID{}, func(e *record.Entry) error {
		if n++; e.Values[scoring.SlotSignals+signal] != float64(n) || (len(e.Outcomes()) == 1) != (n == 20) {
			t.Errorf("event %d counts %v, outcomes %v", n, e.Values[scoring.SlotSignals+signal], e.Outcomes())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportRefuses(t *testing.T) {
	h := newHistory(t)
	event := `{"id":"e1","occurred_at":"2026-02-01T10:00:00Z","event":"signup","phone_number":"+12025550143"}` + "\n"
	lines := event + strings.Join([]string{
		strings.Replace(event, "0143", "0144", 1) + `{"id":"e2","occurred_at":"2026-03-01T01:00:00Z","event":"signup"}`,
		`{"occurred_at":"2026-02-01T09:00:00Z","outcome":"abuse","for":"e1"}`,
		`{"occurred_at":"2026-02-01T11:00:00Z","outcome":"abuse","for":"e9"}`,
		`{"label":"abuse","for":"e1"}`,
		`{"event":"signup"}`,
		`{"event":`,
	}, "\n")
	report, err := h.load(t.Context(), lines, ImportConfig{})
	if err != nil || report.Events != 1 || report.Labels != 1 || report.RefusedLines() != 6 {
		t.Fatalf("%+v, %v, %v", report, err, h.why)
	}
	for line, want := range map[int]string{
		2: "another content", 3: "not come yet", 4: "no event before it", 5: "no event before it", 7: "occurred_at missing", 8: "JSON",
	} {
		if !strings.Contains(h.why[line], want) || strings.Contains(h.why[line], "555") {
			t.Errorf("line %d: %s, want %s", line, h.why[line], want)
		}
	}
}

// TestMarksEnd holds that an event is new again when its mark is no longer in force.
func TestMarksEnd(t *testing.T) {
	h := newHistory(t)
	line := `{"id":"e1","occurred_at":"2026-02-01T10:00:00Z","event":"signup","phone_number":"+12025550143"}`
	for _, c := range []struct {
		after  time.Duration
		events int
	}{{0, 1}, {MarkedFor - time.Second, 0}, {MarkedFor, 1}} {
		cfg := ImportConfig{Store: h.store, Hasher: h.hasher, Policy: scoring.Default(), Now: func() time.Time { return importedAt.Add(c.after) }}
		report, err := Import(t.Context(), cfg, text(line))
		if err != nil || report.Events != c.events {
			t.Errorf("after %v: %+v, %v", c.after, report, err)
		}
	}
}
