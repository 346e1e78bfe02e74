package scoring

import (
	"math"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestGates holds which conditions have one, and where it is shut.
func TestGates(t *testing.T) {
	p := diffing(t)
	signals := func(i int) int { return SlotSignals + i }
	up, down := math.Nextafter(3, 4), math.Nextafter(3, 2)
	inf := math.Inf(1)
	voip, mobile := TypeCode("voip"), TypeCode("mobile")
	for text, want := range map[string]gate{
		"a > 3":              {signals(0), up, inf},
		"a >= 3":             {signals(0), 3, inf},
		"b < 3.0":            {signals(1), -inf, down},
		"b <= 3":             {signals(1), -inf, 3},
		"c == 3":             {signals(2), 3, 3},
		"3 < a":              {signals(0), up, inf},
		"3.0 >= b":           {signals(1), -inf, 3},
		"verified":           {SlotVerified, 1, 1},
		"!verified":          {SlotVerified, 0, 0},
		"verified == true":   {SlotVerified, 1, 1},
		"list.deny":          {SlotListDeny, 1, 1},
		"list.other":         {p.Slots(), 1, 1},
		"a > b && c == 3":    {signals(2), 3, 3},
		"verified && a >= 3": {SlotVerified, 1, 1},

		`event == "signup"`:                          {SlotEvent, float64(Signup), float64(Signup)},
		`number.type in ["voip", "mobile"]`:          {SlotNumberType, min(voip, mobile), max(voip, mobile)},
		`number.type in ["voip"] && a > b`:           {SlotNumberType, voip, voip},
		`number.type in ["voip", "mobile"] || a > b`: ajar,

		"a != 3":         ajar,
		"a > b":          ajar,
		"a + 1.0 > 3":    ajar,
		"!(a > 3)":       ajar,
		"true":           ajar,
		"a > 3 || b < 3": ajar,
	} {
		x, r := newExpressions(p), &reporter{}
		if got := x.compile(r, &yaml.Node{Kind: yaml.ScalarNode, Value: text}); r.err() != nil || got.gate != want {
			t.Errorf("%s: %+v, want %+v, %v", text, got.gate, want, r.err())
		}
	}
}

// TestGatesOfTheDefaultPolicy holds that every rule of the default policy has a gate, and that the first event of anybody opens none.
func TestGatesOfTheDefaultPolicy(t *testing.T) {
	p := Default()
	values := make([]float64, p.Slots())
	values[SlotEvent], values[SlotNumberValid], values[SlotNumberType] = float64(Signup), 1, TypeCode("mobile")
	for i, s := range p.Signals() {
		if s.Aggregate == Count && s.Event == Signup || s.Aggregate == Distinct {
			values[SlotSignals+i] = 1 // it counts itself
		}
	}
	for _, r := range p.rules {
		if r.gate == ajar || !r.gate.shut(values) {
			t.Errorf("%s: %+v", r.code, r.gate)
		}
	}
}
