package backtest

import (
	"encoding/json"
	"math"
)

// z95 is the quantile of the normal distribution for two-sided intervals at 95 %.
const z95 = 1.959963984540054

// mass is a number of labelled events with their weights.
type mass struct {
	n     uint64
	w, ww float64 // sums of weights and of their squares
}

func (m *mass) add(weight float64) {
	m.n++
	m.w += weight
	m.ww += weight * weight
}

func (m mass) plus(o mass) mass { return mass{m.n + o.n, m.w + o.w, m.ww + o.ww} }

// Rate is a share with its Wilson interval at 95 %. It is JSON null where there was
// nothing to count.
type Rate struct {
	Share, Low, High float64
	Labels           uint64 // how many events it is a share of
}

// Known reports whether there was anything to count.
func (r Rate) Known() bool { return r.Labels > 0 }

// MarshalJSON implements json.Marshaler.
func (r Rate) MarshalJSON() ([]byte, error) {
	if !r.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]float64{"share": r.Share, "low": r.Low, "high": r.High, "labels": float64(r.Labels)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Rate) UnmarshalJSON(text []byte) error {
	var v *struct {
		Share, Low, High float64
		Labels           uint64
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	*r = Rate{}
	if v != nil {
		*r = Rate(*v)
	}
	return nil
}

// rateOf returns the share that part has of part and rest.
func rateOf(part, rest mass) Rate {
	all := part.plus(rest)
	if all.n == 0 {
		return Rate{}
	}
	r := Rate{Share: part.w / all.w, Labels: all.n}
	// Kish: unequal weights are worth fewer events of equal weight.
	r.Low, r.High = Wilson(r.Share, all.w*all.w/all.ww)
	return r
}

// Wilson returns the score interval at 95 % of a share seen among n.
func Wilson(share, n float64) (low, high float64) {
	zz := z95 * z95 / n
	centre := share + zz/2
	half := z95 * math.Sqrt(share*(1-share)/n+zz/(4*n))
	low, high = (centre-half)/(1+zz), (centre+half)/(1+zz)
	return min(max(low, 0), share), max(min(high, 1), share) // rounding must not leave the share outside
}

// Isotonic returns the values that never fall and lie closest to y in weighted least
// squares, by pooling adjacent violators. Weights are above 0.
func Isotonic(y, weights []float64) []float64 {
	type pool struct {
		mean, weight float64
		size         int
	}
	var pools []pool
	for i := range y {
		p := pool{y[i], weights[i], 1}
		for len(pools) > 0 && pools[len(pools)-1].mean >= p.mean {
			last := pools[len(pools)-1]
			pools = pools[:len(pools)-1]
			weight := last.weight + p.weight
			p = pool{(last.mean*last.weight + p.mean*p.weight) / weight, weight, last.size + p.size}
		}
		pools = append(pools, p)
	}
	fit := make([]float64, 0, len(y))
	for _, p := range pools {
		for range p.size {
			fit = append(fit, p.mean)
		}
	}
	return fit
}
