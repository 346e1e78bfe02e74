package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
)

// withoutStore returns a server whose store cannot be asked any more.
func withoutStore(t *testing.T, onError scoring.Decision) (*Server, *lockedBuffer) {
	t.Helper()
	s, log, store := newServerOf(t)
	s.cfg.OnError = onError
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return s, log
}

// TestOnError asks without a store, in every way that an assessment can be asked for.
func TestOnError(t *testing.T) {
	for onError, want := range map[scoring.Decision]string{0: "", scoring.Allow: "allow", scoring.Challenge: "challenge"} {
		s, log := withoutStore(t, onError)
		peek := strings.Replace(signup, "{", `{"record":false,`, 1)
		for name, ask := range map[string]func() (int, *api.Assessment){
			"alone":      func() (int, *api.Assessment) { return assessed(t, s, signup) },
			"with a key": func() (int, *api.Assessment) { return assessed(t, s, signup, "Idempotency-Key", "k") },
			"only asked": func() (int, *api.Assessment) { return assessed(t, s, peek) },
			"in a batch": func() (int, *api.Assessment) {
				a := lines[api.BatchAnswer](t, s, batchRoute, signup)[0]
				return a.Status, a.Assessment
			},
		} {
			status, a := ask()
			switch {
			case want == "" && status != http.StatusServiceUnavailable:
				t.Errorf("%s: status %d without on_error", name, status)
			case want == "":
			case status != http.StatusOK || a.Decision != want || !slices.Equal(a.Degraded, []string{storeDegraded}):
				t.Errorf("%s: status %d, %+v", name, status, a)
			case a.AssessmentID != "" || a.PhoneToken == "" || !a.Number.Valid || a.Accounts != nil || len(a.Reasons)+len(a.Signals) > 0:
				t.Errorf("%s: it tells what nobody knows: %+v", name, a)
			}
		}
		if status, _ := assessed(t, s, `{"event":"x"}`); status != http.StatusUnprocessableEntity {
			t.Errorf("a wrong request: status %d", status)
		}
		if w := do(t, s, "POST", "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, nil); w.Code != http.StatusServiceUnavailable {
			t.Errorf("another call: status %d", w.Code)
		}
		if !strings.Contains(log.String(), `"problem":"store"`) || strings.Contains(log.String(), "5550143") {
			t.Errorf("the log: %s", log)
		}
		metrics := do(t, s, "GET", "/metrics", "", nil).Body.String()
		if count := map[bool]string{true: "0", false: "4"}[want == ""]; !strings.Contains(metrics, "ringfence_on_error_assessments_total "+count+"\n") {
			t.Errorf("%q: assessments without a store are not counted", want)
		}
	}
	s, _ := newTestServer(t)
	if _, err := New(Config{Engine: s.cfg.Engine, Hasher: s.cfg.Hasher, Log: s.cfg.Log, OnError: scoring.Block}); err == nil {
		t.Error("a server that blocks whom it cannot ask about")
	}
}

func assessed(t *testing.T, s *Server, body string, header ...string) (int, *api.Assessment) {
	t.Helper()
	w := do(t, s, "POST", "/v1/assessments", body, nil, header...)
	a := new(api.Assessment)
	if err := json.Unmarshal(w.Body.Bytes(), a); err != nil {
		t.Fatal(err)
	}
	return w.Code, a
}

// TestStreamsOfABrokenStore answers what it can: each line of a batch, and up to where an import came.
func TestStreamsOfABrokenStore(t *testing.T) {
	s, _ := withoutStore(t, 0)
	for i, a := range lines[api.BatchAnswer](t, s, batchRoute, signup+"\n{}\n"+signup) {
		if want := []int{503, 422, 503}[i]; a.Line != i+1 || a.Status != want || a.Problem.RequestID == "" {
			t.Errorf("line %d: %+v", i+1, a)
		}
	}
	var p api.Problem
	w := do(t, s, "POST", "/v1/lists/watch/entries", `{"phone_number":"+12025550143"}`, &p, "Content-Type", ndjson)
	if w.Code != 503 || p.Type != api.ProblemType("store") || p.Detail != "the lines up to 0 were taken" {
		t.Errorf("status %d, %+v", w.Code, p)
	}
	var results []api.OutcomeResult
	do(t, s, "POST", "/v1/outcomes", `[{"assessment_id":"00000000000000000000000000","outcome":"abuse"}]`, &results)
	if len(results) != 1 || results[0].Status != 503 {
		t.Errorf("outcomes: %+v", results)
	}
}

