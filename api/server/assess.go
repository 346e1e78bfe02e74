package server

import (
	"math"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

func (s *Server) assess(j *job, req *api.AssessmentRequest) (any, error) {
	ev, number, _, err := intake.Event(s.cfg.Hasher, req)
	if err != nil {
		return nil, err
	}
	a := new(engine.Assessment)
	if req.Record != nil && !*req.Record {
		if err := s.cfg.Engine.Peek(j.ctx, ev, a); err != nil {
			return nil, err
		}
		return wireAssessment(a, number), nil
	}
	ev.Once = j.once
	j.remember(func() any { return wireAssessment(a, number) })
	if err := s.cfg.Engine.Assess(j.ctx, ev, a); err != nil {
		return nil, err
	}
	return wireAssessment(a, number), nil
}

func wireAssessment(a *engine.Assessment, number hashing.Number) *api.Assessment {
	out := &api.Assessment{
		PhoneToken: a.Phone.Token(), Decision: a.Decision.String(), Score: a.Score,
		Reasons: []api.Reason{}, PublicMessage: scoring.PublicMessage(a.Decision), Signals: map[string]float64{},
		FirstSeen: timeText(a.FirstSeen), Policy: api.Policy{Name: a.Policy.Name(), Version: a.Version},
		Holdout: a.Holdout, Degraded: append([]string{}, a.Degraded...),
	}
	if a.ID.Given() {
		out.AssessmentID = a.ID.String()
	}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, api.Reason{
			Code: r.Code, Points: r.Points, Observed: known64(r.Observed), Limit: known64(r.Limit), Window: scoring.FormatWindow(r.Window),
		})
	}
	for i, signal := range a.Policy.Signals() {
		if v := a.Values[scoring.SlotSignals+i]; !math.IsNaN(v) {
			out.Signals[signal.Name] = v
		}
	}
	if a.Number.Given {
		out.Number = &api.Number{Valid: a.Number.Valid, Region: a.Number.Region, Type: a.Number.Type, CanReceiveSMS: number.CanReceiveSMS()}
	}
	if a.Phone.Given() {
		accounts := wireAccounts(a.Links, a.MaxLinks)
		out.Accounts = &accounts
	}
	return out
}

// known64 leaves an unknown value out of an answer.
func known64(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func wireAccounts(l engine.Links, most int) api.Accounts {
	out := api.Accounts{Verified: l.Count, Linked: l.Linked}
	if most > 0 {
		left := max(most-l.Count, 0)
		out.Max, out.Remaining = &most, &left
	}
	return out
}

// timeText writes unix seconds, "" for 0.
func timeText(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}
