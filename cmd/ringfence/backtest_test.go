package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
)

// madeUp writes a file of made-up traffic.
func madeUp(t *testing.T) string {
	t.Helper()
	made := command(t, "", "demo", "--people", "200", "--seed", "9", "--show")
	if made.code != exitOK {
		t.Fatal(made.err)
	}
	return write(t, "events.ndjson", made.out)
}

// stricterPolicy is the embedded policy with other thresholds and points.
func stricterPolicy(t *testing.T) string {
	t.Helper()
	doc, err := scoring.Default().Edited([]scoring.Edit{{Decision: scoring.Challenge, To: 15}, {Decision: scoring.Block, To: 95}, {Code: "RANGE_PUMPING", To: 30}})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "policy.yaml", string(doc))
}

// TestBacktestFile holds that every form is of the same result. TestEveryFigure has what is printed of every event.
func TestBacktestFile(t *testing.T) {
	events, policy := madeUp(t), stricterPolicy(t)
	for _, mode := range []string{"rescore", "replay"} {
		args := []string{"backtest", events, "--policy", policy, "--mode", mode, "--maturity", "48h", "-o"}
		var result struct {
			Digest                    string
			Events, Abuse, Legitimate uint64
			Curve                     []struct{ TP float64 }
		}
		r := command(t, "", append(args, "json")...)
		if err := json.Unmarshal([]byte(r.out), &result); err != nil || r.code != exitOK || result.Abuse == 0 || result.Legitimate == 0 {
			t.Fatal(r, err)
		}
		table := command(t, "", append(args, "table")...)
		if !table.says(result.Digest) || !table.says(fmt.Sprintf("%s of %d events", mode, result.Events)) || !table.says("allow challenge") {
			t.Errorf("%s: the table is of something else:\n%s%s", mode, table.out, table.err)
		}
		again := command(t, "", append(args, "table", "--as-of", "2026-01-02", "--seed", "7")...)
		if !again.says("as of 2026-01-02T00:00:00Z (--as-of repeats it), maturity 48h0m0s, seed 7") {
			t.Errorf("%s: what it was asked is not shown:\n%s%s", mode, again.out, again.err)
		}
		rows, err := csv.NewReader(strings.NewReader(command(t, "", append(args, "csv")...).out)).ReadAll()
		if err != nil || len(rows) != 102 || rows[31][2] != strconv.FormatFloat(result.Curve[30].TP, 'g', -1, 64) {
			t.Errorf("%s: csv: %v", mode, err)
		}
	}
}

// TestReplayOfAFile holds that a replay of a file counts the outcomes in it where they were told, also where lines stand in another order.
func TestReplayOfAFile(t *testing.T) {
	lines := []string{
		`{"id":"e1","occurred_at":"2026-01-02T03:04:05Z","event":"signup","phone_number":"+12025550143","account_id":"u1"}`,
		`{"id":"e2","occurred_at":"2026-01-02T03:05:00Z","event":"sign_in","phone_number":"+12025550143","account_id":"u1"}`,
		`{"occurred_at":"2026-01-02T03:06:00Z","outcome":"abuse","for":"e1"}`,
		`{"id":"e3","occurred_at":"2026-01-03T03:04:09Z","event":"sign_in","phone_number":"+12025550143","account_id":"u1"}`,
	}
	for _, sorted := range []bool{false, true} {
		args := []string{"backtest", "", "--mode", "replay"}
		if sorted {
			slices.Reverse(lines)
			args = append(args, "--sort")
		}
		args[1] = write(t, "events.ndjson", strings.Join(lines, "\n")+"\n")
		r := command(t, "", append(args, "-o", "ndjson")...)
		if r.code != exitOK || strings.Count(r.out, `"was":"challenge"`) != 1 || strings.Count(r.out, `"decision":"challenge"`) != 1 {
			t.Errorf("sorted %t: %v", sorted, r)
		}
	}
}

