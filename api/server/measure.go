package server

import "github.com/prometheus/client_golang/prometheus"

// Measure is a metric that is read when somebody asks.
type Measure struct {
	Name, Help string
	Counter    bool // it only grows; otherwise it goes up and down
	Read       func() float64
}

func (m Measure) collector() prometheus.Collector {
	if m.Counter {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Read)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.Read)
}
