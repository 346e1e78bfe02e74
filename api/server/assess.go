package server

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// assessing is a request that was read.
type assessing struct {
	ev     *engine.Event
	number hashing.Number
	peek   bool
}

func (s *Server) readAssess(j *job, req *api.AssessmentRequest) (in assessing, err error) {
	in.peek = req.Record != nil && !*req.Record
	if in.ev, in.number, _, err = intake.Event(s.space(j.ctx).Hasher, req); err != nil {
		return in, err
	}
	return in, s.spend(j.ctx, in.ev.Subjects[hashing.Phone], in.number)
}

func (s *Server) assess(j *job, in assessing) (any, error) {
	a := new(engine.Assessment)
	answer := shape(j.ctx, assessment{a, in.number, false})
	if in.peek {
		return answer, s.space(j.ctx).Engine.Peek(j.ctx, in.ev, a)
	}
	in.ev.Once = j.once
	j.remember(func() any { return answer })
	if err := s.space(j.ctx).Engine.Assess(j.ctx, in.ev, a); err != nil {
		return nil, err
	}
	s.assessed.WithLabelValues(in.ev.Kind.String(), a.Decision.String()).Inc()
	return answer, nil
}

// assessments answers one request.
func (s *Server) assessments(c *gin.Context) {
	raw, err := body(c)
	if err == nil {
		var answer []byte
		var replayed bool
		if answer, replayed, err = s.assessBody(c, raw); err == nil {
			respond(c, answer, replayed)
			return
		}
	}
	s.refuse(c, err)
}

// assessBody is work for an assessment.
func (s *Server) assessBody(c *gin.Context, raw []byte) (answer []byte, replayed bool, err error) {
	s.turn.RLock()
	defer s.turn.RUnlock()
	j := &job{ctx: c.Request.Context()}
	in, err := decode(j, raw, s.readAssess)
	if err != nil {
		return nil, false, err
	}
	key, err := callKey(c)
	if err != nil {
		return nil, false, err
	}
	return s.assessOnce(j, c.GetString(requestID), key, c.FullPath(), raw, in)
}

// assessOnce assesses an event that was read, at most once for its key. Where the store cannot
// be asked, the answer is what the caller's key or Config.OnError says.
func (s *Server) assessOnce(j *job, id, key, route string, raw []byte, in assessing) (answer []byte, replayed bool, err error) {
	answer, replayed, err = s.once(j, key, route, raw, func() ([]byte, error) {
		answer, err := s.assess(j, in)
		if err != nil {
			return nil, err
		}
		return encode(answer), nil
	})
	onError := s.onError(j.ctx)
	if err == nil || onError == 0 || j.ctx.Err() != nil {
		return answer, replayed, err
	}
	r := explain(err)
	if r != refuseStore && r != refuseFull && r != refuseInternal {
		return nil, false, err
	}
	s.noteFailure(id, r)
	s.unasked.Inc()
	return encode(shape(j.ctx, s.instead(j.ctx, in, onError))), false, nil
}

// instead is the answer to an event without the store: what the request tells by itself.
func (s *Server) instead(ctx context.Context, in assessing, onError scoring.Decision) assessment {
	a := &engine.Assessment{Phone: in.ev.Subjects[hashing.Phone], Number: in.ev.Number}
	a.Policy, a.Version = s.space(ctx).Engine.InForce()
	a.Values = slices.Repeat([]float64{math.NaN()}, a.Policy.Slots())
	a.Decision, a.Degraded = onError, []string{storeDegraded}
	return assessment{a, in.number, true}
}

// storeDegraded is what degraded names when the store could not be asked. No signal has a dot
// in its name.
const storeDegraded = "store.unavailable"

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
