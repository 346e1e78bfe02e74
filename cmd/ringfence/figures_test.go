package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// TestEveryFigure makes the whole result of a backtest again from its lines of NDJSON, by plain loops, and compares all there is in it: a
// field that these loops leave out is missed as soon as it has a value, and none is without one throughout.
func TestEveryFigure(t *testing.T) {
	text, source := readText(t, madeUp(t)), string(scoring.Default().Source())
	numbers := regexp.MustCompile(`"phone_number":"([^"]+)"`).FindAllStringSubmatch(text, -1)
	events := write(t, "late.ndjson", text+`{"occurred_at":"2026-01-04T12:00:00Z","event":"sign_in","account_id":"late"}`+"\n") // earlier than all others
	deny, allow := write(t, "deny.txt", numbers[50][1]+"\n"), write(t, "allow.txt", numbers[len(numbers)-40][1]+"\n")
	base := write(t, "base.yaml", strings.Replace(source, "holdout: 0", "holdout: 0.25", 1))
	tighter := write(t, "tighter.yaml", strings.Replace(readText(t, stricterPolicy(t)), "accounts_per_phone: 3", "accounts_per_phone: 2", 1))
	wider := write(t, "wider.yaml", strings.Replace(source, "window: 1h", "window: 2h", 1))
	seen := map[string]bool{}
	for _, c := range [][]string{
		{"--policy", tighter, "--mode", "rescore", "--maturity", "48h", "--cost-fp", "20", "--cost-fn", "1"},
		{"--policy", tighter, "--mode", "replay", "--maturity", "48h", "--seed", "7", "--examples", "3"},
		{"--policy", base, "--mode", "replay", "--from", "2026-01-09", "--to", "2026-01-12T06:00:00Z"},
		{"--policy", wider},
	} {
		args := append([]string{"backtest", events, "--base", base, "--max-lateness", "720h", "--list", "deny=" + deny, "--list", "allow=" + allow}, c...)
		var got backtest.Result
		r := command(t, "", append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(r, err)
		}
		var lines []eventLine
		for text := range strings.Lines(command(t, "", append(args, "-o", "ndjson")...).out) {
			var l eventLine
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, l)
		}
		want := remade(t, lines, &got, c)
		for _, what := range differing("", reflect.ValueOf(got), reflect.ValueOf(want), seen) {
			t.Errorf("%v: %s", c, what)
		}
	}
	// A policy that changes meanwhile, and more numbers than are told apart, have tests of their own.
	seen["Result.Stale"], seen["Crowd.Estimated"] = true, true
	for field, valued := range seen {
		if !valued {
			t.Errorf("%s never had a value", field)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// differing says where two values differ, floats by more than rounding, and notes which fields had a value.
func differing(at string, got, want reflect.Value, seen map[string]bool) (all []string) {
	switch got.Kind() {
	case reflect.Struct:
		for i := range got.NumField() {
			f := got.Type().Field(i)
			name := got.Type().Name() + "." + f.Name
			seen[name] = seen[name] || !got.Field(i).IsZero()
			all = append(all, differing(at+"."+f.Name, got.Field(i), want.Field(i), seen)...)
		}
		return all
	case reflect.Slice:
		if got.Len() != want.Len() {
			break
		}
		for i := range got.Len() {
			all = append(all, differing(fmt.Sprintf("%s[%d]", at, i), got.Index(i), want.Index(i), seen)...)
		}
		return all
	case reflect.Pointer:
		if got.IsNil() || want.IsNil() {
			break
		}
		return differing(at, got.Elem(), want.Elem(), seen)
	case reflect.Float64:
		if a, b := got.Float(), want.Float(); math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) {
			return nil
		}
	case reflect.Map:
		if got.Len() == 0 && want.Len() == 0 {
			return nil
		}
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		all = append(all, fmt.Sprintf("%s is %v, not %v", at, got, want))
	}
	return all
}

func (l *eventLine) judged() bool  { return l.Decision != "" }
func (l *eventLine) counted() bool { return l.State == "counted" }
func (l *eventLine) abuse() bool   { return l.Label == "abuse" }
func (l *eventLine) by(score int) bool {
	return l.judged() && l.By == "" && l.Score == score
}

// fires reports whether a reason is among those of a line, -1 for any step of it, and returns its points.
func fires(reasons []eventPoint, code string, step int) (points int, ok bool) {
	for _, p := range reasons {
		if p.Code == code && (step < 0 || p.Step == step) {
			return p.Points, true
		}
	}
	return 0, false
}

// labels adds up labels that count.
type labels struct{ n, w, ww float64 }

// of adds up the labels of those lines that are among and part, and of those that are among.
func of(lines []eventLine, among, part func(*eventLine) bool) (some, all labels) {
	for i := range lines {
		l := &lines[i]
		if !l.judged() || !l.counted() || !among(l) {
			continue
		}
		all = labels{all.n + 1, all.w + l.Weight, all.ww + l.Weight*l.Weight}
		if part(l) {
			some = labels{some.n + 1, some.w + l.Weight, some.ww + l.Weight*l.Weight}
		}
	}
	return some, all
}

// rate is a share of weights with its interval by the textbook.
func rate(lines []eventLine, among, part func(*eventLine) bool) backtest.Rate {
	some, all := of(lines, among, part)
	if all.n == 0 {
		return backtest.Rate{}
	}
	p, n, z := some.w/all.w, all.w*all.w/all.ww, 1.959963984540054
	centre, half := (p+z*z/(2*n))/(1+z*z/n), z/(1+z*z/n)*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return backtest.Rate{Share: p, Low: max(0, centre-half), High: min(1, centre+half), Labels: uint64(all.n)}
}

func every(*eventLine) bool { return true }

// remade makes a result of lines. Only which flips are examples, and the digest, are taken from the one that was printed.
func remade(t *testing.T, lines []eventLine, got *backtest.Result, args []string) backtest.Result {
	t.Helper()
	flag := func(name, otherwise string) string {
		if i := slices.Index(args, "--"+name); i >= 0 {
			return args[i+1]
		}
		return otherwise
	}
	maturity, err := time.ParseDuration(flag("maturity", "0s"))
	if err != nil {
		t.Fatal(err)
	}
	doc := readText(t, flag("policy", ""))
	p, err := scoring.Compile([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(doc))
	want := backtest.Result{
		Digest: got.Digest, Mode: flag("mode", "rescore"), Policy: p.Name(), PolicyDigest: hex.EncodeToString(digest[:]), Maturity: int64(maturity.Seconds()),
		First: lines[0].ID, Last: lines[len(lines)-1].ID, FirstAt: math.MaxInt64, Events: uint64(len(lines)), NotReplayable: map[string]uint64{},
		States: map[string]uint64{"counted": 0, "unlabelled": 0, "immature": 0, "represented": 0, "not_replayable": 0, "lost": 0},
	}
	if _, err := fmt.Sscan(flag("seed", "1"), &want.Seed); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		at, err := time.Parse(time.RFC3339, l.At)
		if err != nil {
			t.Fatal(err)
		}
		want.FirstAt, want.LastAt = min(want.FirstAt, at.Unix()), max(want.LastAt, at.Unix())
		want.States[l.State]++
		for _, name := range l.Unread {
			want.NotReplayable[name]++
		}
	}
	if want.AsOf = want.LastAt; flag("to", "") != "" { // then the newest event is not among them
		want.AsOf = got.AsOf
	}
	want.Crowd = crowdOf(lines, (*eventLine).judged)
	abuse, all := of(lines, every, (*eventLine).abuse)
	want.Abuse, want.Legitimate = uint64(abuse.n), uint64(all.n-abuse.n)
	remakeCurve(lines, &want)
	remakeCosts(&want, flag("cost-fp", "0"), flag("cost-fn", "0"))
	remakeCalibration(lines, &want)
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		want.Decisions = append(want.Decisions, backtest.At{Decision: d.String(), Point: want.Curve[p.Threshold(d)]})
	}
	remakeMoves(lines, &want)
	want.Milder = sideOf(t, lines, &got.Milder, flag("examples", "10"), func(l *eventLine) bool { return rank(l.Decision) < rank(l.Was) })
	want.Stricter = sideOf(t, lines, &got.Stricter, flag("examples", "10"), func(l *eventLine) bool { return rank(l.Decision) > rank(l.Was) })
	remakeReasons(lines, &want, p)
	return want
}

