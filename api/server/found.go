package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringfence/ringfence/scoring"
)

// found are metrics that were found by their labels before: that takes as long as to decode a request.
type found struct {
	routes      sync.Map // from path to *routeMetrics
	assessments [scoring.Events][scoring.Block + 1]prometheus.Counter
}

// routeMetrics are those that a request to a route nearly always counts in.
type routeMetrics struct {
	seconds prometheus.Observer
	ok      prometheus.Counter
}

// countRequest counts a request that was answered.
func (s *Server) countRequest(path string, status int, took time.Duration) {
	known, ok := s.found.routes.Load(path)
	if !ok {
		known, _ = s.found.routes.LoadOrStore(path, &routeMetrics{
			s.seconds.WithLabelValues(path), s.requests.WithLabelValues(path, strconv.Itoa(http.StatusOK)),
		})
	}
	m := known.(*routeMetrics) //nolint:forcetypeassert // nothing else is stored
	m.seconds.Observe(took.Seconds())
	if status == http.StatusOK {
		m.ok.Inc()
		return
	}
	s.requests.WithLabelValues(path, strconv.Itoa(status)).Inc()
}

// findAssessments has every series of assessments there from the beginning, so that the first of a kind is seen as a rise.
func (s *Server) findAssessments() {
	for event := scoring.Event(1); !event.Outcome(); event++ {
		for decision := scoring.Allow; decision <= scoring.Block; decision++ {
			s.found.assessments[event][decision] = s.assessed.WithLabelValues(event.String(), decision.String())
		}
	}
}

// countAssessment counts an assessment that was recorded.
func (s *Server) countAssessment(event scoring.Event, decision scoring.Decision) {
	s.found.assessments[event][decision].Inc()
}
