package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

func newHasher(t testing.TB) (*hashing.Keyring, *hashing.Hasher) {
	t.Helper()
	ring, err := hashing.NewKeyring(rand.NewChaCha8([32]byte{1}), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ring, h
}

// result is what a replay said.
type result struct {
	*Report
	text  string         // the assessments
	lines []line         // the same
	why   map[int]string // refused lines
}

func replayed(t testing.TB, cfg Config, in Input) *result {
	t.Helper()
	ring, h := newHasher(t)
	random := rand.New(rand.NewPCG(1, 2))
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks(), Random: random.Uint64})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	res := &result{why: map[int]string{}}
	var out bytes.Buffer
	cfg.Store, cfg.Hasher, cfg.Assessments = store, h, &out
	cfg.Refused = func(line int, why error) { res.why[line] = why.Error() }
	if cfg.Policy == nil {
		cfg.Policy = scoring.Default()
	}
	if res.Report, err = Run(t.Context(), cfg, in); err != nil {
		t.Fatal(err)
	}
	res.text = out.String()
	for l := range strings.Lines(res.text) {
		var x line
		if err := json.Unmarshal([]byte(l), &x); err != nil {
			t.Fatal(err)
		}
		res.lines = append(res.lines, x)
	}
	if r := res.Report; r.Lines != r.Events+r.Outcomes+r.Labels+r.RefusedLines() {
		t.Errorf("lines are not accounted for: %+v", r)
	}
	return res
}

func text(s string) Input { return Input{From: strings.NewReader(s)} }

const story = `
{"id":"e1","occurred_at":"2026-01-02T03:04:05Z","event":"signup","phone_number":"+1 202 555 0143","default_region":"US","account_id":"a1","ip":"192.0.2.1","device_id":"d1"}
{"occurred_at":"2026-01-02T03:05:00Z","outcome":"verified","for":"e1"}
{"label":"abuse","for":"e1"}
{"id":"e2","occurred_at":"2026-01-02T03:06:00Z","event":"signup","phone_number":"(202) 555-0143","default_region":"US","account_id":"a2"}
{"occurred_at":"2026-01-02T03:07:00Z","event":"sign_in","account_id":"a2"}
{"label":"legitimate","for":"e9"}
`

func TestReplayCountsInEventTime(t *testing.T) {
	r := replayed(t, Config{}, text(story))
	if r.Events != 3 || r.Outcomes != 1 || r.Labels != 2 || r.UnusedLabels != 1 || r.NoNumber != 1 || len(r.why) != 0 {
		t.Fatalf("%+v %v", r.Report, r.why)
	}
	first, second, third := r.lines[0], r.lines[1], r.lines[2]
	if first.ID != "e1" || *first.Label != "abuse" || first.Signals["signups_1h"] != 1 || first.Signals["verified_1d"] != 0 {
		t.Errorf("first: %+v", first)
	}
	if second.ID != "e2" || second.Label != nil || second.Signals["signups_1h"] != 2 || second.Signals["verified_1d"] != 1 {
		t.Errorf("second: %+v", second)
	}
	if third.ID != "line-6" || third.Signals["account_phones_1d"] != 1 {
		t.Errorf("third: %+v", third)
	}
	if r.Decisions[scoring.Allow] != (Labelled{Abuse: 1, Unlabelled: 2}) {
		t.Errorf("decisions: %+v", r.Decisions)
	}
}

// TestLabelsAreNeverCounted takes every label away and sees the same assessments.
func TestLabelsAreNeverCounted(t *testing.T) {
	with := replayed(t, Config{}, text(story))
	var kept []string
	for l := range strings.Lines(story) {
		if !strings.Contains(l, `"label"`) {
			kept = append(kept, l)
		} else {
			kept = append(kept, "\n") // so that the other lines keep their numbers
		}
	}
	without := replayed(t, Config{}, text(strings.Join(kept, "")))
	if strings.ReplaceAll(with.text, `"label":"abuse"`, `"label":null`) != without.text {
		t.Errorf("labels change assessments:\n%s\n%s", with.text, without.text)
	}
}