// rank is how strict a decision is.
func rank(decision string) int { return slices.Index(decisionNames, decision) }

var decisionNames = []string{"allow", "challenge", "review", "block"}

func crowdOf(lines []eventLine, in func(*eventLine) bool) (c backtest.Crowd) {
	phones := map[string]uint64{}
	with, top := 0, uint64(0)
	for i := range lines {
		if l := &lines[i]; in(l) {
			c.Events++
			if l.Phone != "" {
				with++
				phones[l.Phone]++
				top = max(top, phones[l.Phone])
			}
		}
	}
	c.Numbers = uint64(len(phones))
	if with > 0 {
		c.Top = float64(top) / float64(with)
	}
	return c
}

func remakeCurve(lines []eventLine, want *backtest.Result) {
	legitimate := func(l *eventLine) bool { return !l.abuse() }
	for at := 0; at <= 100; at++ {
		acted := func(l *eventLine) bool { return l.Level >= at }
		p := backtest.Point{Threshold: at, Precision: rate(lines, acted, (*eventLine).abuse), Recall: rate(lines, (*eventLine).abuse, acted), FPR: rate(lines, legitimate, acted)}
		s := backtest.Score{Score: at}
		for i := range lines {
			l := &lines[i]
			if l.judged() && acted(l) {
				p.Events++
			}
			if l.by(at) {
				s.Events++
			}
			if !l.judged() || !l.counted() {
				continue
			}
			*map[[2]bool]*float64{{true, true}: &p.TP, {true, false}: &p.FP, {false, true}: &p.FN, {false, false}: &p.TN}[[2]bool{acted(l), l.abuse()}] += l.Weight
			if l.by(at) && l.abuse() {
				s.Abuse++
			} else if l.by(at) {
				s.Legitimate++
			}
		}
		want.Curve, want.Scores = append(want.Curve, p), append(want.Scores, s)
	}
	recall := 0.0
	for _, p := range slices.Backward(want.Curve) {
		if p.Precision.Labels > 0 && p.Recall.Labels > 0 {
			want.AveragePrecision += p.Precision.Share * (p.Recall.Share - recall)
			recall = p.Recall.Share
		}
	}
}

