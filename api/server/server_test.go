package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.yaml.in/yaml/v3"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// lockedBuffer is a log that many requests write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTestServer returns a server on a store in memory, and its log.
func newTestServer(t testing.TB) (*Server, *lockedBuffer) {
	t.Helper()
	s, log, _ := newServerOf(t)
	return s, log
}

func newServerOf(t testing.TB) (*Server, *lockedBuffer, *pebblestore.Store) {
	t.Helper()
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	e, err := engine.New(t.Context(), engine.Config{Store: store, Domain: hasher.Domain(), Policy: scoring.Default(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuffer)
	s, err := New(Config{Engine: e, Hasher: hasher, Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return s, log, store
}

// do sends a request, holds it and the answer against the description, and reads the
// answer into out, if it is not nil.
func do(t testing.TB, s *Server, method, path, body string, out any, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	check(t, r, body, w)
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%s %s: status %d, answer is not JSON", method, path, w.Code)
		}
	}
	return w
}

// TestACallerWhoWentAway is no failure of the store, neither in the log nor by the status.
func TestACallerWhoWentAway(t *testing.T) {
	s, log := newTestServer(t)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/assessments", strings.NewReader(signup))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != 499 || strings.Contains(log.String(), "request failed") {
		t.Errorf("status %d, log %s", w.Code, log)
	}
}

const signup = `{"phone_number":"+1 202 555 0143","event":"signup","account_id":"u_81","ip":"203.0.113.7","device_id":"d_5"}`

// TestNothingIsAnsweredWithWhatWasAsked has a slash too many: Gin would lead on to the path without it.
func TestNothingIsAnsweredWithWhatWasAsked(t *testing.T) {
	s, _ := newTestServer(t)
	for _, path := range []string{"/v1/assessments/12025550143/", "/v1/lists/12025550143/entries/", "/v1/../v1/assessments/12025550143"} {
		w := do(t, s, "GET", path, "", nil)
		if w.Code != 404 || w.Header().Get("Location") != "" || strings.Contains(w.Body.String(), "12025550143") || w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s: %d, %v, %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

func TestAssessmentsAreCounted(t *testing.T) {
	s, _ := newTestServer(t)
	var a api.Assessment
	for range 3 {
		if w := do(t, s, "POST", "/v1/assessments", signup, &a); w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	if a.Signals["signups_1h"] != 3 || a.Reasons[0].Code != "SIGNUPS_BY_PHONE_1H" || a.AssessmentID == "" || a.Number.Region != "US" {
		t.Errorf("got %+v", a)
	}
	var look api.Assessment
	do(t, s, "POST", "/v1/assessments", strings.Replace(signup, "{", `{"record":false,`, 1), &look)
	if look.Signals["signups_1h"] != 4 || look.AssessmentID != "" {
		t.Errorf("a look: %+v", look)
	}
	var p api.Profile
	do(t, s, "POST", "/v1/numbers/lookup", `{"phone_token":"`+a.PhoneToken+`"}`, &p)
	if !p.Known || len(p.Timeline) != 3 || p.Velocity[0].Hour != 3 {
		t.Errorf("profile: %+v", p)
	}
}

func TestAnInvalidNumberIsAssessed(t *testing.T) {
	s, _ := newTestServer(t)
	var a api.Assessment
	w := do(t, s, "POST", "/v1/assessments", `{"phone_number":"+44 7700 90012O","event":"signup"}`, &a)
	if w.Code != 200 || a.Number.Valid || a.PhoneToken != "" || a.Reasons[0].Code != "NUMBER_INVALID" {
		t.Errorf("status %d, %+v", w.Code, a)
	}
	if w := do(t, s, "POST", "/v1/assessments", `{"event":"signup","account_id":"a"}`, &a); w.Code != 200 || len(a.Reasons) != 0 {
		t.Errorf("without a number: status %d, %+v", w.Code, a)
	}
}

func TestTheLifeOfALink(t *testing.T) {
	s, _ := newTestServer(t)
	var a api.Assessment
	do(t, s, "POST", "/v1/assessments", signup, &a)
	var o api.OutcomeAnswer
	do(t, s, "POST", "/v1/outcomes", `{"assessment_id":"`+a.AssessmentID+`","outcome":"verified"}`, &o)
	if !o.Changed || !o.Linked {
		t.Fatalf("outcome: %+v", o)
	}
	who := `{"phone_number":"+1 202 555 0143","account_id":"u_81"}`
	var l api.LinkAnswer
	do(t, s, "POST", "/v1/links/check", who, &l)
	if !l.Accounts.Linked || l.Since == "" || *l.Accounts.Remaining != 2 {
		t.Errorf("link: %+v", l)
	}
	var u api.UnlinkAnswer
	do(t, s, "POST", "/v1/links/unlink", who, &u)
	if !u.Unlinked || u.Verified != 0 {
		t.Errorf("unlink: %+v", u)
	}
	var r api.ReleaseAnswer
	do(t, s, "POST", "/v1/numbers/release", `{"phone_number":"+1 202 555 0143"}`, &r)
	if r.Generation != 1 {
		t.Errorf("release: %+v", r)
	}
	do(t, s, "POST", "/v1/outcomes", `{"assessment_id":"`+a.AssessmentID+`","outcome":"abuse"}`, &o)
	if !o.Stale {
		t.Errorf("an outcome of an earlier generation: %+v", o)
	}
}

func TestLists(t *testing.T) {
	s, _ := newTestServer(t)
	var a api.Assessment
	do(t, s, "POST", "/v1/assessments", signup, &a)
	w := do(t, s, "POST", "/v1/lists/deny/entries", `{"phone_number":"+1 202 555 0143","reason":"fraud"}`, nil)
	do(t, s, "POST", "/v1/lists/vip_names/entries", `{"phone_number":"+1 202 555 0143","entry":"range"}`, nil)
	do(t, s, "POST", "/v1/assessments", signup, &a)
	if w.Code != 200 || a.Decision != "block" || a.Reasons[0].Code != "LIST_DENY" || a.Reasons[len(a.Reasons)-1].Code != "LIST_VIP_NAMES" {
		t.Errorf("status %d, %+v", w.Code, a)
	}
	var page api.ListPage
	do(t, s, "GET", "/v1/lists/deny/entries", "", &page)
	if len(page.Entries) != 1 || page.Entries[0].PhoneToken != a.PhoneToken {
		t.Errorf("page: %v", len(page.Entries))
	}
	do(t, s, "DELETE", "/v1/lists/deny/entries?token="+a.PhoneToken, "", nil)
	do(t, s, "POST", "/v1/assessments", signup, &a)
	if a.Decision != "allow" && a.Decision != "challenge" {
		t.Errorf("after removal: %s", a.Decision)
	}
}

func TestIdempotency(t *testing.T) {
	s, _ := newTestServer(t)
	first := do(t, s, "POST", "/v1/assessments", signup, nil, "Idempotency-Key", "k1")
	again := do(t, s, "POST", "/v1/assessments", signup, nil, "Idempotency-Key", "k1")
	if first.Code != 200 || again.Body.String() != first.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("a repeated request has another answer: %s", again.Body)
	}
	var a api.Assessment
	do(t, s, "POST", "/v1/assessments", signup, &a)
	if a.Signals["signups_1h"] != 2 {
		t.Errorf("counted %v times", a.Signals["signups_1h"])
	}
	if w := do(t, s, "POST", "/v1/assessments", `{"event":"signup"}`, nil, "Idempotency-Key", "k1"); w.Code != 422 {
		t.Errorf("another body: status %d", w.Code)
	}
	if w := do(t, s, "POST", "/v1/assessments", signup, nil, "Idempotency-Key", "a b"); w.Code != 422 {
		t.Errorf("a key with a space: status %d", w.Code)
	}
}

// TestNeverMoreAccountsThanTheLimit is the promise at its hardest: many clients at
// once, ten times.
func TestNeverMoreAccountsThanTheLimit(t *testing.T) {
	for range 10 {
		s, _ := newTestServer(t)
		answers := make([]api.Assessment, 64)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				<-start
				body := `{"phone_number":"+1 202 555 0143","event":"signup","verified":true,"account_id":"u_` + strconv.Itoa(i) + `"}`
				do(t, s, "POST", "/v1/assessments", body, &answers[i])
			})
		}
		close(start)
		wg.Wait()
		linked := 0
		for _, a := range answers {
			if a.Accounts.Linked {
				linked++
			}
		}
		var p api.Profile
		do(t, s, "POST", "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &p)
		if linked != 3 || p.Accounts.Verified != 3 {
			t.Errorf("%d accounts were told they are linked, %d are", linked, p.Accounts.Verified)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	s, _ := newTestServer(t)
	for _, c := range []struct {
		name, method, path, body string
		status, errors           int
	}{
		{"not JSON", "POST", "/v1/assessments", `{"event":`, 400, 0},
		{"an array", "POST", "/v1/assessments", `[]`, 422, 1},
		{"text behind the end", "POST", "/v1/assessments", `{"event":"signup"} x`, 400, 0},
		{"too large", "POST", "/v1/assessments", `{"event":"` + strings.Repeat("x", 65<<10) + `"}`, 413, 0},
		{"everything wrong at once", "POST", "/v1/assessments", `{"event":"signup","event":"signup","phone_number":5,"ip":null,"x":1}`, 422, 4},
		{"unknown, wrong and missing at once", "POST", "/v1/assessments", `{"bogus":1,"account_id":5,"ip":"y","verified":true}`, 422, 5},
		{"a link with nothing right", "POST", "/v1/links/check", `{"x":1,"phone_number":"12"}`, 422, 3},
		{"an entry with nothing right", "POST", "/v1/lists/vip/entries", `{"phone_number":"12","entry":"x","reason":"A","expires_at":"soon"}`, 422, 4},
		{"bad values", "POST", "/v1/assessments", `{"event":"x","ip":"y","ip_country":"gb","default_region":"zz"}`, 422, 4},
		{"verification without number", "POST", "/v1/assessments", `{"event":"verification"}`, 422, 1},
		{"verified without account", "POST", "/v1/assessments", `{"event":"signup","phone_number":"+12025550143","verified":true}`, 422, 1},
		{"no such assessment", "POST", "/v1/outcomes", `{"assessment_id":"00000000000000000000000000","outcome":"abuse"}`, 404, 0},
		{"bad outcome", "POST", "/v1/outcomes", `{"assessment_id":"1","outcome":"x","source":"+1 202 555 0143"}`, 422, 3},
		{"invalid number", "POST", "/v1/numbers/lookup", `{"phone_number":"12"}`, 422, 1},
		{"number and token", "POST", "/v1/numbers/lookup", `{"phone_number":"12","phone_token":"k1.x"}`, 422, 1},
		{"bad token", "POST", "/v1/numbers/lookup", `{"phone_token":"k1.x"}`, 422, 1},
		{"a number as list name", "POST", "/v1/lists/l2025550143/entries", `{"phone_number":"+12025550143"}`, 404, 0},
		{"no route", "GET", "/v1/12025550143", ``, 404, 0},
		{"wrong method", "GET", "/v1/assessments", ``, 405, 0},
	} {
		var p api.Problem
		w := do(t, s, c.method, c.path, c.body, &p)
		if w.Code != c.status || p.Status != c.status || len(p.Errors) != c.errors || p.RequestID != w.Header().Get("X-Request-Id") {
			t.Errorf("%s: status %d, %d errors, want %d, %d: %s", c.name, w.Code, len(p.Errors), c.status, c.errors, w.Body)
		}
	}
}

// TestNoDigitLeavesTheRequest plants a number in every place of a request and
// looks for it in every answer, in the log and in the metrics.
func TestNoDigitLeavesTheRequest(t *testing.T) {
	const planted = "2025550143"
	s, log := newTestServer(t)
	g, ok := s.handler.(*gin.Engine)
	if !ok {
		t.Fatal("the handler is no gin engine")
	}
	g.POST("/panic", func(*gin.Context) { panic(planted) })
	var answers strings.Builder
	send := func(method, path, body string, header ...string) {
		answers.WriteString(do(t, s, method, path, body, nil, header...).Body.String())
	}
	fields := []string{"phone_number", "phone_token", "default_region", "event", "account_id", "ip", "device_id", "ip_country", "verified", "record", "assessment_id", "outcome", "source", "entry", "reason", "expires_at", "x" + planted}
	for _, route := range g.Routes() {
		if route.Method == "GET" {
			for _, filled := range []string{planted, "deny"} {
				send("GET", strings.NewReplacer(":id", filled, ":name", filled).Replace(route.Path)+"?cursor="+planted+"&q="+planted, "")
			}
			continue
		}
		for _, field := range fields {
			for _, kind := range []string{"application/json", "application/x-ndjson"} {
				path := strings.NewReplacer(":name", "deny").Replace(route.Path)
				send(route.Method, path, `{"`+field+`":"+1`+planted+`"}`, "Content-Type", kind)
				send(route.Method, path, `{"event":"signup","phone_number":"+1`+planted+`","`+field+`":1`+planted+`}`, "Content-Type", kind)
				send(route.Method, path, `{"`+field+`":`+planted, "Content-Type", kind)
				send(route.Method, path, `{"phone_number":"+1`+planted+`"}`, "Content-Type", kind)
			}
		}
		send(route.Method, strings.NewReplacer(":name", "l"+planted).Replace(route.Path), `{"entry":"`+planted+`"}`)
	}
	send("GET", "/v1/"+planted+"?q="+planted, "", "X-Forwarded-For", planted, "User-Agent", planted, "X-Request-Id", planted)
	send("M"+planted, "/v1/assessments", "")
	send("POST", "/panic", planted)
	send("POST", "/v1/assessments", signup, "Idempotency-Key", planted)
	send("GET", "/metrics", "")
	for name, sink := range map[string]string{"answers and metrics": answers.String(), "log": log.String()} {
		if strings.Contains(sink, planted) {
			t.Errorf("%s hold the number", name)
		}
		if len(sink) < 1000 {
			t.Errorf("%s: only %d bytes were looked at", name, len(sink))
		}
	}
	if !strings.Contains(log.String(), "a handler panicked") {
		t.Error("the panic is not in the log")
	}
}

func TestRoutesAreThoseOfTheDescription(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	s, _ := newTestServer(t)
	described := map[string]bool{}
	for path, methods := range doc.Paths {
		for method := range methods {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+strings.NewReplacer("{", ":", "}", "").Replace(path)] = true
			}
		}
	}
	g, ok := s.handler.(*gin.Engine)
	if !ok {
		t.Fatal("the handler is no gin engine")
	}
	for _, r := range g.Routes() {
		key := r.Method + " " + r.Path
		if !described[key] {
			t.Errorf("%s is not described", key)
		}
		delete(described, key)
	}
	for key := range described {
		t.Errorf("%s is described and not served", key)
	}
}

// TestDrain holds a request in the middle of its body while the server is told
// to stop: it is still answered.
func TestDrain(t *testing.T) {
	s, _ := newTestServer(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()

	reader, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+"/v1/assessments", reader)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			answered <- 0
			return
		}
		_ = w.Body.Close()
		answered <- w.StatusCode
	}()
	half := len(signup) / 2
	if _, err := io.WriteString(writer, signup[:half]); err != nil { // returns when the client has taken it
		t.Fatal(err)
	}
	for s.requestsUnderWay() == 0 {
		runtime.Gosched()
	}
	stop()
	for !s.draining.Load() {
		runtime.Gosched()
	}
	if _, err := io.WriteString(writer, signup[half:]); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if status := <-answered; status != 200 {
		t.Errorf("the request under way: status %d", status)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestABlockIsNoNumber names a block by its token where a number is asked for.
func TestABlockIsNoNumber(t *testing.T) {
	s, _ := newTestServer(t)
	do(t, s, "POST", "/v1/lists/deny/entries", `{"phone_number":"+1 202 555 0143","entry":"range"}`, nil)
	var page api.ListPage
	do(t, s, "GET", "/v1/lists/deny/entries", "", &page)
	token := `{"phone_token":"` + page.Entries[0].PhoneToken + `"`
	for path, rest := range map[string]string{
		"/v1/numbers/lookup": "}", "/v1/numbers/release": "}", "/v1/numbers/erase": "}", "/v1/links/check": `,"account_id":"a"}`, "/v1/links/unlink": `,"account_id":"a"}`,
		"/v1/assessments": `,"event":"signup"}`,
	} {
		var p api.Problem
		if w := do(t, s, "POST", path, token+rest, &p); w.Code != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Pointer != "/phone_token" {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
}
