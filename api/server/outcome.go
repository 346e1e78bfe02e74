package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// maxOutcomes is how many outcomes one request has at most.
const maxOutcomes = 500

// outcomes takes one outcome or an array of them.
func (s *Server) outcomes(c *gin.Context) {
	raw, err := body(c)
	switch {
	case err != nil:
	case bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")):
		err = s.outcomeArray(c, raw)
	default:
		err = serve(s, c, raw, s.readOutcome, s.outcome)
	}
	if err != nil {
		s.refuse(c, err)
	}
}

func (s *Server) readOutcome(_ *job, req *api.OutcomeRequest) (*engine.Outcome, error) {
	id, err := record.ParseEventID(req.AssessmentID)
	kind, ok := scoring.ParseEvent(req.Outcome)
	var bad []api.FieldError
	if err != nil {
		bad = append(bad, api.FieldError{Pointer: "/assessment_id", Code: "format", Hint: "send it as it came in the answer"})
	}
	if !ok || !kind.Outcome() {
		bad = append(bad, api.FieldError{Pointer: "/outcome", Code: "unknown_value", Hint: "verified, unverified, abuse or legitimate"})
	}
	if !engine.CheckCode(req.Source) {
		bad = append(bad, api.FieldError{Pointer: "/source", Code: "format", Hint: "a short lower-case code, such as chargeback"})
	}
	if len(bad) > 0 {
		return nil, invalid(bad...)
	}
	return &engine.Outcome{Event: id, Kind: kind, Source: req.Source}, nil
}

func (s *Server) outcome(j *job, o *engine.Outcome) (any, error) {
	o.Once, o.Later = j.once, j.later
	answer := func() any { return api.OutcomeAnswer{Changed: o.Changed, Linked: o.Links.Linked, Stale: o.Stale} }
	j.remember(answer)
	if err := s.space(j.ctx).Engine.RecordOutcome(j.ctx, o); err != nil {
		return nil, err
	}
	return answer(), nil
}

// outcomeArray takes all outcomes of a request or, when a field of any is wrong, none.
// Each is recorded by itself, those of one assessment in order, and answered by itself.
func (s *Server) outcomeArray(c *gin.Context, raw []byte) error {
	texts, err := intake.Split(raw, maxOutcomes)
	if err != nil {
		return err
	}
	all := make([]*engine.Outcome, len(texts))
	var bad intake.Fields
	for i, text := range texts {
		if all[i], err = decode(&job{}, text, s.readOutcome); err != nil {
			bad = append(bad, intake.Fields(explain(err).fields).Of(i)...)
		}
	}
	if len(bad) > 0 {
		return bad
	}
	key, err := callKey(c)
	if err != nil {
		return err
	}
	answers := s.recordAll(c, all, texts, key)
	c.Data(http.StatusOK, "application/json", encode(answers))
	return nil
}

// recordAll is work for outcomes that were read. They wait together for one sync of the store.
func (s *Server) recordAll(c *gin.Context, all []*engine.Outcome, texts []json.RawMessage, key string) []json.RawMessage {
	s.turn.RLock()
	defer s.turn.RUnlock()
	ctx, id := c.Request.Context(), requestIDOf(c)
	answers, failed := make([]json.RawMessage, len(all)), make([]error, len(all))
	inOrder(len(all), func(i int) (engine.EventID, bool) { return all[i].Event, true }, func(i int) {
		itemKey := key
		if key != "" {
			itemKey += " " + strconv.Itoa(i) // no key that a caller can send holds a space
		}
		s.shielded(id, &failed[i], func() (err error) {
			answers[i], err = s.outcomeOnce(&job{ctx: ctx, later: true}, itemKey, texts[i], all[i])
			return err
		})
	})
	lost := s.space(ctx).Engine.Durable(context.WithoutCancel(ctx))
	for i := range answers {
		if failed[i] == nil {
			failed[i] = lost
		}
		answers[i] = s.oneOfMany(id, answers[i], failed[i])
	}
	return answers
}

// outcomeOnce records one outcome of an array, at most once for its key.
func (s *Server) outcomeOnce(j *job, key string, raw []byte, o *engine.Outcome) ([]byte, error) {
	text, _, err := s.once(j, key, "/v1/outcomes", raw, func() ([]byte, error) {
		answer, err := s.outcome(j, o)
		if err != nil {
			return nil, err
		}
		return encode(answer), nil
	})
	return text, err
}

// oneOfMany returns the answer to one outcome of an array.
func (s *Server) oneOfMany(id string, text []byte, err error) []byte {
	if err == nil {
		return append(append([]byte(`{"status":200,"outcome":`), bytes.TrimSpace(text)...), '}')
	}
	r := explain(err)
	s.noteFailure(id, r)
	p := r.problem(id)
	return encode(api.OutcomeResult{Status: r.status, Problem: &p})
}