func remakeCosts(want *backtest.Result, fp, fn string) {
	var c backtest.Costs
	if _, err := fmt.Sscan(fp+" "+fn, &c.FP, &c.FN); err != nil || c.FP == 0 {
		return
	}
	for at := range want.Curve {
		p := &want.Curve[at]
		cost := c.FP*p.FP + c.FN*p.FN
		p.Loss = &cost
		switch {
		case at == 0:
		case at == 1 || cost < c.Cheapest.Cost:
			c.Cheapest = &backtest.Cheapest{Priced: backtest.Priced{Threshold: at, Cost: cost}, To: at}
		case cost == c.Cheapest.Cost && c.Cheapest.To == at-1:
			c.Cheapest.To = at
		}
	}
	want.Costs = &c
}

// remakeCalibration fits by the min-max formula: at each score the largest, over where a stretch begins, of the least, over where it ends, of the
// mean within.
func remakeCalibration(lines []eventLine, want *backtest.Result) {
	var scores []int
	var abuse, all []labels
	for score := range 101 {
		if a, n := of(lines, func(l *eventLine) bool { return l.by(score) }, (*eventLine).abuse); n.n > 0 {
			scores, abuse, all = append(scores, score), append(abuse, a), append(all, n)
		}
	}
	for i, score := range scores {
		fit := 0.0
		for from := range i + 1 {
			least := 1.0
			for to := i; to < len(scores); to++ {
				var a, n float64
				for k := from; k <= to; k++ {
					a, n = a+abuse[k].w, n+all[k].w
				}
				least = min(least, a/n)
			}
			fit = max(fit, least)
		}
		if last := len(want.Calibration) - 1; last >= 0 && fit-want.Calibration[last].Probability < 1e-12 {
			want.Calibration[last].To = score
			want.Calibration[last].Labels += uint64(all[i].n)
			continue
		}
		want.Calibration = append(want.Calibration, backtest.Calibrated{From: score, To: score, Probability: fit, Labels: uint64(all[i].n)})
	}
}

func remakeMoves(lines []eventLine, want *backtest.Result) {
	for _, from := range decisionNames {
		for _, to := range decisionNames {
			m := backtest.Move{From: from, To: to}
			for _, l := range lines {
				switch {
				case l.Was != from || l.Decision != to:
				case !l.counted():
					m.Other++
				case l.abuse():
					m.Abuse++
				default:
					m.Legitimate++
				}
			}
			if m.Abuse+m.Legitimate+m.Other > 0 {
				want.Moves = append(want.Moves, m)
			}
		}
	}
}

// changed says which reasons gave other points, and how, those that decide whatever the score first.
func changed(l *eventLine) (codes, words []string) {
	if l.WasReasons == nil {
		return nil, nil
	}
	if l.WasBy != l.By && l.WasBy != "" {
		codes, words = append(codes, l.WasBy), append(words, l.WasBy+" no longer decides")
	}
	if l.WasBy != l.By && l.By != "" {
		codes, words = append(codes, l.By), append(words, l.By+" decides")
	}
	for _, p := range l.WasReasons {
		if now, _ := fires(l.Reasons, p.Code, -1); now != p.Points {
			codes, words = append(codes, p.Code), append(words, fmt.Sprintf("%s %+d was %+d", p.Code, now, p.Points))
		}
	}
	for _, p := range l.Reasons {
		if _, before := fires(l.WasReasons, p.Code, -1); !before {
			codes, words = append(codes, p.Code), append(words, fmt.Sprintf("%s %+d was +0", p.Code, p.Points))
		}
	}
	return codes, words
}

