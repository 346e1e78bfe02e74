package scoring

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestTheDefaultPolicyCompiles(t *testing.T) {
	p := Default()
	if n, ok := p.AccountsPerPhone(); n != 3 || !ok || p.Slots() != SlotSignals+len(p.Signals())+len(p.Lists()) {
		t.Errorf("limit %d, %v; %d slots", n, ok, p.Slots())
	}
}

const small = `
name: small
signals:
  n: {subject: phone, count: signup, window: 1h}
  m: {subject: ip, distinct: phone, window: 7d}
limits: {accounts_per_phone: 2}
score:
  - {code: N, signal: n, points: {2: 30, 4: 60, 8: 80}}
  - {code: GUARD, when: 'm > 2 * n && number.type == "voip"', points: 15}
  - {code: EITHER, when: 'event == "sign_in" || m >= 5', points: 10}
  - {code: LIST_BAD, when: list.bad, points: 20}
  - {code: KNOWN, when: phone_verified, points: -20}
decisions: {challenge: 30, review: 60, block: 80}
holdout: 0.5
`

// given returns values with everything unknown, or false, but the slots named.
func given(t testing.TB, p *Policy, set map[string]float64) []float64 {
	t.Helper()
	values := make([]float64, p.Slots())
	for i := range values {
		values[i] = math.NaN()
		switch name := p.SlotName(i); name {
		case "list.deny", "list.allow", "list.bad", "verified", "phone_verified":
			values[i] = 0
		case "event":
			values[i] = float64(Signup)
		}
	}
	for name, v := range set {
		found := false
		for i := range values {
			if p.SlotName(i) == name {
				values[i], found = v, true
			}
		}
		if !found {
			t.Fatalf("no slot %s", name)
		}
	}
	return values
}

