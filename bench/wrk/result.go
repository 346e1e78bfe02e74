package main

import (
	"fmt"
	"strings"
	"time"
)

// result is what wrk says of a run, and events, which is what the server says.
type result struct {
	requests, failed int64
	took             time.Duration
	p50, p90, p99    time.Duration
	events           int64
}

// parse reads the line that events.lua prints.
func parse(output string) (result, error) {
	_, line, ok := strings.Cut(output, "\nRESULT ")
	var m result
	var took, p50, p90, p99 int64
	if _, err := fmt.Sscan(line, &m.requests, &took, &m.failed, &p50, &p90, &p99); !ok || err != nil {
		return result{}, fmt.Errorf("wrk did not say what it saw:\n%s", output)
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	m.took, m.p50, m.p90, m.p99 = us(took), us(p50), us(p90), us(p99)
	return m, nil
}

func (m result) rate() float64 { return float64(m.events) / m.took.Seconds() }

// check refuses a run whose figures would not be of assessments: every request that wrk counts has to have been
// answered, and every line of it counted. The server may have counted a little more, for requests that were under way
// at the end.
func (m result) check(r row) error {
	want := m.requests * int64(max(1, r.lines))
	switch most := want + int64(r.connections*max(1, r.lines)); {
	case m.requests == 0:
		return fmt.Errorf("no request was answered")
	case m.failed > 0:
		return fmt.Errorf("%d of %d requests failed", m.failed, m.requests)
	case m.events < want || m.events > most:
		return fmt.Errorf("%d events counted, of %d that were answered", m.events, want)
	}
	return nil
}