// sideOf adds up flips. Every example has to be one of them.
func sideOf(t *testing.T, lines []eventLine, got *backtest.Side, examples string, in func(*eventLine) bool) backtest.Side {
	t.Helper()
	flips := func(l *eventLine) bool { return l.judged() && in(l) }
	side := backtest.Side{Crowd: crowdOf(lines, flips)}
	behind := map[string]uint64{}
	for i := range lines {
		l := &lines[i]
		if !flips(l) {
			continue
		}
		codes, words := changed(l)
		for _, code := range codes {
			behind[code]++
		}
		for _, p := range l.Reasons {
			if len(codes) == 0 {
				words = append(words, fmt.Sprintf("%s %+d", p.Code, p.Points))
			}
		}
		if slices.ContainsFunc(got.Examples, func(f backtest.Flip) bool { return f.ID == l.ID }) {
			at, _ := time.Parse(time.RFC3339, l.At)
			side.Examples = append(side.Examples, backtest.Flip{
				ID: l.ID, At: at.Unix(), From: l.Was, To: l.Decision, OldScore: l.WasScore, NewScore: l.Score, Label: l.Label, Reasons: words,
			})
		}
	}
	side.Reasons = mostFirst(behind, func(a, b string) int { return cmp.Compare(a, b) })
	most := uint64(0)
	if _, err := fmt.Sscan(examples, &most); err != nil || uint64(len(side.Examples)) != min(most, side.Events) {
		t.Errorf("%d examples of %d, of %d flips", len(side.Examples), len(got.Examples), side.Events)
	}
	return side
}

// mostFirst sorts by how often, and among those as often by code.
func mostFirst(counts map[string]uint64, order func(a, b string) int) (all []backtest.Behind) {
	for code, n := range counts {
		all = append(all, backtest.Behind{Code: code, Events: n})
	}
	slices.SortFunc(all, func(a, b backtest.Behind) int { return cmp.Or(cmp.Compare(b.Events, a.Events), order(a.Code, b.Code)) })
	return all
}

func remakeReasons(lines []eventLine, want *backtest.Result, p *scoring.Policy) {
	position := map[string]int{}
	for i, rule := range p.Rules() {
		position[rule.Code] = i
	}
	base := rate(lines, every, (*eventLine).abuse).Share
	for _, rule := range p.Rules() {
		together := map[string]uint64{}
		for _, l := range lines {
			if _, ok := fires(l.Reasons, rule.Code, -1); ok {
				for _, other := range l.Reasons {
					together[other.Code]++
				}
			}
		}
		delete(together, rule.Code)
		with := mostFirst(together, func(a, b string) int { return position[a] - position[b] })
		for step, s := range rule.Steps {
			here := func(l *eventLine) bool { _, ok := fires(l.Reasons, rule.Code, step); return ok }
			row := backtest.ReasonRow{Code: rule.Code, Step: step, Points: s.Points, With: with[:min(3, len(with))], Precision: rate(lines, here, (*eventLine).abuse)}
			if s.At == s.At {
				row.From = &s.At
			}
			for i := range lines {
				if here(&lines[i]) {
					row.Hits++
				}
			}
			abuse, all := of(lines, here, (*eventLine).abuse)
			row.Abuse, row.Legitimate = uint64(abuse.n), uint64(all.n-abuse.n)
			for d := scoring.Challenge; d <= scoring.Block; d++ {
				row.Without = append(row.Without, changeOf(lines, rule.Code, step, d.String(), p.Threshold(d)))
			}
			if all.n >= 20 && base > 0 && base < 1 {
				worth := (row.Precision.Share - base) / (1 - base)
				if worth < 0 {
					worth = (row.Precision.Share - base) / base
				}
				points := int(math.Round((all.n*worth*float64(p.Threshold(scoring.Block)) + 100*float64(s.Points)) / (all.n + 100)))
				row.Suggested = &points
			}
			want.Reasons = append(want.Reasons, row)
		}
	}
}

// changeOf adds up what would be acted on, and no longer is, where a reason has no points.
func changeOf(lines []eventLine, code string, step int, decision string, threshold int) backtest.Change {
	c := backtest.Change{Decision: decision}
	for i := range lines {
		l := &lines[i]
		points, ok := fires(l.Reasons, code, step)
		if !ok || !l.counted() || l.By != "" {
			continue
		}
		left := -points
		for _, p := range l.Reasons {
			left += p.Points
		}
		into := &c.Legitimate
		if l.abuse() {
			into = &c.Abuse
		}
		*into += l.Weight * float64(btoi(min(max(left, 0), 100) >= threshold)-btoi(l.Score >= threshold))
	}
	return c
}
