package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// A caller who may not read must not learn from the time of an answer either whether a number was
// seen: one in memory is found some microseconds sooner than one that is nowhere. So answers to such callers leave
// at the next multiple of a beat after the request came, and a random part of a beat later: the work hides
// below the beat, and the coarse timers of the runtime below the random part.
const beat = time.Millisecond

// untilBeat returns how long an answer has to wait that took so long. random is in [0, 1).
func untilBeat(took time.Duration, random float64) time.Duration {
	return (took/beat+1)*beat - took + time.Duration(random*float64(beat))
}

// pace waits until an answer to a request that began then may leave, or until ctx ends.
func pace(ctx context.Context, began time.Time) {
	t := time.NewTimer(untilBeat(time.Since(began), rand.Float64())) //nolint:gosec // hides microseconds, and keeps no secret
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// paced keeps the answer of a call back until it may leave. Streams do so themselves, for each of their parts.
func (s *Server) paced(c *gin.Context, began time.Time) {
	h := &held{ResponseWriter: c.Writer, status: http.StatusOK}
	c.Writer = h
	defer h.settle()
	finished := false
	defer func() {
		c.Writer = h.ResponseWriter
		if pace(c.Request.Context(), began); finished {
			h.release()
		}
	}()
	c.Next()
	finished = true
}
