// Package server serves ringfence over HTTP. It is the only package that
// imports gin.
//
// New takes an engine and a hasher; Serve answers on a listener until its context
// ends, and then finishes what is under way. A phone number gets no further than the
// function that hashes it: not into an error, a log line, a metric or a URL.
package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Limits of a request.
const (
	maxBody       = 64 << 10
	maxPolicyBody = 1 << 20 // of calls that take policies, of which the longest has 256 KiB before it is quoted
	maxHeader     = 16 << 10
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second
	idleTimeout   = 60 * time.Second
	drainTimeout  = 20 * time.Second
)

// Config is everything a Server needs.
type Config struct {
	Engine *engine.Engine
	Hasher *hashing.Hasher
	Log    *slog.Logger // access log (at level info), failures and panics; nothing in it identifies anybody

	// OnError is what an assessment decides when the store cannot be asked: Allow or
	// Challenge. Its answer has no id, and degraded names store.unavailable; the event may or may not
	// have been counted. 0 refuses such assessments with 503, as all other calls are.
	OnError scoring.Decision

	// Keys are those of callers. Nil, or a ring without a file, lets anybody ask anything.
	Keys *access.Ring

	// Domain is the name of the domain that Engine and Hasher are of. Default: hashing.DefaultDomain. It is that of everybody
	// where nobody needs a key.
	Domain string

	// Domains are the further domains that are served, by name: a caller's key says of which one it is. Keys of any other
	// are refused.
	Domains map[string]Space

	// Audit is where it is written who changed what. It may be nil.
	Audit *audit.Log

	// TLS is what Serve speaks TLS with; nil is plain HTTP.
	TLS *tls.Config

	// LateEvents returns how many events were too old for any window, for the
	// metrics. It may be nil.
	LateEvents func() uint64

	// Trace begins a span for a request and returns what ends it: see package tracing. It may be nil.
	Trace func(ctx context.Context, traceparent, method, route string) (context.Context, func(status int))

	// MaxChanges is how many requests that change something are worked on at a time, at most: fewer, down to 16, when more have come and
	// make one another wait. Those beyond wait for up to 25 ms for a place, and are otherwise refused, half a second after they
	// came, with 503 and Retry-After. Streams of lines bound themselves; a quarter as many, and at least one, may be
	// open. Default DefaultMaxChanges.
	MaxChanges int

	// Unready returns why no events should be sent here, "" when they should. It may be nil.
	Unready func() string

	// Version of the program, for the metric ringfence_build_info.
	Version string

	// Measures are further metrics.
	Measures []Measure

	// SubjectKeys are the keys of the domain that Engine and Hasher are of, for GET /v1/privacy. They may be nil.
	SubjectKeys []hashing.DomainKey

	// Retention is how long what is kept, for GET /v1/privacy.
	Retention engine.Retention

	// KeyUse returns how many subjects have a record under each key, and when they were counted; nil when they were
	// not. It may be nil.
	KeyUse func() (map[hashing.KeyID]uint64, time.Time)

	// Stalls returns how many calls had to wait until the store had written what lay in
	// memory, for the metrics. It may be nil.
	Stalls func() uint64
}

// Space is what a domain is served with. Two domains share nothing but the store.
type Space struct {
	Engine *engine.Engine
	Hasher *hashing.Hasher
	Keys   []hashing.DomainKey // for GET /v1/privacy
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	cfg      Config
	spaces   atomic.Pointer[map[string]*Space] // by name of the domain; replaced by Rekey
	turn     sync.RWMutex                      // held for reading from where a request makes subjects until they are worked on, for writing by Rekey
	handler  http.Handler
	draining atomic.Bool
	underWay atomic.Int64 // requests that are being answered
	streams  *places      // of streams of lines
	gate     *gate        // that those of them pass that may change something, batches apart
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lines    *prometheus.CounterVec
	unasked  prometheus.Counter
	assessed *prometheus.CounterVec
	found    found // of requests, seconds and assessed
	guardMetrics

	jobs    *jobs
	reports chan struct{} // holds one while a report is being made

	// Tests are less patient.
	headerTimeout time.Duration // for the head of a request to come
	lineTimeout   time.Duration // for a line of a stream to come
	lingering     time.Duration // behind the end of a stream
	writeTimeout  time.Duration // for an answer to be taken
	maxBatch      int           // lines
}