func TestReplayRefuses(t *testing.T) {
	lines := []string{
		`{"event":"signup","occurred_at":"2026-01-02T00:00:00Z","id":"a"}`,
		`not JSON 2025550143`,
		`{"event":"signup"}`,
		`{"event":"signup","occurred_at":"2026-13-02"}`,
		`{"event":"signup","occurred_at":"1999-01-02T00:00:00Z"}`,
		`{"event":"2025550143","occurred_at":"2026-01-02T00:00:00Z","ip":"2025550143"}`,
		`{"event":"signup","occurred_at":"2026-01-01T23:58:00Z"}`,
		`{"event":"signup","occurred_at":"2026-01-02T00:00:00Z","id":"a"}`,
		`{"occurred_at":"2026-01-02T00:00:00Z","outcome":"verified","for":"2025550143"}`,
		`{"occurred_at":"2026-01-02T00:00:00Z","outcome":"signup"}`,
		`{"label":"2025550143","for":"a"}`,
		`{"label":"abuse"}`,
		`{"event":"signup","occurred_at":"2026-01-02T00:00:00Z","record":false}`,
		`{"event":"signup","occurred_at":"2026-01-02T00:00:00Z","label":"x","for":"a"}`,
		`{"event":"signup","occurred_at":"2026-01-02T00:00:00Z","for":"` + strings.Repeat("2025550143", 7000) + `"}`,
		`{"occurred_at":"2026-01-02T00:00:00Z","outcome":"verified","for":"a","event":"signup"}`,
	}
	want := []string{
		"", "stops being JSON at byte", "occurred_at missing", "occurred_at format", "occurred_at out_of_range", "event unknown_value (signup,", "--sort",
		"same id", "no event before", "outcome unknown_value", "label unknown_value", "for missing", "record unknown_field", "label unknown_value", "longer than 64 KiB", "line of its own",
	}
	r := replayed(t, Config{MaxLateness: time.Minute}, text(strings.Join(lines, "\n")))
	for i, w := range want {
		if got := r.why[i+1]; !strings.Contains(got, w) || (w == "") != (got == "") || strings.Contains(got, "5550143") {
			t.Errorf("line %d: %q, want %q", i+1, got, w)
		}
	}
	if r.Events != 1 || r.RefusedLines() != len(lines)-1 {
		t.Errorf("%+v", r.Report)
	}
}

func TestInputRefuses(t *testing.T) {
	for _, c := range []struct {
		in   Input
		want string
	}{
		{Input{From: strings.NewReader("a,2025550143\n1,2\n")}, "no column of the header"},
		{Input{From: strings.NewReader("a,event\n1,2\n"), Columns: map[string]string{"ip": "2025550143"}}, "no column for ip"},
		{Input{From: strings.NewReader("a"), Columns: map[string]string{"2025550143": "x"}}, "no such field"},
		{Input{From: strings.NewReader("{}"), Columns: map[string]string{"ip": "x"}}, "no columns to map"},
		{Input{From: strings.NewReader("\"\n")}, "no header"},
		{Input{From: strings.NewReader(strings.Repeat("\n", maxLine) + "{}")}, "blank lines"},
	} {
		err := c.in.rows(func(int, *row, error) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "5550143") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestCSVEqualsNDJSON holds that the two forms of the same events say the same.
func TestCSVEqualsNDJSON(t *testing.T) {
	table := "\xef\xbb\xbfwhen,caller,id,event,verified,account_id,label,unused\n" +
		"2026-01-02 03:04:05,+1 202 555 0143,x1,signup,yes,a1,abuse,?\n" +
		"2026-01-02T03:04:06Z,\"2025550143\",x2,,0,a2,,?\n" +
		"2026-01-02T03:04:07Z,,x3,,maybe,a2,,?\n"
	events := `{"occurred_at":"2026-01-02T03:04:05Z","phone_number":"+1 202 555 0143","id":"x1","event":"signup","verified":true,"account_id":"a1","label":"abuse","default_region":"US"}
{"occurred_at":"2026-01-02T03:04:06Z","phone_number":"2025550143","id":"x2","account_id":"a2"}`
	constants := map[string]string{"event": "signup", "default_region": "US"}
	a := replayed(t, Config{}, Input{From: strings.NewReader(table), Columns: map[string]string{"occurred_at": "when", "phone_number": "caller"}, Constants: constants})
	b := replayed(t, Config{}, Input{From: strings.NewReader(events), Constants: constants})
	if a.text != b.text || a.Events != 2 {
		t.Errorf("CSV:\n%sNDJSON:\n%s", a.text, b.text)
	}
	if len(a.why) != 1 || !strings.Contains(a.why[4], "verified wrong_type") {
		t.Errorf("refused: %v", a.why)
	}
}

// shuffled returns events of a few numbers in a random order, some at the same time.
func shuffled(n int) string {
	random := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for i := range n {
		at := time.Date(2026, 1, 2, 0, 0, random.IntN(5000), 0, time.UTC).Format(time.RFC3339)
		fmt.Fprintf(&b, `{"id":"e%d","occurred_at":%q,"event":"signup","phone_number":"+1202555%04d","account_id":"planted%d"}`+"\n", i, at, 100+random.IntN(20), i)
	}
	return b.String()
}

// TestSortSpills holds that sorting through files gives what sorting in memory gives.
func TestSortSpills(t *testing.T) {
	input := shuffled(1000)
	lines := slices.Collect(strings.Lines(input))
	at := func(l string) string { _, l, _ = strings.Cut(l, "occurred_at"); return l[:25] }
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(at(a), at(b)) })
	ordered := replayed(t, Config{}, text(strings.Join(lines, "")))
	inMemory := replayed(t, Config{Sort: true}, text(input))
	spilled := replayed(t, Config{Sort: true, room: 7}, text(input))
	again := replayed(t, Config{Sort: true, room: 7}, text(input))
	if ordered.text != inMemory.text || inMemory.text != spilled.text || spilled.text != again.text || spilled.Events != 1000 {
		t.Error("the ways to sort disagree")
	}
	unsorted := replayed(t, Config{MaxLateness: 24 * time.Hour, room: 7}, text(input))
	if unsorted.Events != 1000 || unsorted.lines[999].ID != "e999" {
		t.Error("without sorting, the order of the file is not kept")
	}
}

