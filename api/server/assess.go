package server

import (
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
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
		return assessment{a, number}, nil
	}
	ev.Once = j.once
	answer := assessment{a, number}
	j.remember(func() any { return answer })
	if err := s.cfg.Engine.Assess(j.ctx, ev, a); err != nil {
		return nil, err
	}
	return answer, nil
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