// New returns a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Engine == nil || cfg.Hasher == nil || cfg.Log == nil {
		return nil, errors.New("server: Config needs an Engine, a Hasher and a Log")
	}
	switch cfg.OnError {
	case 0, scoring.Allow, scoring.Challenge:
	default:
		return nil, errors.New("server: OnError is Allow, Challenge or 0")
	}
	if cfg.Domain == "" {
		cfg.Domain = hashing.DefaultDomain
	}
	if cfg.MaxChanges <= 0 {
		cfg.MaxChanges = DefaultMaxChanges
	}
	s := &Server{
		cfg:           cfg,
		jobs:          newJobs(),
		reports:       make(chan struct{}, 1),
		streams:       newPlaces(max(cfg.MaxChanges/4, 1)),
		gate:          newGate(cfg.MaxChanges, time.Now, newRunQueue().lag),
		guardMetrics:  newGuardMetrics(),
		headerTimeout: headerTimeout,
		lineTimeout:   readTimeout,
		lingering:     lingering,
		writeTimeout:  writeTimeout,
		maxBatch:      maxBatch,
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringfence_stream_lines_total", Help: "Lines of NDJSON answered, by route and status.",
		}, []string{"route", "status"}),
		assessed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringfence_assessments_total", Help: "Assessments counted, by event and decision.",
		}, []string{"event", "decision"}),
		unasked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ringfence_on_error_assessments_total", Help: "Assessments decided without the store, since it could not be asked.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringfence_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ringfence_http_request_duration_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"route"}),
	}
	s.findAssessments()
	spaces := map[string]*Space{cfg.Domain: {cfg.Engine, cfg.Hasher, cfg.SubjectKeys}}
	for name, space := range cfg.Domains {
		if spaces[name] != nil || space.Engine == nil || space.Hasher == nil {
			return nil, errors.New("server: every domain of Config needs a name, an Engine and a Hasher of its own")
		}
		spaces[name] = &space
	}
	s.spaces.Store(&spaces)
	underWay := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringfence_http_requests_in_flight", Help: "Requests that are being answered.",
	}, func() float64 { return float64(s.requestsUnderWay()) })
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringfence_build_info", Help: "1, with the version of the program and of Go.",
		ConstLabels: prometheus.Labels{"version": cmp.Or(cfg.Version, "unknown"), "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	registry := prometheus.NewRegistry()
	registry.MustRegister(shadowCounts(spaces), build, underWay, s.requests, s.seconds, s.lines, s.unasked, s.assessed, s.denied, s.inRow, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range []struct {
		name, help string
		count      func() uint64
	}{
		{"ringfence_late_events_total", "Events that were too old for any window and entered only totals.", cfg.LateEvents},
		{"ringfence_store_stalls_total", "Calls that had to wait until the store had written what lay in memory.", cfg.Stalls},
	} {
		if c.count != nil {
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, func() float64 { return float64(c.count()) }))
		}
	}
	for _, m := range append(s.gate.measures(), cfg.Measures...) {
		registry.MustRegister(m.collector())
	}
	if err := checkRoutes(s.routes()); err != nil {
		return nil, err
	}
	s.handler = s.router(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return s, nil
}

// requestsUnderWay returns how many requests are being answered.
func (s *Server) requestsUnderWay() int64 { return s.underWay.Load() }

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler { return s.handler }

// route is one call: who may make it, and what it does, as the audit calls it; "" for what
// changes nothing that an admin would have to answer for.
type route struct {
	method, path string
	scope        access.Scope
	did          string
	handle       gin.HandlerFunc
}

