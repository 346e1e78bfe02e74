package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTraceparent holds that the log has the caller's trace id, and nothing else that stood in its place.
func TestTraceparent(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	s, log := newTestServer(t)
	var spans []string
	s.cfg.Trace = func(ctx context.Context, parent, method, route string) (context.Context, func(int)) {
		return ctx, func(status int) { spans = append(spans, method+" "+route+" "+http.StatusText(status)+" "+parent) }
	}
	for _, header := range []string{
		"00-" + id + "-00f067aa0ba902b7-01", "00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01",
		"00-00000000000000000000012025550143-00f067aa0ba902b7-01", "12025550143", "00-12025550143-a-01", "",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/lists", nil)
		r.Header.Set("traceparent", header)
		s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	if text := log.String(); strings.Count(text, `"trace_id":"`+id+`"`) != 1 || strings.Count(text, `"trace_id":""`) != 5 || strings.Contains(text, "5550143") {
		t.Error(text)
	}
	if len(spans) != 6 || spans[0] != "GET /v1/lists OK 00-"+id+"-00f067aa0ba902b7-01" || spans[2] != "GET /v1/lists OK " {
		t.Errorf("spans: %q", spans)
	}
}
