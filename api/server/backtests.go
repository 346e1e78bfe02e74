package server

import (
	"cmp"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// startBacktest takes a backtest on and says where to ask for it.
func (s *Server) startBacktest(c *gin.Context) {
	b, err := s.takeBacktest(c)
	if err == nil {
		b, err = s.jobs.start(b)
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	answer, err := s.jobs.look(b.space, b.id, false)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Header("Location", "/v1/backtests/"+b.id)
	c.Data(http.StatusAccepted, "application/json", encode(answer))
}

func (s *Server) takeBacktest(c *gin.Context) (*backtestJob, error) {
	raw, err := body(c)
	if err != nil {
		return nil, err
	}
	b, err := decode(&job{ctx: c.Request.Context()}, raw, s.readBacktest)
	if err != nil {
		return nil, err
	}
	b.key, err = callKey(c)
	return b, err
}

// readBacktest reads what to try on what.
func (s *Server) readBacktest(j *job, req *api.BacktestRequest) (*backtestJob, error) {
	b := &backtestJob{space: s.space(j.ctx), mode: cmp.Or(req.Mode, "rescore"), version: req.Version}
	var bad intake.Fields
	if b.mode != "rescore" && b.mode != "replay" {
		bad = append(bad, api.FieldError{Pointer: "/mode", Code: "unknown_value", Hint: "rescore or replay"})
	}
	if req.Version != 0 && req.Source != "" {
		bad = append(bad, api.FieldError{Pointer: "/source", Code: "exclusive", Hint: "either version or source"})
	}
	if req.Maturity < 0 || req.Maturity > maxMaturity {
		bad = append(bad, api.FieldError{Pointer: "/maturity_seconds", Code: "range", Hint: "0 to 31536000"})
	}
	if req.Examples < 0 || req.Examples > maxExamples {
		bad = append(bad, api.FieldError{Pointer: "/examples", Code: "range", Hint: "0 to 100"})
	}
	if !backtest.Priceable(req.CostFP, req.CostFN) {
		pointer := "/cost_fp"
		if req.CostFP > 0 && req.CostFP <= backtest.MaxCost {
			pointer = "/cost_fn"
		}
		bad = append(bad, api.FieldError{Pointer: pointer, Code: "range", Hint: "cost_fp and cost_fn, both above 0 and up to 1e12, or neither"})
	}
	policy, err := s.tried(j, req, b)
	if err != nil {
		r := explain(err)
		if r.fields == nil {
			return nil, err
		}
		bad = append(bad, r.fields...)
	}
	b.cfg = s.configOf(b.space.Engine, policy)
	for _, t := range []struct {
		pointer, text string
		into          *int64
	}{{"/from", req.From, &b.cfg.From}, {"/to", req.To, &b.cfg.To}, {"/as_of", req.AsOf, &b.cfg.AsOf}} {
		var wrong intake.Fields
		*t.into, wrong = readTime(t.pointer, t.text)
		bad = append(bad, wrong...)
	}
	if len(bad) > 0 {
		return nil, bad
	}
	b.digest = scoring.DigestOf(policy.Source())
	b.cfg.AsOf = cmp.Or(b.cfg.AsOf, b.space.Engine.Now())
	b.costFP, b.costFN = req.CostFP, req.CostFN
	b.cfg.Maturity, b.cfg.Seed, b.cfg.Examples = time.Duration(req.Maturity)*time.Second, req.Seed, req.Examples
	if b.mode == "rescore" { // a replay counts from the beginning
		b.cfg.Log = logOf(b.space.Engine, b.cfg.From)
	}
	return b, nil
}

// maxMaturity is a year in seconds.
const maxMaturity = 365 * 24 * 60 * 60

// tried returns the policy to try.
func (s *Server) tried(j *job, req *api.BacktestRequest, b *backtestJob) (*scoring.Policy, error) {
	live, version := b.space.Engine.Live()
	b.live = version
	if req.Source != "" {
		return scoring.Compile([]byte(req.Source))
	}
	if req.Version == 0 || req.Version == version {
		b.version = version
		return live, nil
	}
	v, err := b.space.Engine.PolicyVersion(j.ctx, req.Version)
	if err != nil {
		return nil, err
	}
	return scoring.Compile(v.Source)
}

func (s *Server) backtest(c *gin.Context) { s.lookAt(c, false) }

func (s *Server) cancelBacktest(c *gin.Context) { s.lookAt(c, true) }

func (s *Server) lookAt(c *gin.Context, cancel bool) {
	answer, err := s.jobs.look(s.space(c.Request.Context()), c.Param("id"), cancel)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(answer))
}
