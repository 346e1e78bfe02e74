package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted serves one handler for each attempt and keeps the keys it saw.
type scripted struct {
	*httptest.Server
	steps []http.HandlerFunc
	waits []time.Duration

	streams bool // handlers read the body
	bodies  bool // and keep it

	mu    sync.Mutex // guards what handlers see
	keys  []string
	lines []BatchLine
	sent  []string
}

// saw returns the keys of all attempts so far.
func (s *scripted) saw() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}

// next notes an attempt and returns what it gets.
func (s *scripted) next(key string) http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	return s.steps[min(len(s.keys), len(s.steps))-1]
}

func script(t *testing.T, steps ...http.HandlerFunc) (*Client, *scripted) {
	t.Helper()
	s := &scripted{steps: steps}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.streams {
			body, _ := io.ReadAll(r.Body)
			if s.bodies {
				s.mu.Lock()
				s.sent = append(s.sent, string(body))
				s.mu.Unlock()
			}
		}
		s.next(r.Header.Get("Idempotency-Key"))(w, r)
	}))
	t.Cleanup(s.Close)
	c := &Client{BaseURL: s.URL, wait: func(ctx context.Context, d time.Duration) error {
		s.waits = append(s.waits, d)
		return ctx.Err()
	}}
	return c, s
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).EnableFullDuplex() // as a server that takes streams does
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangUp breaks the connection. A handler that panics would wait for the rest of the body.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

const store = `{"type":"urn:ringfence:problem:store","title":"The store cannot answer","status":503,"request_id":"r"}`

func TestClientSendsAgainWithTheSameKey(t *testing.T) {
	c, s := script(t, hangUp, answer(503, store, "Retry-After", "3"), answer(502, "<html>"), answer(200, `{"decision":"allow","score":7}`))
	a, err := c.Assess(t.Context(), AssessmentRequest{Event: "signup"})
	if err != nil || a.Score != 7 || len(s.saw()) != 4 {
		t.Fatalf("%v, %v after %d attempts", a, err, len(s.saw()))
	}
	for _, k := range s.saw() {
		if k == "" || k != s.saw()[0] {
			t.Errorf("keys differ: %q", s.saw())
		}
	}
	if s.waits[0] > firstWait || s.waits[1] < 3*time.Second || s.waits[1] > 3*time.Second+2*firstWait || s.waits[2] > 4*firstWait {
		t.Errorf("waits: %v", s.waits)
	}
	_, _ = c.Assess(t.Context(), AssessmentRequest{Event: "signup"}, IdempotencyKey("mine"))
	if keys := s.saw(); keys[len(keys)-1] != "mine" {
		t.Errorf("keys %q", keys)
	}
}

func TestClientGivesUp(t *testing.T) {
	for _, c := range []struct {
		name     string
		step     http.HandlerFunc
		attempts int
		want     error
	}{
		{"refused", answer(422, `{"type":"urn:ringfence:problem:invalid","title":"t","errors":[{"pointer":"/ip","code":"format"}]}`), 1, ErrInvalid},
		{"not known", answer(404, `{"type":"urn:ringfence:problem:unknown-assessment"}`), 1, ErrUnknownAssessment},
		{"in flight", answer(409, `{"type":"urn:ringfence:problem:in-flight"}`), 4, ErrInFlight},
		{"down", answer(503, store), 4, ErrStore},
		{"a redirect", answer(307, "", "Location", "http://192.0.2.1/"), 1, &Error{}},
		{"somebody else", answer(200, "<html>"), 1, nil},
		{"hangs up", hangUp, 4, nil},
	} {
		client, s := script(t, c.step)
		_, err := client.Outcome(t.Context(), OutcomeRequest{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || len(s.saw()) != c.attempts {
			t.Errorf("%s: %v after %d attempts", c.name, err, len(s.saw()))
		}
	}
}

func TestErrorSaysWhichFields(t *testing.T) {
	client, _ := script(t, answer(422, `{"type":"urn:ringfence:problem:invalid","title":"The request","errors":[{"pointer":"/ip","code":"format"},{"pointer":"/event","code":"missing"}]}`))
	_, err := client.Assess(t.Context(), AssessmentRequest{PhoneNumber: "+12025550143"})
	if want := "ringfence answers 422: The request: ip format, event missing"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestErrorsDoNotNameTheirPaths mistakes a number for an id, a list and a token.
func TestErrorsDoNotNameTheirPaths(t *testing.T) {
	const planted = "2025550143"
	down, _ := script(t, hangUp)
	for _, c := range []*Client{down, {BaseURL: "http://[", wait: func(context.Context, time.Duration) error { t.Error("asked again"); return nil }}} {
		_, one := c.Assessment(t.Context(), planted)
		_, two := c.AddEntry(t.Context(), planted, ListEntry{})
		_, three := c.RemoveEntry(t.Context(), "watch", planted)
		for _, err := range []error{one, two, three} {
			if err == nil || strings.Contains(err.Error(), planted) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, s := script(t, func(http.ResponseWriter, *http.Request) { cancel(); panic(http.ErrAbortHandler) })
	if _, err := client.Assess(ctx, AssessmentRequest{}); err == nil || len(s.saw()) != 1 {
		t.Errorf("%v after %d attempts", err, len(s.saw()))
	}
	if err := new(Client).pause(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that ends with its context: %v", err)
	}
}

// TestRequestsDoNotShowThemselves formats requests as a log would, also inside of other values.
func TestRequestsDoNotShowThemselves(t *testing.T) {
	const planted = "2025550143"
	for _, v := range []any{
		AssessmentRequest{PhoneNumber: planted}, &AssessmentRequest{PhoneNumber: planted}, PhoneRequest{PhoneNumber: planted}, ListEntry{PhoneNumber: planted},
		[]ListEntry{{PhoneNumber: planted}}, map[string]AssessmentRequest{"x": {PhoneNumber: planted}}, struct{ R PhoneRequest }{PhoneRequest{PhoneNumber: planted}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, planted) || strings.Contains(text, "32303235") {
				t.Errorf("%T with %s shows what it holds", v, verb)
			}
		}
	}
}
