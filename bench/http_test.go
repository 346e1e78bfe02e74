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
	}), 64, singles)
}

// BenchmarkHTTP is durable assessments over 64 connections on loopback. What it
// reports per second includes the work of the clients, which share the machine.
func BenchmarkHTTP(b *testing.B) { answers(b, newServer(b).Handler(), 64, singles) }

// BenchmarkBatch is the same in batches of 100 over 8 connections. An operation is one line of a batch.
func BenchmarkBatch(b *testing.B) { answers(b, newServer(b).Handler(), 8, batches) }

// answers sends assessments to a handler. A conversation sends them as long as there is a next one.
func answers(b *testing.B, handler http.Handler, connections int, converse func(c *load.Client, s *load.Source, next func() bool) error) {
	b.Helper()
	h := httptest.NewServer(handler)
	defer h.Close()
	var callers atomic.Uint64
	b.SetParallelism(connections / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	used := load.CPU()
	b.RunParallel(func(pb *testing.PB) {
		c, err := load.Dial(b.Context(), h.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		if err := converse(c, load.Hot(1_000_000).Source(callers.Add(1)), pb.Next); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
	cpuMetric(b, used)
}

func singles(c *load.Client, s *load.Source, next func() bool) error {
	var body []byte
	for next() {
		body = s.Body(body[:0])
		if err := c.Post("/v1/assessments", body); err != nil {
			return err
		}
	}
	return nil
}

func batches(c *load.Client, s *load.Source, next func() bool) error {
	const most = 100
	var body []byte
	for n := most; n == most; {
		body, n = body[:0], 0
		for n < most && next() {
			body = append(s.Body(body), '\n')
			n++
		}
		if n == 0 {
			break
		}
		if err := c.PostLines("/v1/assessments/batch", body, n); err != nil {
			return err
		}
	}
	return nil
}
