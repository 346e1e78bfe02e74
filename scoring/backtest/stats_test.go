package backtest

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWilson holds the limits that binom.confint of R's package binom gives by its method wilson, as they are published with the tests of
// statsmodels (statsmodels/stats/tests/results/results_proportion.py at commit 1a63aa7).
func TestWilson(t *testing.T) {
	for _, c := range []struct{ k, n, low, high float64 }{
		{18, 20, 0.6989663547715128, 0.972133518786232}, {4, 20, 0.0806576625797981, 0.4160174322518935},
		{4, 200, 0.00780442641634947, 0.05028708690582643}, {190, 200, 0.910421851861224, 0.972617354399236},
		{1, 30, 5.908590e-03, 0.16670391}, {29, 30, 0.8332961, 0.9940914}, {0, 30, 0, 0.11351339}, {30, 30, 0.8864866, 1},
	} {
		low, high := Wilson(c.k/c.n, c.n)
		if math.Abs(low-c.low) > 0.6e-7 || math.Abs(high-c.high) > 0.6e-7 { // as many digits as the shortest has
			t.Errorf("%v of %v: %.9f to %.9f, want %.9f to %.9f", c.k, c.n, low, high, c.low, c.high)
		}
	}
	for _, n := range []float64{1, 7, 1e9} {
		for _, share := range []float64{0, 0.5, 1} {
			if low, high := Wilson(share, n); low < 0 || high > 1 || low > share || high < share {
				t.Errorf("%v of %v: %v to %v", share, n, low, high)
			}
		}
	}
}

// TestIsotonic holds fits of others: the first test of isotonic_regression in scikit-learn, and the two first examples of isoreg
// in R's manual, of which the second one's fit is published and the first one's was worked out by hand.
func TestIsotonic(t *testing.T) {
	ones := slices.Repeat([]float64{1}, 9)
	for _, c := range []struct{ y, weights, want []float64 }{
		{[]float64{1, 0, 4, 3, 3, 5, 4, 2, 0}, ones, []float64{0.5, 0.5, 3, 3, 3, 3, 3, 3, 3}},
		{[]float64{1, 0, 4, 3, 3, 5, 4, 2, 3}, ones, []float64{0.5, 0.5, 10. / 3, 10. / 3, 10. / 3, 3.5, 3.5, 3.5, 3.5}},
		{[]float64{3, 7, 5, 9, 8, 7, 10}, ones[:7], []float64{3, 6, 6, 8, 8, 8, 10}},
		{[]float64{2, 1}, []float64{1, 3}, []float64{1.25, 1.25}},
		{nil, nil, []float64{}},
	} {
		if got := Isotonic(c.y, c.weights); !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
			t.Errorf("%v: %v, want %v", c.y, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var y, w, doubled, one []float64
		for range 1 + r.IntN(12) {
			y, w = append(y, r.Float64()), append(w, float64(1+r.IntN(3)))
			for range int(w[len(w)-1]) {
				doubled, one = append(doubled, y[len(y)-1]), append(one, 1)
			}
		}
		fit, same := Isotonic(y, w), Isotonic(doubled, one)
		at := 0
		for i := range fit {
			if math.Abs(fit[i]-same[at]) > 1e-12 || i > 0 && fit[i] < fit[i-1] {
				t.Fatalf("a weight is not so many equal points: %v, %v", fit, same)
			}
			at += int(w[i])
		}
	}
}

// TestUnequalWeightsWidenTheInterval holds that weights are not taken for labels.
func TestUnequalWeightsWidenTheInterval(t *testing.T) {
	var even, odd, rest mass
	for range 50 {
		even.add(1)
		rest.add(1)
	}
	odd.add(26)
	for range 24 {
		odd.add(1)
	}
	a, b := rateOf(even, rest), rateOf(odd, rest)
	if a.Share != 0.5 || b.Share != 0.5 || b.High-b.Low <= a.High-a.Low || b.Labels != 75 {
		t.Errorf("%+v %+v", a, b)
	}
	if text, err := json.Marshal(rateOf(mass{}, mass{})); err != nil || string(text) != "null" {
		t.Errorf("nothing to count: %s %v", text, err)
	}
}

// TestCrowd holds exact counts while there is room, and fair ones beyond.
func TestCrowd(t *testing.T) {
	c := newCrowd()
	c.room = 1000
	r := rand.New(rand.NewPCG(2, 2))
	id := func() (id [16]byte) {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		return id
	}
	busy := id()
	c.add([16]byte{}, false)
	for range 3 {
		c.add(busy, true)
	}
	c.add(id(), true)
	if got := c.crowd(); got != (Crowd{Events: 5, Numbers: 2, Top: 0.75}) {
		t.Errorf("exact: %+v", got)
	}
	for range 20_000 {
		c.add(id(), true)
		c.add(busy, true)
	}
	got := c.crowd()
	if !got.Estimated || math.Abs(float64(got.Numbers)-20_002) > 2000 || math.Abs(got.Top-0.5) > 0.01 || c.counts.taken > 1000 {
		t.Errorf("estimated: %+v from %d", got, c.counts.taken)
	}
}
