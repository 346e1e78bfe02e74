package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// Bounds of reports, which are made while the caller waits.
const (
	reportTime = 12 * time.Second // below writeTimeout
	reportSpan = 30 * 24 * 60 * 60
)

var (
	refuseReportBusy = &refusal{status: http.StatusTooManyRequests, code: "report-busy", title: "Another report is being made", retry: "5"}
	refuseReportLong = &refusal{status: http.StatusServiceUnavailable, code: "report-too-long", title: "The report takes too long: ask for less time, or for a backtest"}
)

// reporting is what a report is about.
type reporting struct {
	version uint32 // 0: the default of the report
	cfg     backtest.Config
}

// report answers with a report. One is made at a time.
func (s *Server) report(compose func(context.Context, *reporting) (any, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		answer, err := s.oneReport(c, compose)
		if err != nil {
			s.refuse(c, err)
			return
		}
		c.Data(http.StatusOK, "application/json", encode(answer))
	}
}

func (s *Server) oneReport(c *gin.Context, compose func(context.Context, *reporting) (any, error)) (any, error) {
	r, err := s.readReport(c)
	if err != nil {
		return nil, err
	}
	select {
	case s.reports <- struct{}{}:
		defer func() { <-s.reports }()
	default:
		return nil, refuseReportBusy
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), reportTime)
	defer cancel()
	answer, err := compose(ctx, r)
	if errors.Is(err, context.DeadlineExceeded) {
		err = refuseReportLong
	}
	return answer, err
}

func (s *Server) readReport(c *gin.Context) (*reporting, error) {
	e := s.space(c.Request.Context()).Engine
	r := &reporting{cfg: s.configOf(e, nil)}
	var bad, wrong intake.Fields
	if text := c.Query("version"); text != "" {
		var err error
		if r.version, err = version(text); err != nil {
			bad = append(bad, api.FieldError{Pointer: "/version", Code: "format", Hint: "the number of a version"})
		}
	}
	if r.cfg.From, wrong = readTime("/from", c.Query("from")); wrong != nil {
		bad = append(bad, wrong...)
	}
	if r.cfg.To, wrong = readTime("/to", c.Query("to")); wrong != nil {
		bad = append(bad, wrong...)
	}
	if text := c.Query("maturity_seconds"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > maxMaturity {
			bad = append(bad, api.FieldError{Pointer: "/maturity_seconds", Code: "range", Hint: "0 to 31536000"})
		}
		r.cfg.Maturity = time.Duration(n) * time.Second
	}
	r.cfg.AsOf = e.Now()
	r.cfg.To = cmp.Or(r.cfg.To, r.cfg.AsOf+1)
	r.cfg.From = cmp.Or(r.cfg.From, r.cfg.To-reportSpan)
	if r.cfg.From >= r.cfg.To {
		bad = append(bad, api.FieldError{Pointer: "/from", Code: "range", Hint: "before to"})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	r.cfg.Log = logOf(e, r.cfg.From)
	return r, nil
}

// shadowReport says what policies in shadow would have decided otherwise.
func (s *Server) shadowReport(ctx context.Context, r *reporting) (any, error) {
	state, err := s.space(ctx).Engine.PolicyState(ctx)
	if err != nil {
		return nil, err
	}
	versions := state.Shadows
	if r.version != 0 {
		versions = []uint32{r.version}
	}
	all := []backtest.Shadow{}
	if len(versions) > 0 {
		if all, err = backtest.Shadows(ctx, r.cfg, versions); err != nil {
			return nil, err
		}
	}
	return &api.ShadowReport{From: timeText(r.cfg.From), To: timeText(r.cfg.To), Live: state.Live, Shadows: encode(all)}, nil
}

// rescored judges a version on a part of the log.
func (s *Server) rescored(ctx context.Context, r *reporting) (*backtest.Result, *api.PolicyReport, error) {
	e := s.space(ctx).Engine
	policy, live := e.Live()
	r.version = cmp.Or(r.version, live)
	if r.version != live {
		v, err := e.PolicyVersion(ctx, r.version)
		if err != nil {
			return nil, nil, err
		}
		if policy, err = scoring.Compile(v.Source); err != nil {
			return nil, nil, err
		}
	}
	r.cfg.Policy = policy
	result, err := backtest.Rescore(ctx, r.cfg)
	if err != nil {
		return nil, nil, err
	}
	_, after := e.Live()
	return result, &api.PolicyReport{
		From: timeText(r.cfg.From), To: timeText(r.cfg.To), Version: r.version, Digest: result.Digest, Stale: after != live,
		Events: result.Events, States: result.States, Abuse: result.Abuse, Legitimate: result.Legitimate,
	}, nil
}

func (s *Server) reasonsReport(ctx context.Context, r *reporting) (any, error) {
	result, report, err := s.rescored(ctx, r)
	if err == nil {
		report.Reasons = encode(append([]backtest.ReasonRow{}, result.Reasons...))
	}
	return report, err
}

func (s *Server) calibrationReport(ctx context.Context, r *reporting) (any, error) {
	result, report, err := s.rescored(ctx, r)
	if err != nil {
		return nil, err
	}
	report.Calibration = encode(append([]backtest.Calibrated{}, result.Calibration...))
	stored, err := s.space(ctx).Engine.Calibration(ctx, r.version)
	report.Stored = wireCalibration(stored)
	return report, err
}

// shadowCounts tells the metrics what policies in shadow say. Only those that run have series.
type shadowCounts map[string]*Space // by name of the domain

var shadowDesc = prometheus.NewDesc("ringfence_shadow_decisions_total",
	"Events that a policy in shadow judged, by domain, its version, what was decided and what it would have decided.", []string{"domain", "version", "decision", "shadow"}, nil)

// Describe implements prometheus.Collector.
func (shadowCounts) Describe(ch chan<- *prometheus.Desc) { ch <- shadowDesc }

// Collect implements prometheus.Collector.
func (s shadowCounts) Collect(ch chan<- prometheus.Metric) {
	for domain, space := range s {
		for _, c := range space.Engine.ShadowCounts() {
			ch <- prometheus.MustNewConstMetric(shadowDesc, prometheus.CounterValue, float64(c.Events),
				domain, strconv.FormatUint(uint64(c.Version), 10), c.From.String(), c.To.String())
		}
	}
}