func (s *Server) routes() []route {
	return []route{
		{http.MethodPost, "/v1/assessments", access.Assess, "", s.assessments},
		{http.MethodPost, batchRoute, access.Assess, "", s.batch},
		{http.MethodGet, "/v1/assessments/:id", access.Read, "", s.logged},
		{http.MethodPost, "/v1/outcomes", access.Outcome, "", s.outcomes},
		{http.MethodPost, "/v1/links/check", access.Assess, "", call(s, s.readLink, s.checkLink)},
		{http.MethodPost, "/v1/links/unlink", access.Outcome, "links.unlink", call(s, s.readLink, s.unlink)},
		{http.MethodPost, "/v1/numbers/lookup", access.Read, "", call(s, s.readPhone, s.lookup)},
		{http.MethodPost, "/v1/numbers/release", access.Outcome, "numbers.release", call(s, s.readPhone, s.release)},
		{http.MethodPost, "/v1/numbers/erase", access.Admin, "numbers.erase", call(s, s.readErase, s.erase)},
		{http.MethodGet, "/v1/lists", access.Tune, "", s.lists},
		{http.MethodGet, entriesRoute, access.Tune, "", s.listEntries},
		{http.MethodPost, entriesRoute, access.Tune, "lists.add", s.addEntries},
		{http.MethodDelete, entriesRoute, access.Tune, "lists.remove", s.removeEntry},
		{http.MethodGet, "/v1/policies", access.Tune, "", s.policies},
		{http.MethodPost, "/v1/policies", access.Tune, "policies.add", call(s, s.readPolicy, s.addPolicy)},
		{http.MethodPost, "/v1/policies/validate", access.Tune, "", call(s, s.readCheck, s.checkPolicy)},
		{http.MethodGet, "/v1/policies/:version", access.Tune, "", s.policy},
		{http.MethodPost, "/v1/policies/:version/publish", access.Tune, "policies.publish", call(s, s.readRollout, s.publish)},
		{http.MethodPost, "/v1/policies/:version/rollback", access.Tune, "policies.rollback", call(s, s.readRollout, s.rollBack)},
		{http.MethodPost, "/v1/policies/:version/shadow", access.Tune, "policies.shadow", call(s, s.readShadow, s.shadow)},
		{http.MethodPost, "/v1/policies/:version/calibration", access.Tune, "policies.calibrate", call(s, s.readCalibration, s.calibrate)},
		{http.MethodPost, "/v1/backtests", access.Tune, "", s.startBacktest},
		{http.MethodGet, "/v1/backtests/:id", access.Tune, "", s.backtest},
		{http.MethodDelete, "/v1/backtests/:id", access.Tune, "", s.cancelBacktest},
		{http.MethodGet, "/v1/reports/shadow", access.Tune, "", s.report(s.shadowReport)},
		{http.MethodGet, "/v1/reports/reasons", access.Tune, "", s.report(s.reasonsReport)},
		{http.MethodGet, "/v1/reports/calibration", access.Tune, "", s.report(s.calibrationReport)},
		{http.MethodGet, "/v1/privacy", access.Read, "", s.privacy},
	}
}

