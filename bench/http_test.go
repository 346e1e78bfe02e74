package bench

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/bench/load"
)

func newServer(b *testing.B) *server.Server {
	b.Helper()
	e, h := newEngine(b)
	s, err := server.New(server.Config{Engine: e, Hasher: h, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkHandler is a durable assessment from the bytes of the body to the
// bytes of the answer, without a network.
func BenchmarkHandler(b *testing.B) {
	h := newServer(b).Handler()
	text := string(load.Hot(1_000_000).Source(1).Body(nil))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/assessments", strings.NewReader(text))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkFloor is the same traffic to a handler that does nothing: what the
// machine, net/http and the clients leave for the rest.
func BenchmarkFloor(b *testing.B) {
	answers(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("{}\n"))
	}))
}

// BenchmarkHTTP is durable assessments over 64 connections on loopback. What it
// reports per second includes the work of the clients, which share the machine.
func BenchmarkHTTP(b *testing.B) { answers(b, newServer(b).Handler()) }

// answers sends assessments to a handler over 64 connections.
func answers(b *testing.B, handler http.Handler) {
	b.Helper()
	h := httptest.NewServer(handler)
	defer h.Close()
	var callers atomic.Uint64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	used := load.CPU()
	b.RunParallel(func(pb *testing.PB) {
		source := load.Hot(1_000_000).Source(callers.Add(1))
		c, err := load.Dial(b.Context(), h.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		var body []byte
		for pb.Next() {
			body = source.Body(body[:0])
			if err := c.Post("/v1/assessments", body); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
	cpuMetric(b, used)
}
