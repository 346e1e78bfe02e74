package server

import "github.com/prometheus/client_golang/prometheus"

// Measure is a metric that is read when somebody asks.
type Measure struct {
	Name, Help string
	Counter    bool // it only grows; otherwise it goes up and down
	Read       func() float64

	// A gauge with a label has ReadEach in place of Read: its values by that of the label.
	Label    string
	ReadEach func() map[string]float64
}

// each is a gauge with a label.
type each struct {
	desc *prometheus.Desc
	read func() map[string]float64
}

// Describe implements prometheus.Collector.
func (e each) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e each) Collect(ch chan<- prometheus.Metric) {
	for value, n := range e.read() {
		ch <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, n, value)
	}
}

func (m Measure) collector() prometheus.Collector {
	if m.Label != "" {
		return each{prometheus.NewDesc(m.Name, m.Help, []string{m.Label}, nil), m.ReadEach}
	}
	if m.Counter {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Read)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.Read)
}