// TestJoinSpills holds that labels and outcomes find their events wherever they stand, also
// through files, and that of two labels the later one counts.
func TestJoinSpills(t *testing.T) {
	const n = 200
	var lines []string
	for i := range n {
		at := time.Date(2026, 1, 2, 0, i, 0, 0, time.UTC)
		lines = append(lines,
			fmt.Sprintf(`{"id":"e%d","occurred_at":%q,"event":"signup","phone_number":"+12025550%03d"}`, i, at.Format(time.RFC3339), 100+i%90),
			fmt.Sprintf(`{"occurred_at":%q,"outcome":"verified","for":"e%d"}`, at.Add(30*time.Second).Format(time.RFC3339), i),
			fmt.Sprintf(`{"occurred_at":%q,"outcome":"abuse","for":"e%d"}`, at.Add(40*time.Second).Format(time.RFC3339), i))
		if i%2 == 0 {
			lines = append(lines, fmt.Sprintf(`{"label":"abuse","for":"e%d"}`, i))
		}
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	lines = append(lines, `{"label":"legitimate","for":"e0"}`, `{"id":"e1","occurred_at":"2026-01-03T00:00:00Z","event":"signup"}`)
	var runs []*result
	for _, room := range []int{0, 7} {
		runs = append(runs, replayed(t, Config{Sort: true, room: room}, text(strings.Join(lines, "\n"))))
	}
	for _, r := range runs {
		if r.Events != n || r.Outcomes != 2*n || r.Refused["duplicate_id"] != 1 || len(r.why) != 1 || r.UnusedLabels != 1 {
			t.Errorf("%+v %v", r.Report, r.why)
		}
		for i, l := range r.lines {
			want := map[bool]string{true: "abuse"}[i%2 == 0]
			if i == 0 {
				want = "legitimate"
			}
			if l.ID != fmt.Sprintf("e%d", i) || (l.Label == nil) != (want == "") || l.Label != nil && *l.Label != want {
				t.Errorf("event %d: %+v", i, l)
			}
		}
	}
	if runs[0].text != runs[1].text {
		t.Error("through files, assessments are others")
	}
}

// TestOutcomesAreForgotten holds that an event needs no memory once its last outcome has come.
func TestOutcomesAreForgotten(t *testing.T) {
	r := &runner{awaiting: map[string]*awaited{"e1": {left: 2}}}
	for want := 1; want >= 0; want-- {
		r.outcomeOf("e1")
		if of := r.awaiting["e1"]; want == 0 && of != nil || want > 0 && of.left != want {
			t.Errorf("%d left: %+v", want, of)
		}
	}
}

// TestSpoolShowsNothing looks for ids and pseudonyms in what goes to disk.
func TestSpoolShowsNothing(t *testing.T) {
	s := newSpool(byTime, 1)
	defer func() { _ = s.close() }()
	_, h := newHasher(t)
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	ev := &engine.Event{Kind: scoring.Signup}
	ev.Subjects[hashing.Phone] = h.Phone(number)
	if err := s.add(&item{ID: "planted", Event: ev}); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(s.runs[0].file)
	if err != nil || len(raw) < 50 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	if bytes.Contains(raw, []byte("planted")) || bytes.Contains(raw, ev.Subjects[hashing.Phone].ID[:]) {
		t.Error("what goes to disk is readable")
	}
}

func TestRates(t *testing.T) {
	r := newReport()
	r.Decisions = map[scoring.Decision]Labelled{
		scoring.Allow: {Abuse: 1, Legitimate: 6, Unlabelled: 5}, scoring.Challenge: {Legitimate: 2}, scoring.Block: {Abuse: 3, Legitimate: 0},
	}
	if got := r.Rates(scoring.Challenge); got != (Rates{Precision: 3. / 5, Recall: 3. / 4, FalsePositive: 2. / 8}) {
		t.Errorf("challenge: %+v", got)
	}
	if got := r.Rates(scoring.Block); got != (Rates{Precision: 1, Recall: 3. / 4}) {
		t.Errorf("block: %+v", got)
	}
	var b bytes.Buffer
	if err := newReport().WriteTable(&b); err != nil || !strings.Contains(b.String(), " - ") {
		t.Errorf("nothing to count: %v\n%s", err, b.String())
	}
}

var countsPolicy = `
name: counts
signals:
  n60s: {subject: phone, count: signup, window: 60s}
  n1h: {subject: phone, count: signup, window: 1h}
  n24h: {subject: phone, count: signup, window: 24h}
decisions: {block: 100}
`

// call is one complaint of the real file.
type call struct {
	at    time.Time
	phone hashing.Subject // zero without a valid number
}

// complaints reads the file a second way: no code of the package is used.
func complaints(t *testing.T, text []byte) []call {
	t.Helper()
	_, h := newHasher(t)
	c := csv.NewReader(bytes.NewReader(text))
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []call
	for _, cells := range rows[1:] {
		if len(cells) != len(rows[0]) {
			continue
		}
		at, err := time.Parse("2006-01-02 15:04:05", cells[1])
		if err != nil {
			t.Fatal("a row without a time")
		}
		n, _ := hashing.Parse(cells[0], "US")
		all = append(all, call{at: at, phone: h.Phone(n)})
	}
	slices.SortStableFunc(all, func(a, b call) int { return a.at.Compare(b.at) })
	return all
}

// TestComplaints replays a day of real complaints and recounts every window by
// looking at every earlier call.
func TestComplaints(t *testing.T) {
	file := realFile(t, "complaints_2021-07-08.csv.gz")
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := scoring.Compile([]byte(countsPolicy))
	if err != nil {
		t.Fatal(err)
	}
	r := replayed(t, Config{Sort: true, Policy: policy}, Input{
		From: bytes.NewReader(content), Columns: map[string]string{"occurred_at": "created_at"},
		Constants: map[string]string{"event": "signup", "default_region": "US"},
	})
	if r.Lines != 14_034 || r.Events != 14_033 || r.NoNumber != 669 || !maps.Equal(r.Refused, map[string]int{"malformed": 1}) || r.why[9448] == "" {
		t.Fatalf("%+v", r.Report)
	}
	earlier := map[hashing.Subject][]time.Time{}
	most := 0.0
	for i, c := range complaints(t, content) {
		got := r.lines[i].Signals
		if !c.phone.Given() {
			if len(got) != 0 {
				t.Fatalf("event %d: counts without a number", i)
			}
			continue
		}
		earlier[c.phone] = append(earlier[c.phone], c.at)
		for name, window := range map[string]time.Duration{"n60s": time.Minute, "n1h": time.Hour, "n24h": 24 * time.Hour} {
			truth := countAfter(earlier[c.phone], c.at.Add(-window))
			most = max(most, truth)
			if off := max(got[name]-truth, truth-got[name]); truth <= 32 && off != 0 || off > truth/64 {
				t.Errorf("event %d: %s is %v, counted one by one %v", i, name, got[name], truth)
			}
		}
	}
	if most != 42 {
		t.Errorf("the busiest number has %v in 24 h, want 42", most)
	}
}

func countAfter(times []time.Time, after time.Time) float64 {
	n := 0
	for _, at := range times {
		if at.After(after) {
			n++
		}
	}
	return float64(n)
}

// realFile opens a file of real data, which lies beside the checkout; CI without it says RINGFENCE_DATA=none.
func realFile(t *testing.T, name string) io.Reader {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "data", name))
	if errors.Is(err, os.ErrNotExist) && (os.Getenv("CI") != "true" || os.Getenv("RINGFENCE_DATA") == "none") {
		t.Skipf("SKIPPED: the data file %s is not beside the checkout", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// FuzzRows holds that no input panics, that every line is accounted for, and that a
// planted number never comes back.
func FuzzRows(f *testing.F) {
	f.Add([]byte(story))
	_, h := newHasher(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, input := range [][]byte{b, append([]byte("event,for,label,occurred_at\n"), b...), append(b, []byte(`{"20255501432025550143":"2025550143"}`)...)} {
			in := Input{From: bytes.NewReader(input)}
			last := 0
			err := in.rows(func(line int, r *row, err error) error {
				if line <= last {
					t.Errorf("line %d behind line %d", line, last)
				}
				last = line
				if err == nil {
					_, err = read(h, line, r)
				}
				if err != nil && strings.Contains(err.Error(), "2025550143") {
					t.Errorf("a refusal repeats the line: %v", err)
				}
				return nil
			})
			if err != nil && strings.Contains(err.Error(), "2025550143") {
				t.Errorf("an error repeats the line: %v", err)
			}
		}
	})
}