// TestPartsThatPanicAreAnswered holds that a panic on a goroutine of a request ends only its part.
func TestPartsThatPanicAreAnswered(t *testing.T) {
	s, log := newTestServer(t)
	var err error
	s.shielded("r1", &err, func() error { panic("+12025550143") })
	if !errors.Is(err, refuseInternal) || !strings.Contains(log.String(), `"request_id":"r1"`) || strings.Contains(log.String(), "5550143") {
		t.Errorf("%v, log %s", err, log)
	}
}

// TestStreamsEndWithTheirClient cuts connections in the middle of a line, while nothing is sent and while
// answers are owed. The server ends its goroutines long before a line would be late: Close waits for them.
func TestStreamsEndWithTheirClient(t *testing.T) {
	s, _ := newTestServer(t)
	s.lineTimeout = time.Hour
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	for _, text := range []string{"", signup[:20], signup + "\n", strings.Repeat(signup+"\n", 2000)} {
		for _, path := range []string{batchRoute, "/v1/lists/watch/entries"} {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write([]byte("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + ndjson + "\r\nContent-Length: 9999999\r\n\r\n" + text))
			_ = conn.Close()
		}
	}
}

// TestAnImportThatFailsDoesNotWait answers while the client, which has more to send, sends nothing.
func TestAnImportThatFailsDoesNotWait(t *testing.T) {
	s, _ := withoutStore(t, 0)
	s.lineTimeout = time.Hour
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	for range 50 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("POST /v1/lists/watch/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + ndjson + "\r\nContent-Length: 9999999\r\n\r\n" + `{"phone_number":"+12025550143"}` + "\n"))
		w, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || w.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(w, err)
		}
		_ = w.Body.Close()
		_ = conn.Close()
	}
}

// TestStreamsOutliveTheBoundOfARequest sends streams to a server that answers nothing else in time.
func TestStreamsOutliveTheBoundOfARequest(t *testing.T) {
	s, _ := newTestServer(t)
	h := httptest.NewUnstartedServer(s.Handler())
	h.Config.WriteTimeout = 1
	h.Start()
	defer h.Close()
	c := &api.Client{BaseURL: h.URL, Attempts: 1}
	a, err := c.ImportEntries(t.Context(), "watch", func(yield func(api.ListEntry, error) bool) { yield(api.ListEntry{PhoneNumber: "+12025550143"}, nil) })
	if err != nil || a.Added != 1 {
		t.Errorf("import: %v, %v", a, err)
	}
	event := api.BatchLine{AssessmentRequest: api.AssessmentRequest{Event: "signup", AccountID: "u_81"}}
	for _, err := range c.AssessBatch(t.Context(), func(yield func(api.BatchLine, error) bool) { yield(event, nil) }) {
		if err != nil {
			t.Errorf("batch: %v", err)
		}
	}
	if _, err := c.Lists(t.Context()); err == nil {
		t.Error("this server has no bound: the test shows nothing")
	}
}

// unsynced is a store that never says that the log is on the disk.
type unsynced struct{ engine.Store }

func (unsynced) Durable(context.Context) error { return engine.ErrClosed }

// TestManyAreToldOnlyWhatIsDurable holds that lines of a batch, and outcomes of an array, have no answer before the log is on the disk.
func TestManyAreToldOnlyWhatIsDurable(t *testing.T) {
	whole, _, store := newServerOf(t)
	e, err := engine.New(t.Context(), engine.Config{Store: unsynced{store}, Domain: whole.cfg.Hasher.Domain(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	cfg := whole.cfg
	cfg.Engine = e
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, known := assessed(t, s, signup)
	var results []api.OutcomeResult
	do(t, s, "POST", "/v1/outcomes", `[{"assessment_id":"`+known.AssessmentID+`","outcome":"abuse"}]`, &results)
	if len(results) != 1 || results[0].Status != http.StatusServiceUnavailable {
		t.Errorf("outcomes: %+v", results)
	}
	for _, onError := range []scoring.Decision{0, scoring.Challenge} {
		s.cfg.OnError = onError
		for i, a := range lines[api.BatchAnswer](t, s, batchRoute, signup+"\n{}\n"+signup) {
			switch {
			case i == 1 && a.Status != http.StatusUnprocessableEntity, i != 1 && onError == 0 && a.Status != http.StatusServiceUnavailable:
				t.Errorf("line %d: %+v", i+1, a)
			case i == 1 || onError == 0:
			case a.Status != http.StatusOK || a.Assessment.Decision != "challenge" || !slices.Equal(a.Assessment.Degraded, []string{storeDegraded}):
				t.Errorf("line %d with on_error: %+v", i+1, a)
			}
		}
	}
}