func TestEvaluate(t *testing.T) {
	p, err := Compile([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		set      map[string]float64
		draw     float64
		decision Decision
		score    int
		first    string
	}{
		{"nothing", nil, 1, Allow, 0, ""},
		{"below the first step", map[string]float64{"n": 1}, 1, Allow, 0, ""},
		{"a score equal to a threshold is stricter", map[string]float64{"n": 2}, 1, Challenge, 30, "N"},
		{"review", map[string]float64{"n": 4}, 1, Review, 60, "N"},
		{"block", map[string]float64{"n": 9}, 1, Block, 80, "N"},
		{"a reason lowers", map[string]float64{"n": 2, "phone_verified": 1}, 1, Allow, 10, "N"},
		{"the score has a floor", map[string]float64{"phone_verified": 1}, 1, Allow, 0, "KNOWN"},
		{"held out", map[string]float64{"n": 9}, 0.4, Allow, 80, "N"},
		{"not held out", map[string]float64{"n": 9}, 0.5, Block, 80, "N"},
		{"guard", map[string]float64{"n": 1, "m": 3, "number.type": TypeCode("voip")}, 1, Allow, 15, "GUARD"},
		{"one side is enough", map[string]float64{"event": float64(SignIn)}, 1, Allow, 10, "EITHER"},
		{"a list", map[string]float64{"list.bad": 1}, 1, Allow, 20, "LIST_BAD"},
		{"deny", map[string]float64{"list.deny": 1, "list.allow": 1}, 0, Block, 0, "LIST_DENY"},
		{"allow", map[string]float64{"list.allow": 1, "n": 9}, 1, Allow, 80, "LIST_ALLOW"},
		{"full, even if allowed", map[string]float64{"list.allow": 1, "accounts_linked": 2, "account_linked": 0}, 0, Block, 0, "ACCOUNTS_PER_PHONE"},
		{"full, but linked", map[string]float64{"accounts_linked": 2, "account_linked": 1}, 1, Allow, 0, ""},
		{"full, but no signup", map[string]float64{"event": float64(Checkout), "accounts_linked": 2, "account_linked": 0}, 1, Allow, 0, ""},
	} {
		var a Assessment
		p.Evaluate(given(t, p, c.set), c.draw, &a)
		first := ""
		if len(a.Reasons) > 0 {
			first = a.Reasons[0].Code
		}
		if a.Decision != c.decision || a.Score != c.score || first != c.first {
			t.Errorf("%s: %v, score %d, %v", c.name, a.Decision, a.Score, a.Reasons)
		}
	}
}

func TestUnknownIsNoPenalty(t *testing.T) {
	p, err := Compile([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	var a Assessment
	p.Evaluate(given(t, p, nil), 1, &a)
	if want := []string{"m", "n", "number.type"}; len(a.Degraded) != 3 || a.Degraded[0] != want[0] || a.Degraded[2] != want[2] {
		t.Errorf("degraded: %v, want %v", a.Degraded, want)
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	p := Default()
	values := make([]float64, p.Slots())
	for i := range values {
		values[i] = 9
	}
	var a Assessment
	if n := testing.AllocsPerRun(100, func() { p.Evaluate(values, 1, &a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAListHitDoesNotAllocate(t *testing.T) {
	p, err := Compile([]byte("name: x\nscore: [{code: A, when: list.bad, points: 5}]\ndecisions: {block: 80}"))
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, p.Slots())
	values[SlotSignals] = 1
	var a Assessment
	if n := testing.AllocsPerRun(100, func() { p.Evaluate(values, 1, &a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(a.Reasons) != 2 || a.Reasons[1].Code != "LIST_BAD" {
		t.Errorf("reasons: %v", a.Reasons)
	}
}

func TestEveryProblemIsListedWithItsPlace(t *testing.T) {
	_, err := Compile([]byte(`name: small
signals:
  a: {subject: fone, count: signup, window: 1h}
  b: {subject: range, distinct: account, window: 1h}
  c: {subject: phone, count: signup}
  d: {subject: phone, count: signup, window: 999d}
score:
  - {code: lower, signal: a, points: {2: 10}}
  - {code: A, signal: aa, points: {2: 10}}
  - {code: B, when: a > bb, points: 5}
  - {code: C, when: number.type == "voipp", points: 5}
  - {code: D, when: a + 1, points: 5}
  - {code: E, when: 'size("x") > 1', points: 5}
  - {code: F, when: "a > 1", points: 0}
decisions: {challenge: 50, review: 40}
colour: red
`))
	var pe *PolicyError
	if !errors.As(err, &pe) {
		t.Fatalf("got %v", err)
	}
	var got [][2]int
	for _, p := range pe.Problems {
		got = append(got, [2]int{p.Line, p.Column})
	}
	want := [][2]int{{3, 16}, {4, 33}, {5, 6}, {6, 46}, {8, 12}, {9, 23}, {10, 25}, {11, 33}, {12, 21}, {13, 32}, {14, 38}, {15, 36}, {16, 1}}
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("problem %d at %v, want %v: %s (%s)", i, got[i], want[i], pe.Problems[i].Cause, pe.Problems[i].Hint)
		}
	}
}

func TestProblemsSayTheirPlaceOnce(t *testing.T) {
	for doc, want := range map[string]string{
		"":                                   "the file is empty (begin with: ringfence policy show)",
		"name: x\nscore: [\n":                "line 2, column 1: did not find expected node content (check indentation and quotes)",
		"name: x\n---\nname: y\n":            "line 2, column 1: more than one document in the file (keep one)",
		strings.Repeat("#", maxPolicySize+1): "larger than 256 KiB (is this the right file?)",
		"name: x\nscore: [{code: A, when: number.tpe == \"voip\", points: 1}]\ndecisions: {block: 1}": "line 2, column 31: undeclared reference to 'number.tpe' (did you mean number.type?)",
	} {
		if _, err := Compile([]byte(doc)); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(small))
	f.Add(defaultSource)
	f.Add([]byte("name: &a [*a]"))
	f.Add([]byte("decisions: {challenge: 1}\nname: x\nscore: [{code: A, when: 'a.b.c(', points: 1}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Compile(doc)
		var pe *PolicyError
		if err != nil && !errors.As(err, &pe) {
			t.Errorf("another kind of error: %v", err)
		}
		if err == nil {
			var a Assessment
			p.Evaluate(make([]float64, p.Slots()), 1, &a)
		}
	})
}

func BenchmarkEvaluateDefault(b *testing.B) {
	p := Default()
	values := make([]float64, p.Slots())
	for i := range values {
		values[i] = 5
	}
	var a Assessment
	b.ReportAllocs()
	for b.Loop() {
		p.Evaluate(values, 1, &a)
	}
}

// BenchmarkJudgeDefault is an ordinary signup, as most of a log is.
func BenchmarkJudgeDefault(b *testing.B) {
	p := Default()
	values := make([]float64, p.Slots())
	for i := SlotSignals; i < SlotSignals+len(p.Signals()); i++ {
		values[i] = 1
	}
	values[SlotEvent], values[SlotNumberValid], values[SlotNumberType] = float64(Signup), 1, TypeCode("mobile")
	var v Verdict
	b.ReportAllocs()
	for b.Loop() {
		p.Judge(values, 1, &v)
	}
}
