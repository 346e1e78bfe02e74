package server

import (
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// logged answers with one assessment of the log.
func (s *Server) logged(c *gin.Context) {
	id, err := record.ParseEventID(c.Param("id"))
	if err != nil {
		s.refuse(c, engine.ErrUnknownEvent)
		return
	}
	l, err := s.space(c.Request.Context()).Engine.Logged(c.Request.Context(), id)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(wireLogged(l)))
}

func wireLogged(l *engine.Logged) *api.LoggedAssessment {
	out := &api.LoggedAssessment{
		AssessmentID: l.ID.String(), Event: l.Kind.String(), OccurredAt: timeText(l.Time),
		RecordedAt: l.ID.Recorded().Format(time.RFC3339), PhoneToken: l.Subjects[hashing.Phone].Token(),
		Given: []string{}, Verified: l.Verified, Linked: l.Claimed,
		Decision: l.Verdict.String(), Score: l.Score, Reasons: waterfall(l.Scored.Reasons),
		PublicMessage: scoring.PublicMessage(l.Verdict), Signals: map[string]float64{},
		Policy: api.Policy{Name: l.Policy.Name(), Version: l.Entry.Policy}, Holdout: l.Holdout,
		Degraded: append([]string{}, l.Scored.Degraded...), Outcomes: []api.LoggedOutcome{},
	}
	for _, subject := range l.Subjects {
		if subject.Given() {
			out.Given = append(out.Given, subject.Kind.String())
		}
	}
	for i, signal := range l.Policy.Signals() {
		if v := l.Values[scoring.SlotSignals+i]; !math.IsNaN(v) {
			out.Signals[signal.Name] = v
		}
	}
	if l.Given {
		out.Number = wireNumber(l.Values)
	}
	for _, s := range l.Shadows {
		out.Shadow = append(out.Shadow, api.ShadowDecision{Version: s.Policy, Score: s.Score, Decision: s.Decision.String()})
	}
	for _, o := range l.Outcomes() {
		out.Outcomes = append(out.Outcomes, api.LoggedOutcome{Outcome: o.Kind.String(), Source: o.Source, OccurredAt: timeText(o.Time)})
	}
	return out
}

// waterfall adds the points up on the way.
func waterfall(reasons []scoring.Reason) []api.Step {
	steps := []api.Step{}
	total := 0
	for _, r := range reasons {
		total += r.Points
		steps = append(steps, api.Step{Total: total, Reason: api.Reason{
			Code: r.Code, Points: r.Points, Observed: known(r.Observed), Limit: known(r.Limit), Window: scoring.FormatWindow(r.Window),
		}})
	}
	return steps
}

// known returns nil for an unknown value.
func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// wireNumber is what the values of an event tell of its number.
func wireNumber(values []float64) *api.Number {
	kind := scoring.TypeName(values[scoring.SlotNumberType])
	return &api.Number{
		Valid: values[scoring.SlotNumberValid] == 1, Region: scoring.RegionName(values[scoring.SlotNumberRegion]), Type: kind,
		CanReceiveSMS: kind == "mobile" || kind == "fixed_line_or_mobile",
	}
}