func (s *Server) router(metrics http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.HandleMethodNotAllowed = true
	g.RedirectTrailingSlash = false // Gin would answer by itself, with what was asked for in the answer
	_ = g.SetTrustedProxies(nil)    // trusts nobody; cannot fail
	g.Use(s.observe, s.bound)
	for _, r := range s.routes() {
		g.Handle(r.method, r.path, s.guard(r), r.handle)
	}
	g.GET("/livez", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	g.GET("/readyz", s.ready)
	g.GET("/metrics", gin.WrapH(metrics))
	g.GET("/openapi.yaml", func(c *gin.Context) { c.Data(http.StatusOK, "application/yaml", api.OpenAPI()) })
	g.NoRoute(func(c *gin.Context) { s.refuse(c, refuseRoute) })
	g.NoMethod(func(c *gin.Context) { s.refuse(c, refuseMethod) })
	return g
}

func (s *Server) ready(c *gin.Context) {
	if s.draining.Load() {
		c.String(http.StatusServiceUnavailable, "draining\n")
		return
	}
	if s.cfg.Unready != nil {
		if why := s.cfg.Unready(); why != "" {
			c.String(http.StatusServiceUnavailable, why+"\n")
			return
		}
	}
	c.String(http.StatusOK, "ready\n")
}

// protective are headers that every answer has. Their values are shared, so nobody may change them.
var protective = []struct {
	name  string
	value []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Cache-Control", []string{"no-store"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	{"Referrer-Policy", []string{"no-referrer"}},
}

// arrival is what is known of every request from the beginning.
type arrival struct {
	id     string
	ticket ticket
}

const arrivalKey = "arrival"

// arrivalOf returns what observe noted of a request.
func arrivalOf(c *gin.Context) *arrival { return c.MustGet(arrivalKey).(*arrival) } //nolint:forcetypeassert // nothing else is under that key

// requestIDOf returns the id of a request.
func requestIDOf(c *gin.Context) string { return arrivalOf(c).id }

// observe gives every request an id, logs and counts it by its route, and
// answers for a handler that panics.
func (s *Server) observe(c *gin.Context) {
	began := time.Now()
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	id := rand.Text()
	c.Set(arrivalKey, &arrival{id: id})
	c.Header("X-Request-Id", id)
	s.protect(c)
	path := cmp.Or(c.FullPath(), "unmatched")
	end := s.trace(c, path)
	defer func() {
		if recover() != nil {
			s.cfg.Log.Error("a handler panicked", "request_id", id, "at", callers())
			s.refuse(c, refuseInternal)
		}
		took := time.Since(began)
		status := c.Writer.Status()
		s.countRequest(path, status, took)
		if s.cfg.Log.Enabled(c.Request.Context(), slog.LevelInfo) {
			s.cfg.Log.Info("request", "method", methodName(c.Request.Method), "route", path, "status", status,
				"duration_ms", float64(took.Microseconds())/1000, "bytes", c.Writer.Size(), "request_id", id, "trace_id", traceIDOf(c.GetHeader(traceparent)))
		}
		end(status)
	}()
	c.Next()
}

const traceparent = "traceparent"

// trace begins the span of a request, and returns what ends it.
func (s *Server) trace(c *gin.Context, route string) (end func(status int)) {
	if s.cfg.Trace == nil {
		return func(int) {}
	}
	parent := c.GetHeader(traceparent)
	if traceIDOf(parent) == "" {
		parent = ""
	}
	ctx, end := s.cfg.Trace(c.Request.Context(), parent, methodName(c.Request.Method), route)
	c.Request = c.Request.WithContext(ctx)
	return end
}

// protect keeps answers out of caches and of other sites' pages, whatever a browser takes them for.
func (s *Server) protect(c *gin.Context) {
	h := c.Writer.Header()
	for _, p := range protective {
		h[p.name] = p.value
	}
	if s.cfg.TLS != nil {
		c.Header("Strict-Transport-Security", "max-age=31536000")
	}
}

// methodName keeps what a caller made up out of the log.
func methodName(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPatch, http.MethodOptions:
		return m
	}
	return "other"
}

// callers returns where a panic came from, functions only: the values that a
// traceback prints may be a number's.
func callers() []string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc)])
	var names []string
	for {
		f, more := frames.Next()
		names = append(names, f.Function)
		if !more {
			return names
		}
	}
}

// refuse answers with a problem.
func (s *Server) refuse(c *gin.Context, err error) {
	r := explain(err)
	if errors.Is(err, context.Canceled) && c.Request.Context().Err() != nil {
		r = refuseGone // and the store is well
	}
	s.noteFailure(requestIDOf(c), r)
	if r.retry != "" {
		c.Header("Retry-After", r.retry)
	}
	tell(c, r.status, "application/problem+json", encode(r.problem(requestIDOf(c))))
	c.Abort()
}

// tell writes an answer whose length is said ahead: it is whole when it is flushed, whatever the handler does then.
func tell(c *gin.Context, status int, contentType string, b []byte) {
	c.Header("Content-Type", contentType)
	c.Header("Content-Length", strconv.Itoa(len(b)))
	c.Data(status, contentType, b)
}

// noteFailure logs what is no fault of the caller's.
func (s *Server) noteFailure(id string, r *refusal) {
	if r == refuseInternal || r == refuseStore {
		s.cfg.Log.Error("request failed", "request_id", id, "problem", r.code)
	}
}

// Serve answers on a listener until ctx ends. Then it turns unready, takes no
// new connection, finishes the requests under way, and returns nil when all
// were answered.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: s.headerTimeout,
		ReadTimeout: readTimeout, WriteTimeout: s.writeTimeout, IdleTimeout: idleTimeout,
		HTTP2:    &http.HTTP2Config{WriteByteTimeout: s.writeTimeout},     // a stream's own deadline waits in line behind what its client does not read
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // names addresses
	}
	failed := make(chan error, 1)
	go func() {
		if s.cfg.TLS == nil {
			failed <- h.Serve(l)
			return
		}
		h.TLSConfig = s.cfg.TLS
		failed <- h.ServeTLS(l, "", "")
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.jobs.stop()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return h.Shutdown(drain)
}
