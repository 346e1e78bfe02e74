package backtest

// MaxCost is the most that an error may cost: enough for any currency, and sums stay numbers.
const MaxCost = 1e12

// Priceable reports whether errors can cost so much: both from above 0 to MaxCost or, for no costs, both 0.
func Priceable(fp, fn float64) bool {
	within := func(v float64) bool { return v >= 0 && v <= MaxCost } // and a number
	return within(fp) && within(fn) && fp > 0 == (fn > 0)
}

// Costs say what errors cost, and where they cost least.
type Costs struct {
	FP       float64   `json:"cost_fp"`  // of acting on a legitimate event
	FN       float64   `json:"cost_fn"`  // of letting abuse go
	Cheapest *Cheapest `json:"cheapest"` // nil without labels of both kinds
}

// Cheapest are the thresholds from Threshold to To, which cost the same and least. No policy
// has a threshold of 0.
type Cheapest struct {
	Priced
	To int `json:"to"`
}

// Priced is what acting from a threshold on costs.
type Priced struct {
	Threshold int     `json:"threshold"`
	Cost      float64 `json:"cost"`
}

// Price adds to every point what it costs, and names the cheapest. Costs change no decision, and so no digest.
func (r *Result) Price(fp, fn float64) {
	for i := range r.Curve {
		r.Curve[i].price(fp, fn)
	}
	for i := range r.Decisions {
		r.Decisions[i].price(fp, fn)
	}
	r.Costs = &Costs{FP: fp, FN: fn, Cheapest: r.cheapest(fp, fn)}
}

func (p *Point) price(fp, fn float64) {
	cost := p.Cost(fp, fn)
	p.Loss = &cost
}

// cheapest returns the lowest of the thresholds that cost least, and how far the same cost goes.
func (r *Result) cheapest(fp, fn float64) *Cheapest {
	if r.Abuse == 0 || r.Legitimate == 0 {
		return nil
	}
	best := &Cheapest{Priced: r.priced(1, fp, fn), To: 1}
	for at := 2; at <= 100; at++ {
		switch p := r.priced(at, fp, fn); {
		case p.Cost < best.Cost:
			best = &Cheapest{Priced: p, To: at}
		case p.Cost == best.Cost && best.To == at-1:
			best.To = at
		}
	}
	return best
}

func (r *Result) priced(at int, fp, fn float64) Priced {
	return Priced{at, r.Curve[at].Cost(fp, fn)}
}

// nearby is how far from a threshold its neighbours are.
var nearby = []int{-20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20}

// Around returns what a threshold and its neighbours cost, which tells how much hangs on it.
func (r *Result) Around(at int, fp, fn float64) []Priced {
	var around []Priced
	for _, off := range nearby {
		if other := at + off; other >= 1 && other <= 100 {
			around = append(around, r.priced(other, fp, fn))
		}
	}
	return around
}
