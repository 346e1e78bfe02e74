package server

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/bench/load"
)

// BenchmarkFloor is a Gin handler that reads the request and says the same of each, over 64 connections: what Gin, net/http,
// the machine and the clients leave for the rest.
func BenchmarkFloor(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.POST("/v1/assessments", func(c *gin.Context) {
		_, _ = io.Copy(io.Discard, c.Request.Body)
		c.JSON(http.StatusOK, map[string]string{"decision": "allow"})
	})
	s := httptest.NewServer(g)
	defer s.Close()
	b.ReportAllocs()
	b.ResetTimer()
	r := load.Closed(64, math.MaxInt64/2*time.Nanosecond, uint64(b.N), func(worker int) func() error {
		source := load.Hot(1_000_000).Source(uint64(worker))
		c, err := load.Dial(b.Context(), s.Listener.Addr().String())
		if err != nil {
			return func() error { return err }
		}
		b.Cleanup(func() { _ = c.Close() })
		var body []byte
		return func() error {
			body = source.Body(body[:0])
			return c.Post("/v1/assessments", body)
		}
	})
	if r.Failed > 0 {
		b.Fatal(r.First)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
	b.ReportMetric(float64(r.CPU.Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}