// TestBacktestCosts holds that every form tells the same costs, and none when errors have no cost.
func TestBacktestCosts(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"backtest", madeUp(t), "--policy", stricterPolicy(t), "--out", page}
	priced := append(slices.Clone(args), "--cost-fp", "200", "--cost-fn", "1.5", "-o")
	type point struct {
		Threshold int
		FP, FN    float64
		Cost      *float64
	}
	var result struct {
		Curve, Decisions []point
		Costs            struct {
			Cheapest struct {
				Threshold, To int
				Cost          float64
			}
		}
	}
	r := command(t, "", append(priced, "json")...)
	if err := json.Unmarshal([]byte(r.out), &result); err != nil || len(result.Curve) != 101 || len(result.Decisions) != 3 {
		t.Fatal(r, err)
	}
	rows, err := csv.NewReader(strings.NewReader(command(t, "", append(priced, "csv")...).out)).ReadAll()
	if err != nil || len(rows) != 102 || rows[0][15] != "cost" {
		t.Fatal(rows[0], err)
	}
	best := 1
	for at, p := range result.Curve {
		want := 200*p.FP + 1.5*p.FN
		if p.Cost == nil || *p.Cost != want || rows[at+1][15] != strconv.FormatFloat(want, 'g', -1, 64) {
			t.Errorf("at %d: %v, in csv %v, want %v", at, p.Cost, rows[at+1], want)
		}
		if at > 0 && want < *result.Curve[best].Cost {
			best = at
		}
	}
	if c := result.Costs.Cheapest; c.Threshold != best || c.Cost != *result.Curve[best].Cost || c.To < best {
		t.Errorf("%+v, want %d", c, best)
	}
	table := command(t, "", append(priced, "table")...)
	shown, err := os.ReadFile(page)
	named := fmt.Sprintf("Cheapest from %d, cost %s", best, cost(*result.Curve[best].Cost))
	for _, form := range []string{table.out, string(shown)} {
		if err != nil || !strings.Contains(form, named) || !strings.Contains(form, "200 a false positive, 1.5 a miss") || !strings.Contains(strings.ToLower(form), "cost by threshold") {
			t.Errorf("no %q in\n%s", named, form)
		}
		for _, d := range result.Decisions {
			row := fmt.Sprintf(`(?m)^(challenge|review|block) +%d .* %s$|<td class="n">%d</td>.*<td class="n">%s</td></tr>`, d.Threshold, cost(*d.Cost), d.Threshold, cost(*d.Cost))
			if !regexp.MustCompile(row).MatchString(form) {
				t.Errorf("at %d: no cost of %s in\n%s", d.Threshold, cost(*d.Cost), form)
			}
		}
	}
	for _, form := range []string{"table", "json", "csv"} {
		if r := command(t, "", append(args, "-o", form)...); r.code != exitOK || r.says("cost") {
			t.Errorf("%s: a cost that nobody gave", form)
		}
	}
	for _, wrong := range []string{"--cost-fp 1", "--cost-fp 1 --cost-fn -1", "--cost-fp -1 --cost-fn -1", "--cost-fp NaN --cost-fn NaN", "--cost-fp Inf --cost-fn 1"} {
		if r := command(t, "", append(args, strings.Fields(wrong)...)...); r.code != exitUsage {
			t.Errorf("%s: %v", wrong, r)
		}
	}
}

// TestTuneNotes holds that every form tells what to beware of.
func TestTuneNotes(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"tune", madeUp(t), "--max-fpr", "0.005", "--out", page}
	var out struct {
		Notes []struct{ Code, Text string }
	}
	r := command(t, "", append(slices.Clone(args), "-o", "json")...)
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out.Notes) != 3 {
		t.Fatal(r, err)
	}
	table := command(t, "", args...)
	shown, err := os.ReadFile(page)
	for i, words := range [][]string{{"same_data", "--from DAY"}, {"fpr_uncertain", "1.36 %", "0.50 %"}, {"decision_gone", "of review nothing is left"}} {
		n := out.Notes[i]
		if n.Code != words[0] || !table.says("note: "+n.Text) || err != nil || !strings.Contains(string(shown), n.Text) {
			t.Errorf("%s: %+v is not it, or not in the table or the page", words[0], n)
		}
		for _, w := range words[1:] {
			if !strings.Contains(n.Text, w) {
				t.Errorf("no %q in %q", w, n.Text)
			}
		}
	}
}

