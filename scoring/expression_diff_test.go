package scoring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v3"
)

// diffPolicy has the variables that made-up conditions speak of.
const diffPolicy = `
name: diff
signals:
  a: {subject: phone, count: signup, window: 1h}
  b: {subject: phone, count: signup, window: 24h}
  c: {subject: ip, distinct: phone, window: 1h}
decisions: {}
`

// variables of made-up conditions, with the values they can have. Texts have the
// value of CEL beside the slot's.
var (
	diffNumbers = []string{"a", "b", "c", "phone_age_days", "accounts_linked"}
	diffBools   = []string{"verified", "phone_verified", "number.valid", "account_linked", "list.deny"}
	diffTexts   = map[string][]string{
		"event": {"signup", "checkout", "recovery"}, "number.type": {"mobile", "voip", "unknown"},
		"number.region": {"GB", "US", "DE"}, "ip_country": {"GB", "US", "DE"},
	}
	diffTextNames = []string{"event", "number.type", "number.region", "ip_country"}
)

// maker makes up conditions of the kind that policies may have.
type maker struct{ *rand.Rand }

func pick[T any](m maker, of []T) T { return of[m.IntN(len(of))] }

func (m maker) number(depth int) string {
	if depth == 0 || m.IntN(3) == 0 {
		if m.IntN(2) == 0 {
			return fmt.Sprintf("%d.%d", m.IntN(6), m.IntN(2)*5)
		}
		return pick(m, diffNumbers)
	}
	switch m.IntN(5) {
	case 0:
		return "-(" + m.number(depth-1) + ")"
	case 1:
		return "(" + m.number(depth-1) + ") / 4.0" // 0/0 is unknown to us, and a number that is none to CEL
	}
	return "(" + m.number(depth-1) + ")" + pick(m, []string{" + ", " - ", " * "}) + "(" + m.number(depth-1) + ")"
}

func (m maker) condition(depth int) string {
	if depth == 0 {
		return pick(m, append(diffBools, "true", "false"))
	}
	switch m.IntN(6) {
	case 0:
		return "!(" + m.condition(depth-1) + ")"
	case 1, 2:
		return "(" + m.condition(depth-1) + ")" + pick(m, []string{" && ", " || "}) + "(" + m.condition(depth-1) + ")"
	case 3:
		name := pick(m, diffTextNames)
		texts := diffTexts[name]
		if m.IntN(2) == 0 {
			return fmt.Sprintf("%s %s %q", name, pick(m, []string{"==", "!="}), pick(m, texts))
		}
		return fmt.Sprintf("%s in [%q, %q]", name, pick(m, texts), pick(m, texts))
	case 4:
		return fmt.Sprintf("(%s) %s (%s)", m.condition(depth-1), pick(m, []string{"==", "!="}), m.condition(depth-1))
	}
	return m.number(depth-1) + pick(m, []string{" < ", " <= ", " > ", " >= ", " == ", " != "}) + m.number(depth-1)
}

// values makes up what is known of an event: for us by slot, for CEL by name.
func (m maker) values(p *Policy) ([]float64, cel.PartialActivation, error) {
	slots := make([]float64, p.Slots())
	for i := range slots {
		slots[i] = math.NaN()
	}
	vars := map[string]any{}
	var unknown []*cel.AttributePatternType
	set := func(name string, v float64, asCEL any) {
		for i := range slots {
			if p.SlotName(i) == name && m.IntN(4) > 0 {
				slots[i], vars[name] = v, asCEL
				return
			}
		}
		unknown = append(unknown, cel.AttributePattern(name))
	}
	for _, name := range diffNumbers {
		v := pick(m, []float64{0, 0.5, 1, 2, 3, 5})
		set(name, v, v)
	}
	for _, name := range diffBools {
		v := m.IntN(2)
		set(name, float64(v), v == 1)
	}
	for _, name := range diffTextNames {
		text := pick(m, diffTexts[name])
		code, _ := encode(slotClasses[slotOf(p, name)], text)
		set(name, code, text)
	}
	known, err := cel.PartialVars(vars, unknown...)
	return slots, known, err
}

func slotOf(p *Policy, name string) int {
	for i := range p.Slots() {
		if p.SlotName(i) == name {
			return i
		}
	}
	return -1
}

// differ compares one made-up condition under a few made-up values.
func differ(t *testing.T, p *Policy, seed uint64) {
	t.Helper()
	m := maker{rand.New(rand.NewPCG(seed, 0))}
	text := m.condition(1 + m.IntN(4))
	if len(text) > maxExpression {
		return
	}
	x, r := newExpressions(p), &reporter{}
	ours := x.compile(r, &yaml.Node{Kind: yaml.ScalarNode, Value: text})
	if err := r.err(); err != nil {
		t.Fatalf("%s\nis refused: %v", text, err)
	}
	env, err := x.environment(text)
	if err != nil {
		t.Fatal(err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", text, issues.Err())
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptPartialEval))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		slots, vars, err := m.values(p)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := program.Eval(vars)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := math.NaN()
		if b, ok := out.(types.Bool); ok {
			want = 0
			if b {
				want = 1
			}
		} else if !types.IsUnknown(out) {
			t.Fatalf("%s is %v", text, out)
		}
		if got := ours.run(slots); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%s\nunder %v is %v, to CEL %v", text, slots, got, want)
		}
		if ours.gate.shut(slots) && want != 0 {
			t.Fatalf("%s\nunder %v is %v, and its gate %v is shut", text, slots, want, ours.gate)
		}
	}
}

func diffing(t testing.TB) *Policy {
	t.Helper()
	p, err := Compile([]byte(diffPolicy))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestConditionsMeanWhatTheyMeanToCEL evaluates made-up conditions in both ways.
func TestConditionsMeanWhatTheyMeanToCEL(t *testing.T) {
	p := diffing(t)
	for seed := range uint64(2000) {
		differ(t, p, seed)
	}
}

func FuzzConditions(f *testing.F) {
	p := diffing(f)
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { differ(t, p, seed) })
}
