package server

import (
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// assessing is a request that was read.
type assessing struct {
	ev     *engine.Event
	number hashing.Number
	peek   bool
}

func (s *Server) readAssess(_ *job, req *api.AssessmentRequest) (in assessing, err error) {
	in.peek = req.Record != nil && !*req.Record
	in.ev, in.number, _, err = intake.Event(s.cfg.Hasher, req)
	return in, err
}

func (s *Server) assess(j *job, in assessing) (any, error) {
	answer := assessment{new(engine.Assessment), in.number}
	if in.peek {
		return answer, s.cfg.Engine.Peek(j.ctx, in.ev, answer.Assessment)
	}
	in.ev.Once = j.once
	j.remember(func() any { return answer })
	return answer, s.cfg.Engine.Assess(j.ctx, in.ev, answer.Assessment)
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
