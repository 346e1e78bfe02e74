package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// visit is a request that was let in.
type visit struct {
	caller *access.Caller // nil where nobody needs a key
	did    []deed         // what it changed
}

// deed is something that a request changed, for the audit.
type deed struct{ object, before, after string }

type visitKey struct{}

// visitOf returns the visit that a request is, nil where nobody needs a key and nothing is audited.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// callerOf returns who asks, nil where nobody needs a key: then everything is allowed.
func callerOf(ctx context.Context) *access.Caller {
	if v := visitOf(ctx); v != nil {
		return v.caller
	}
	return nil
}

// space returns the domain that a request is about: its key's, or the default one where nobody needs a key.
func (s *Server) space(ctx context.Context) *Space {
	spaces := *s.spaces.Load()
	if c := callerOf(ctx); c != nil {
		if own := spaces[c.Domain]; own != nil { // admit lets in nobody else
			return own
		}
	}
	return spaces[s.cfg.Domain]
}

// mayRead reports whether a request may see why, and not only what.
func mayRead(ctx context.Context) bool {
	c := callerOf(ctx)
	return c == nil || c.May(access.Read)
}

// guard stands before every route of the API: who asks, whether they may, how much they
// have left; and what they changed goes into the audit. No handler decides any of it.
func (s *Server) guard(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		began := time.Now()
		caller, err := s.admit(c, r)
		if err != nil {
			s.deny(c, r, caller, err)
			return
		}
		audited := r.did != "" && s.cfg.Audit != nil
		if caller == nil && !audited {
			return
		}
		v := &visit{caller: caller}
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), visitKey{}, v))
		switch {
		case audited:
			s.audited(c, r, v)
		case !mayRead(c.Request.Context()) && r.path != batchRoute:
			s.paced(c, began)
		}
	}
}

// crossSite knows what a browser sends for a page of another site.
var crossSite = http.NewCrossOriginProtection()

// ofThisMachine refuses what a web page has a browser on this machine send: a request that the browser says is for a page of another site,
// and one that names the server otherwise than this machine is named, as a page does whose own name was made to lead here (DNS rebinding).
// Keys keep both out by themselves, since a page has none.
func ofThisMachine(r *http.Request) error {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	named := host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || err == nil && ip.IsLoopback()
	site := r.Header.Get("Sec-Fetch-Site") // which crossSite does not look at where nothing is changed
	if !named || site == "cross-site" || site == "same-site" || crossSite.Check(r) != nil {
		return refuseCrossSite
	}
	return nil
}

// admit returns who asks, nil where nobody needs a key. With an error it returns whom it turned away, if it knows.
func (s *Server) admit(c *gin.Context, r route) (*access.Caller, error) {
	if s.cfg.Keys == nil {
		return nil, nil
	}
	if err := s.cfg.Keys.Reload(); err != nil {
		s.cfg.Log.Error("the keys for callers cannot be read again; those of before stay in force", "error", err.Error())
	}
	if !s.cfg.Keys.Needed() {
		return nil, ofThisMachine(c.Request)
	}
	text, err := bearer(c)
	if err != nil {
		return nil, err
	}
	caller, err := s.cfg.Keys.Caller(text)
	if err != nil {
		return nil, refuseWrongKey
	}
	now := time.Now()
	requests := caller.Request(&caller.Key, now)
	showQuota(c, &caller.Key, requests, caller.Budget(&caller.Key, now))
	switch {
	case !requests.OK:
		return caller, refuseRate.after(requests.Wait)
	case (*s.spaces.Load())[caller.Domain] == nil:
		return caller, refuseDomain
	case !caller.May(r.scope):
		return caller, refuseScope.because("it needs " + string(r.scope))
	}
	return caller, nil
}

// bearer returns the key that a request shows.
func bearer(c *gin.Context) (string, error) {
	shown := c.Request.Header["Authorization"]
	if len(shown) == 0 {
		return "", refuseNoKey
	}
	scheme, key, ok := strings.Cut(shown[0], " ")
	if len(shown) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", refuseNoKey
	}
	return key, nil
}

// showQuota tells where a key stands, as draft-ietf-httpapi-ratelimit-headers has it: how much there is in a
// window of seconds, how much is left, and in how many seconds all of it is back. Of subjects, the
// numbers are those from before the request.
func showQuota(c *gin.Context, k *access.Key, requests, subjects access.Quota) {
	c.Header("RateLimit-Policy", fmt.Sprintf(`"requests";q=%d;w=%d, "subjects";q=%d;w=86400`, requests.Most, int(k.Rate.Window.Seconds()), subjects.Most))
	c.Header("RateLimit", fmt.Sprintf(`"requests";r=%d;t=%d, "subjects";r=%d;t=%d`, requests.Left, seconds(requests.Reset), subjects.Left, seconds(subjects.Reset)))
}

