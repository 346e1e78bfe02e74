package tracing

import (
	"bytes"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// TestSpans holds that a collector gets the route and the status in the caller's trace.
func TestSpans(t *testing.T) {
	got := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		got <- body
	}))
	defer collector.Close()
	tracer, err := Start(t.Context(), collector.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, end := tracer.Span(t.Context(), "00-"+traceID+"-"+spanID+"-01", http.MethodPost, "/v1/assessments")
	end(http.StatusServiceUnavailable)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := <-got
	for _, id := range []string{traceID, spanID} {
		raw, err := hex.DecodeString(id)
		if err != nil || !bytes.Contains(body, raw) {
			t.Errorf("%s is not in the span: %v", id, err)
		}
	}
	for _, text := range []string{"POST /v1/assessments", "http.response.status_code", "service.name", "ringfence"} {
		if !bytes.Contains(body, []byte(text)) {
			t.Errorf("%s is not in the span", text)
		}
	}
}

// TestNoCollector holds that a collector that is gone costs a line in the log and nothing else.
func TestNoCollector(t *testing.T) {
	collector := httptest.NewServer(http.NotFoundHandler())
	url := collector.URL
	collector.Close()
	var log bytes.Buffer
	tracer, err := Start(t.Context(), url, "test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, end := tracer.Span(t.Context(), "nonsense", http.MethodGet, "/readyz")
	end(http.StatusOK)
	err = tracer.Close(t.Context())
	if err == nil && !strings.Contains(log.String(), "cannot be sent") {
		t.Error("nobody was told")
	}
}

func TestStartRefuses(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:4318", "ftp://127.0.0.1", "http://", "http://%zz"} {
		if _, err := Start(t.Context(), endpoint, "test", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q is taken", endpoint)
		}
	}
}