// TestTuneCosts holds that the costs beside a proposal are those of the curve, and that the policy as it is has the points it has.
func TestTuneCosts(t *testing.T) {
	events := madeUp(t)
	prices := []string{"--cost-fp", "200", "--cost-fn", "1"}
	var curve struct {
		Curve []struct{ Cost float64 }
	}
	r := command(t, "", append([]string{"backtest", events, "-o", "json"}, prices...)...)
	if err := json.Unmarshal([]byte(r.out), &curve); err != nil {
		t.Fatal(r, err)
	}
	type priced struct {
		Threshold int
		Cost      float64
	}
	for _, points := range []bool{false, true} {
		var out struct {
			Costs struct {
				Decision      string
				Before, After priced
				Around        []priced
			}
		}
		tune := append([]string{"tune", events, fmt.Sprintf("--points=%v", points)}, prices...)
		r := command(t, "", append(tune, "-o", "json")...)
		if err := json.Unmarshal([]byte(r.out), &out); err != nil {
			t.Fatal(r, err)
		}
		c := out.Costs
		if c.Decision != "block" || c.Before != (priced{80, curve.Curve[80].Cost}) || c.After.Cost >= c.Before.Cost || len(c.Around) < 8 {
			t.Errorf("%+v", c)
		}
		table := command(t, "", tune...)
		for _, n := range c.Around {
			if n.Cost < c.After.Cost || !points && n.Cost != curve.Curve[n.Threshold].Cost {
				t.Errorf("%+v beside %+v", n, c.After)
			}
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^(proposed)? +%d +%s$`, n.Threshold, cost(n.Cost))).MatchString(table.out) {
				t.Errorf("no %+v in\n%s", n, table.out)
			}
		}
		if want := fmt.Sprintf(`(?m)^as it is +80 +%s$`, cost(c.Before.Cost)); !regexp.MustCompile(want).MatchString(table.out) {
			t.Errorf("no %s in\n%s", want, table.out)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestBacktestPage holds that the page needs nothing but itself.
func TestBacktestPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	if r := command(t, "", "backtest", madeUp(t), "--policy", stricterPolicy(t), "--out", page); r.code != exitOK {
		t.Fatal(r.err)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if outside := regexp.MustCompile(`(?i)<script|<link|<img|\bsrc=|href=|url\(|https?:|@import`).FindString(text); outside != "" {
		t.Errorf("the page reaches for %q", outside)
	}
	for _, want := range []string{"(--as-of repeats it), maturity 0s, seed 1", "<polyline", "<polygon", "<rect", "Precision over recall", "RANGE_PUMPING", "What would change", "Only thresholds differ"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "%!") || strings.Contains(text, "NaN") || strings.Contains(text, "ZgotmplZ") {
		t.Error("the page shows what could not be formatted")
	}
}

func TestTune(t *testing.T) {
	events := madeUp(t)
	proposed := filepath.Join(t.TempDir(), "new.yaml")
	r := command(t, "", "tune", events, "--decision", "challenge", "--max-fpr", "0.0", "--write", proposed)
	if r.code != exitOK || !r.says("challenge: from a score of") || !r.says("+decisions:") {
		t.Fatal(r)
	}
	again := command(t, "", "tune", events, "--policy", proposed, "--decision", "challenge", "--max-fpr", "0.0")
	if again.code != exitOK || !again.says("nothing would change") {
		t.Errorf("a proposal is not its own: %v", again)
	}
	if d := command(t, "", "policy", "diff", "default", proposed); d.code != exitOK || !d.says("challenge: from a score of") || !d.says("-decisions: {challenge: 30") {
		t.Errorf("diff: %v", d)
	}
	var out struct {
		Thresholds []struct {
			Decision string
			Old, New int
			After    struct{ FPR struct{ Share float64 } }
		}
		Policy string
	}
	j := command(t, "", "tune", events, "--points", "--decision", "review", "--cost-fp", "20", "--cost-fn", "1", "--review-capacity", "5", "-o", "json")
	if err := json.Unmarshal([]byte(j.out), &out); err != nil || len(out.Thresholds) != 3 || !strings.Contains(out.Policy, "# Lists") && !strings.Contains(out.Policy, "# One number") {
		t.Errorf("json: %v %v", err, j)
	}
	for args, code := range map[string]int{
		"": exitUsage, "--max-fpr 2": exitUsage, "--cost-fp 1": exitUsage, "--decision allow --max-fpr 0": exitUsage,
		"--max-fpr 0 --mode x": exitUsage, "--max-fpr 0 --from yesterday": exitUsage, "--max-fpr 0 --maturity 8760h": exitNotMet,
	} {
		if r := command(t, "", append([]string{"tune", events}, strings.Fields(args)...)...); r.code != code {
			t.Errorf("tune %s: %v", args, r)
		}
	}
}

// signedUp has so many accounts sign up with one number, and returns the assessments and the token of the number.
func signedUp(t *testing.T, p *process, n int) (ids []string, token string) {
	t.Helper()
	var a api.Assessment
	for i := range n {
		if err := p.post(t, "/v1/assessments", fmt.Sprintf(`{"phone_number":"+1 202 555 0143","event":"signup","account_id":"a%d"}`, i), &a); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.AssessmentID)
	}
	return ids, a.PhoneToken
}

// TestBacktestData goes from live traffic over imported labels to a backtest of the data folder.
func TestBacktestData(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	ids, token := signedUp(t, p, 8)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	isRepeated(t, data)
	labels := "assessment_id,outcome,note,occurred_at\n" + ids[0] + ",legitimate,x,\n" + ids[7] + ",abuse,,2026-01-02T03:04:05Z\n" +
		ids[6] + ",perhaps,,\n" + "nonsense,abuse,,\n" + strings.Repeat("0", 26) + ",abuse,,\n" + ids[5] + ",abuse,,2149-01-01T00:00:00Z\nshort,\"\n"
	r := command(t, "", "labels", "import", write(t, "labels.csv", labels), "--data", data, "--source", "chargeback")
	if r.code != exitOK || !r.says("7 read, 2 changed something, 5 refused") || !r.says("line 4 refused: outcome has to be") {
		t.Errorf("csv: %v", r)
	}
	again := fmt.Sprintf(`{"assessment_id":"%s","outcome":"abuse","source":"+12025550143"}`+"\n\n"+`{"assessment_id":"%s","outcome":"abuse"}`+"\n"+`{"assessment_id":"x","surprise":1}`+"\n", ids[7], ids[7])
	bad := `{"assessment_id":"x","outcome":"abuse"}}` + "\n" + `{"Outcome":"abuse","note":"+1 202 555 0143"}` + "\n"
	if b := command(t, bad, "labels", "import", "-", "--data", data); !b.says("line 1 refused") || !b.says("line 2 refused") || !b.says("unknown_field") || b.says("0143") {
		t.Errorf("lines that are none: %v", b)
	}
	r = command(t, again, "labels", "import", "-", "--data", data, "--strict")
	if r.code != exitNotMet || !r.says("3 read, 0 changed something, 2 refused") || !r.says("line 4 refused: unknown_field") {
		t.Errorf("ndjson: %v", r)
	}
	same := command(t, "", "backtest", "--data", data)
	if same.code != exitOK || !same.says("labels 1 abuse, 1 legitimate") || !same.says("stricter: 0 events") || !same.says("milder: 0 events") {
		t.Errorf("by the policy that wrote it: %v", same)
	}
	by := func(token, rest string) string {
		return fmt.Sprintf(`{"phone_token":%q,"outcome":%s}`, token, rest) + "\n"
	}
	tokens := by(token, `"verified"`) + by(token, `"abuse","occurred_at":"2026-01-01T00:00:00Z"`) + by(token, `"abuse"`) +
		by("k1.AAAAAAAAAAAAAAAAAAAAAA", `"abuse"`) + by("k9.AAAAAAAAAAAAAAAAAAAAAA", `"abuse"`) + by(token, `"abuse","assessment_id":"`+ids[0]+`"`) +
		`{"outcome":"abuse"}` + "\n"
	r = command(t, tokens, "labels", "import", "-", "--data", data)
	if r.code != exitOK || !r.says("7 read, 1 changed something, 6 refused") || !r.says("line 1 refused: by phone_token") || !r.says("2 no event of this number by then") ||
		!r.says("line 5 refused: not a phone token") || !r.says("2 either assessment_id or phone_token") {
		t.Errorf("by token: %v", r)
	}
	if r := command(t, "", "audit", "ls", "--data", data); !r.says("labels.import") || !r.says("1 lines changed outcomes, of 7") {
		t.Errorf("the audit: %v", r)
	}
	if r := command(t, "", "backtest", "--data", data); !r.says("labels 8 abuse, 0 legitimate") {
		t.Errorf("labelled by token: %v", r)
	}
	if r := command(t, "", "backtest", "--data", data, "-o", "ndjson"); strings.Count(r.out, fmt.Sprintf(`"phone_token":%q`, token)) != 8 {
		t.Errorf("by event: %v", r)
	}
	other := command(t, "", "backtest", "--data", data, "--policy", stricterPolicy(t))
	if other.code != exitOK || !other.says("allow challenge") {
		t.Errorf("by another: %v", other)
	}
	wider := write(t, "wider.yaml", strings.ReplaceAll(string(scoring.Default().Source()), "signups_1h: {subject: phone, count: signup, window: 1h}", "signups_1h: {subject: phone, count: signup, window: 2h}"))
	if r := command(t, "", "backtest", "--data", data, "--policy", wider); !r.says("8 (100.00 %) not replayable") || !r.says("signups_1h: 8") {
		t.Errorf("a signal that was not recorded: %v", r)
	}
	if r := command(t, "", "backtest", "--data", data, "--policy", wider, "--mode", "replay"); r.says("not replayable") || !r.says("8 events") {
		t.Errorf("counted again: %v", r)
	}
	if r := command(t, "", "backtest", "--data", t.TempDir()); r.code == exitOK {
		t.Errorf("no data: %v", r)
	}
}

// TestLabelsOfAServer holds that a server takes the outcomes of a file as its data folder would.
func TestLabelsOfAServer(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	ids, token := signedUp(t, p, 3)
	lines := fmt.Sprintf(`{"assessment_id":%q,"outcome":"verified"}`+"\n"+`{"assessment_id":"x","outcome":"abuse"}`+"\n"+`{"phone_token":%q,"outcome":"abuse","source":"manual"}`+"\n"+
		`{"outcome":"+1 202 555 0143"}`+"\n", ids[0], token)
	load := func(lines string, more ...string) ran {
		return command(t, lines, append([]string{"labels", "import", "-", "--data", data, "--source", "chargeback"}, more...)...)
	}
	const told = "line 2 refused"
	if r := load(lines, "--strict"); r.code != exitNotMet || !r.says("4 read, 2 changed something, 2 refused") || !r.says(told) || !r.says("1 outcome has to be abuse") || r.says("0143") {
		t.Errorf("while it runs: %+v", r)
	}
	if r := load("assessment_id,outcome\n" + ids[0] + ",verified\n"); r.code != exitOK || !r.says("1 read, 0 changed something, 0 refused") {
		t.Errorf("once more, as CSV: %+v", r)
	}
	if r := load("no header\n"); r.code != exitFailed || !r.says("line 1: this is no header") {
		t.Errorf("no file of outcomes: %+v", r)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("{}\n"))
	_ = z.Close()
	cut := write(t, "cut.ndjson.gz", packed.String()[:packed.Len()-8]+"not a sum")
	if r := command(t, "", "labels", "import", cut, "--data", data); r.code != exitFailed || !r.says("cannot read the file on") || r.says("stop the other") {
		t.Errorf("a damaged file: %+v", r)
	}
	if r := load(lines, "--domain", "shop"); r.code == exitOK || r.says("changed something") {
		t.Errorf("of a domain that is not there: %+v", r)
	}
	many := load(strings.Repeat("{}\n", maxRefusals+9))
	if many.code != exitOK || strings.Count(many.err, " refused: ") != maxRefusals || !many.says(fmt.Sprint(maxRefusals+9, " refused")) {
		t.Errorf("more refusals than are told: %.300v", many)
	}
	if r := command(t, "", "backtest", "--running", "--server", p.url, "-o", "json"); !r.says(`"abuse": 3`) {
		t.Errorf("known to the server: %.300v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := load(lines); r.code != exitOK || !r.says("4 read, 0 changed something, 2 refused") || !r.says(told) {
		t.Errorf("on its data: %+v", r)
	}
	if r := command(t, "", "audit", "ls", "--data", data); strings.Count(r.out, "labels.import") != 1 || !r.says("2 lines changed outcomes, of 4") {
		t.Errorf("the audit: %v", r)
	}
}

// TestAServerThatEndsAmidALabelsFile holds that this is told apart from one that was never there.
func TestAServerThatEndsAmidALabelsFile(t *testing.T) {
	f := &dataFlags{data: t.TempDir()}
	if _, err := f.sendLabels(t.Context(), strings.NewReader("{}\n"), "", nil); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := listenAdmin(t.Context(), f.data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 4<<10))
			err = errors.Join(err, c.Close())
		}
		ended <- err
	}()
	_, err = f.sendLabels(t.Context(), strings.NewReader(strings.Repeat("{}\n", 1<<20)), "", nil)
	if err == nil || errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), "import the file again") {
		t.Errorf("it ended: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// isRepeated holds that what a backtest shows is enough to repeat it later.
func isRepeated(t *testing.T, data string) {
	t.Helper()
	shown := regexp.MustCompile(`as of +(\S+) \(`)
	digest := regexp.MustCompile(`digest +(\S+)`)
	args := []string{"backtest", "--data", data, "--maturity", "1h"}
	first := command(t, "", args...)
	asOf := shown.FindStringSubmatch(first.out)
	if asOf == nil {
		t.Fatal("no time of the test:", first)
	}
	want := digest.FindString(first.out)
	if again := command(t, "", append(args, "--as-of", asOf[1])...); want == "" || digest.FindString(again.out) != want {
		t.Errorf("repeated as of %s: %v, want %s", asOf[1], again, want)
	}
	at, err := time.Parse(time.RFC3339, asOf[1])
	if err != nil {
		t.Fatal(err)
	}
	if other := command(t, "", append(args, "--as-of", at.Add(-time.Second).Format(time.RFC3339))...); digest.FindString(other.out) == want {
		t.Error("as of another second it has the same digest")
	}
}

func TestUnified(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"a\nb\nc\n", "a\nb\nc\n", ""},
		{"a\nb\nc\nd\ne\nf\ng\n", "a\nb\nc\nd\nX\nf\ng\n", "...\n c\n d\n-e\n+X\n f\n g\n"},
		{"a\n", "a\nb\n", " a\n+b\n"},
		{"x\na\ny\nb\n", "a\nz\nb\nw\n", "-x\n a\n-y\n+z\n b\n+w\n"},
	} {
		var b strings.Builder
		if err := unified(&b, []byte(c.from), []byte(c.to)); err != nil || b.String() != c.want {
			t.Errorf("got\n%swant\n%s", b.String(), c.want)
		}
	}
}
