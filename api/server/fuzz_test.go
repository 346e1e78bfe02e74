package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// bodies are the calls that read a body, and how it comes.
var bodies = []struct{ path, media string }{
	{"/v1/assessments", "application/json"},
	{"/v1/assessments/batch", "application/x-ndjson"},
	{"/v1/outcomes", "application/json"},
	{"/v1/links/check", "application/json"},
	{"/v1/links/unlink", "application/json"},
	{"/v1/numbers/lookup", "application/json"},
	{"/v1/numbers/release", "application/json"},
	{"/v1/lists/deny/entries", "application/json"},
	{"/v1/lists/deny/entries", "application/x-ndjson"},
}

// planted is in every hostile request, and may be in no refusal and no log.
const planted = "2025550143"

// FuzzRequests sends hostile bodies to every call that reads one. Nothing panics or is answered as a failure of ours; what
// is refused is not repeated; and every event that was answered with an assessment is in the log.
func FuzzRequests(f *testing.F) {
	for i := range bodies {
		f.Add(uint8(i), []byte(`{"phone_number":"+1 202 555 0143","event":"signup","account_id":"a"}`+"\n"))
	}
	f.Add(uint8(1), []byte("{\"phone_number\":\"+1 202 555 0143\",\"event\":\"signup\",\"idempotency_key\":\"k\"}\n\nx\n{\"event\":\"sign_in\",\"ip\":\"192.0.2.1\"}"))
	f.Add(uint8(0), []byte(strings.Repeat(`{"a":`, 40)))
	s, log := newTestServer(f)
	f.Fuzz(func(t *testing.T, call uint8, body []byte) {
		c := bodies[int(call)%len(bodies)]
		w := ask(t, s, http.MethodPost, c.path, c.media, string(body))
		if w.Code >= 500 {
			t.Fatalf("%s: status %d", c.path, w.Code)
		}
		if w.Code == http.StatusOK && strings.HasPrefix(c.path, "/v1/assessments") {
			holdLogged(t, s, c.media, w.Body.String())
		}
		w = ask(t, s, http.MethodPost, c.path, c.media, `{"`+string(body)+planted+`":1}`)
		if w.Code >= 500 || strings.Contains(w.Body.String(), planted) || strings.Contains(log.String(), planted) {
			t.Fatalf("%s: status %d, or what was sent came back", c.path, w.Code)
		}
		log.mu.Lock()
		log.b.Reset()
		log.mu.Unlock()
	})
}

// ask is do without the contract: what is hostile keeps to none.
func ask(t *testing.T, s *Server, method, path, media, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// holdLogged looks for every assessment of an answer in the log, unless nothing was to be counted.
func holdLogged(t *testing.T, s *Server, media, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var answer api.BatchAnswer
		var one api.Assessment
		if media == "application/json" {
			answer.Assessment, answer.Status = &one, http.StatusOK
			if json.Unmarshal([]byte(line), &one) != nil {
				t.Fatal("the answer is not JSON")
			}
		} else if json.Unmarshal([]byte(line), &answer) != nil {
			t.Fatal("a line of the answer is not JSON")
		}
		if answer.Status >= 500 {
			t.Fatalf("a line is answered with %d", answer.Status)
		}
		if a := answer.Assessment; a != nil && a.AssessmentID != "" {
			if w := ask(t, s, http.MethodGet, "/v1/assessments/"+a.AssessmentID, media, ""); w.Code != http.StatusOK {
				t.Fatalf("an assessment that was answered is not logged: %d", w.Code)
			}
		}
	}
}
