package scoring

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestEditedKeepsEverythingElse holds that only the numbers named change, wherever they stand.
func TestEditedKeepsEverythingElse(t *testing.T) {
	doc := "name: x # é is one character\nsignals: {n: {subject: phone, count: signup, window: 1h}}\nscore:\n" +
		"  - {code: É_NOT, when: 'true', points: 5}\n"
	if _, err := Compile([]byte(doc + "decisions: {block: 80}")); err == nil {
		t.Fatal("the code should have been refused")
	}
	doc = "name: x # é\nsignals: {n: {subject: phone, count: signup, window: 1h}}\nscore:\n" +
		"  - {code: N, signal: n, points: {2: 10, 4: 30}} # é, 30\n" +
		"  - code: W\n    when: \"number.region == 'GB' || n > 3\" # 5\n    points: -5\n" +
		"decisions: {challenge: 30, /* */ block: 80}\n"
	doc = strings.Replace(doc, "/* */ ", "", 1)
	p, err := Compile([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Edited([]Edit{{Decision: Block, To: 9}, {Decision: Challenge, To: 7}, {Code: "N", Step: 1, To: 100}, {Code: "N", To: 1}, {Code: "W", To: 50}})
	want := strings.NewReplacer("2: 10, 4: 30", "2: 1, 4: 100", "points: -5", "points: 50", "challenge: 30, block: 80", "challenge: 7, block: 9").Replace(doc)
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	var bad *PolicyError
	if _, err := p.Edited([]Edit{{Decision: Challenge, To: 81}}); !errors.As(err, &bad) {
		t.Errorf("thresholds out of order: %v", err)
	}
	for _, e := range []Edit{{Decision: Review, To: 5}, {Code: "X", To: 5}, {Code: "N", Step: 2, To: 5}, {Code: "W", Step: 1, To: 5}} {
		if _, err := p.Edited([]Edit{e}); !errors.Is(err, ErrNoPlace) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestDiff(t *testing.T) {
	from, err := Compile([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	to, err := Compile([]byte(strings.NewReplacer(
		"4: 60", "5: 50", "points: 15", "points: 20", "window: 7d", "window: 1h", "{accounts_per_phone: 2}", "{accounts_per_phone: 3}",
		"holdout: 0.5", "holdout: 0", "challenge: 30, review: 60", "challenge: 40", "m >= 5", "m >= 6",
		"  - {code: KNOWN, when: phone_verified, points: -20}", "  - {code: NEW, when: verified, points: -10}",
		"signals:", "signals:\n  k: {subject: device, labels: abuse}",
	).Replace(small)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"challenge: from a score of 40, was 30: milder", "review: no longer by score, was from 60", "accounts per phone: 3, was 2", "holdout: none, was 0.5",
		"signal m: different phones of the ip in 1h, was different phones of the ip in 7d", "signal k: new, events of the device labelled abuse",
		"reason N: +30 from 2, +50 from 5, +80 from 8, was +30 from 2, +60 from 4, +80 from 8", "reason GUARD: +20 points, were +15",
		`reason EITHER: +10 when event == "sign_in" || m >= 6, was +10 when event == "sign_in" || m >= 5`,
		"reason KNOWN: gone, was -20 when phone_verified", "reason NEW: new, -10 when verified",
	}
	if got := Diff(from, to); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Diff(from, from); len(got) != 0 {
		t.Errorf("a policy differs from itself: %v", got)
	}
}

// TestJudgeIsEvaluateWithoutWords holds the two together.
func TestJudgeIsEvaluateWithoutWords(t *testing.T) {
	p, err := Compile([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	var v Verdict
	p.Judge(given(t, p, map[string]float64{"n": 8, "phone_verified": 1}), 1, &v)
	if v.Score != 60 || v.Decision != Review || v.By != ByScore || !slices.Equal(v.Fired, []Fired{{0, 2, 80}, {4, 0, -20}}) || !slices.Equal(v.Untold, []int{1, 2}) {
		t.Errorf("%+v", v)
	}
	p.Judge(given(t, p, map[string]float64{"list.deny": 1}), 1, &v)
	if v.Decision != Block || v.By != ByDenyList || len(v.Fired) != 0 {
		t.Errorf("deny: %+v", v)
	}
	reads := p.Reads()
	for i, read := range reads {
		name := p.SlotName(i)
		want := !slices.Contains([]string{"verified", "number.valid", "number.region", "phone_age_days", "ip_country"}, name)
		if read != want {
			t.Errorf("reads %s: %v", name, read)
		}
	}
}
