package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/bench/canary"
)

// TestPanicsHoldNoDigit has handlers panic with what was sent to them, in the value of the panic, in an error and in a
// runtime error, and looks for it in the answer and in the log at its finest level.
func TestPanicsHoldNoDigit(t *testing.T) {
	s, log := newTestServer(t)
	number := canary.Number("the number", "12025550187", "2025550187")
	if overlooked := number.Control(); len(overlooked) > 0 {
		t.Fatalf("the search overlooks %v", overlooked)
	}
	g := gin.New()
	g.Use(s.observe)
	for path, fail := range map[string]func(body string){
		"/text":    func(body string) { panic(body) },
		"/error":   func(body string) { panic(fmt.Errorf("about %s", body)) },
		"/runtime": func(body string) { _ = []byte(body)[len(body):][len(body)] },
		"/map":     func(body string) { panic(map[string]any{body: []byte(body)}) },
	} {
		g.POST(path, func(c *gin.Context) {
			b, _ := io.ReadAll(c.Request.Body)
			fail(string(b))
		})
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("12025550187")))
		if found := number.Find(w.Body.Bytes()); w.Code != http.StatusInternalServerError || len(found) > 0 {
			t.Errorf("%s: status %d, the answer holds %v", path, w.Code, found)
		}
	}
	if text := log.String(); strings.Count(text, "a handler panicked") != 4 || len(number.Find([]byte(text))) > 0 {
		t.Errorf("%d panics are logged, the log holds %v", strings.Count(text, "a handler panicked"), number.Find([]byte(text)))
	}
}