// seconds rounds up.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// after is the refusal with a Retry-After.
func (r *refusal) after(wait time.Duration) *refusal {
	later := *r
	later.retry = strconv.Itoa(max(seconds(wait), 1))
	return &later
}

func (r *refusal) because(detail string) *refusal {
	why := *r
	why.detail = detail
	return &why
}

// deny answers somebody who is not let in. What a known caller tried to change is in the audit; of strangers there
// is only a count, since they could fill it.
func (s *Server) deny(c *gin.Context, r route, caller *access.Caller, err error) {
	why := explain(err)
	s.denied.WithLabelValues(why.code).Inc()
	if why.status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", "Bearer")
	}
	if r.did != "" && s.cfg.Audit != nil && why.status == http.StatusForbidden && why != refuseCrossSite { // pages could fill it
		if err := s.cfg.Audit.Append(entryOf(caller, r.did, deed{after: "refused: " + why.code})); err != nil {
			s.cfg.Log.Error("the audit log cannot be written", "error", err.Error())
			why = refuseAudit
		}
	}
	s.refuse(c, why)
}

// spend counts a number against its caller's budget of the day. Nobody is told more about a number than that
// the budget is used up. The zero Number is one that came as a token.
func (s *Server) spend(ctx context.Context, phone hashing.Subject, number hashing.Number) error {
	caller := callerOf(ctx)
	if caller == nil || !phone.Given() {
		return nil
	}
	now := time.Now()
	if number.Given() {
		below, above := s.space(ctx).Hasher.Neighbours(number)
		inRow, alarm := caller.Neighbours(phone, below, above, now)
		if inRow {
			s.inRow.Inc()
		}
		if alarm {
			s.cfg.Log.Warn("a key asks for numbers in a row: somebody may be trying all of them", "key", caller.ID)
		}
	}
	if q := caller.Subject(&caller.Key, phone, now); !q.OK {
		s.denied.WithLabelValues(refuseSubjects.code).Inc()
		return refuseSubjects.after(q.Wait)
	}
	return nil
}

// another counts one more request, for what is many in one.
func (s *Server) another(ctx context.Context) error {
	caller := callerOf(ctx)
	if caller == nil {
		return nil
	}
	if q := caller.Request(&caller.Key, time.Now()); !q.OK {
		s.denied.WithLabelValues(refuseRate.code).Inc()
		return refuseRate.after(q.Wait)
	}
	return nil
}

// onError is what an assessment of a caller decides while the store cannot be asked, 0 for none.
func (s *Server) onError(ctx context.Context) scoring.Decision {
	if c := callerOf(ctx); c != nil {
		switch c.OnError {
		case "allow":
			return scoring.Allow
		case "challenge":
			return scoring.Challenge
		}
	}
	return s.cfg.OnError
}

// narrowed begins the idempotency keys of callers who may not read, so that an answer that was kept for one who may
// is never theirs. No key that a caller can send begins so.
const narrowed = "\x00"

// keptUnder returns what an answer is kept under for a key of a caller.
func keptUnder(ctx context.Context, key string) string {
	if mayRead(ctx) {
		return key
	}
	return narrowed + key
}

// guardMetrics are what the guard counts.
type guardMetrics struct {
	denied *prometheus.CounterVec
	inRow  prometheus.Counter
}

func newGuardMetrics() guardMetrics {
	return guardMetrics{
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringfence_denied_total", Help: "Requests and lines of streams that were turned away, by why.",
		}, []string{"why"}),
		inRow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ringfence_numbers_in_row_total",
			Help: "Numbers asked for by a key that asked for the number below or above on the same day: alarm on its rate, somebody may be trying all numbers.",
		}),
	}
}

var errGuard = errors.New("server: a route of the API has no scope")

// checkRoutes holds that every route has a scope, so that none is open by oversight.
func checkRoutes(routes []route) error {
	for _, r := range routes {
		if r.scope == "" {
			return errGuard
		}
	}
	return nil
}

// accounts is what a caller who may not read is told of a number's accounts: their own.
func accounts(ctx context.Context, l engine.Links, most int) (engine.Links, int) {
	if mayRead(ctx) {
		return l, most
	}
	l.Count = 0
	if l.Linked {
		l.Count = 1
	}
	return l, 0
}
