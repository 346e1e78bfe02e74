package server

import (
	"context"
	"math"
	"slices"
	"sync"
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

// sheet is what an assessment is written on: its answer is valid until another one is written there.
type sheet struct {
	engine.Assessment
	text []byte
}

var sheets = sync.Pool{New: func() any { return &sheet{text: make([]byte, 0, 2<<10)} }}

func newSheet() *sheet { return sheets.Get().(*sheet) } //nolint:forcetypeassert // the pool holds nothing else

// done gives a sheet away to others.
func (p *sheet) done() { sheets.Put(p) }

func (p *sheet) write(answer appender) []byte {
	p.text = append(answer.appendJSON(p.text[:0]), '\n')
	return p.text
}

func (s *Server) assess(j *job, on *sheet, in assessing) ([]byte, error) {
	a := &on.Assessment
	answer := shape(j.ctx, assessment{a, in.number, false})
	in.ev.Later = j.later
	if in.peek {
		if err := s.space(j.ctx).Engine.Peek(j.ctx, in.ev, a); err != nil {
			return nil, err
		}
		return on.write(answer), nil
	}
	if in.ev.Once = j.once; j.once != nil { // without one, no function is made that nobody calls
		j.remember(func() any { return answer })
	}
	if err := s.space(j.ctx).Engine.Assess(j.ctx, in.ev, a); err != nil {
		return nil, err
	}
	s.countAssessment(in.ev.Kind, a.Decision)
	return on.write(answer), nil
}

// assessments answers one request.
func (s *Server) assessments(c *gin.Context) {
	raw, err := body(c)
	if err == nil {
		on := newSheet()
		defer on.done()
		var answer []byte
		var replayed bool
		if answer, replayed, err = s.assessBody(c, on, raw); err == nil {
			respond(c, answer, replayed)
			return
		}
	}
	s.refuse(c, err)
}

// assessBody is work for an assessment.
func (s *Server) assessBody(c *gin.Context, on *sheet, raw []byte) (answer []byte, replayed bool, err error) {
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
	if answer, replayed, err = s.assessOnce(j, on, key, c.FullPath(), raw, in); err != nil {
		answer, err = s.fallBack(j.ctx, on, requestIDOf(c), in, err)
		replayed = false
	}
	return answer, replayed, err
}

// assessOnce assesses an event that was read, at most once for its key. The answer is valid as long as the sheet is.
func (s *Server) assessOnce(j *job, on *sheet, key, route string, raw []byte, in assessing) (answer []byte, replayed bool, err error) {
	return s.once(j, key, route, raw, func() ([]byte, error) { return s.assess(j, on, in) })
}

// fallBack returns what the caller's key or Config.OnError says where the store could not be asked, or why there is no answer.
func (s *Server) fallBack(ctx context.Context, on *sheet, id string, in assessing, why error) ([]byte, error) {
	onError := s.onError(ctx)
	if onError == 0 || ctx.Err() != nil {
		return nil, why
	}
	r := explain(why)
	if r != refuseStore && r != refuseFull && r != refuseInternal {
		return nil, why
	}
	s.noteFailure(id, r)
	s.unasked.Inc()
	return on.write(shape(ctx, s.instead(ctx, in, onError))), nil
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
	return string(appendTime(nil, unix))
}

func appendTime(b []byte, unix int64) []byte {
	return time.Unix(unix, 0).UTC().AppendFormat(b, time.RFC3339)
}
