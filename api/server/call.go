package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
)

// job is one request on its way through a call.
type job struct {
	ctx  context.Context //nolint:containedctx // lives as long as the request
	path string          // the parameter of the path, "" without one
	once *engine.Once
}

// remember says how the answer will look once the mutation's results are
// known. A mutation with an idempotency key keeps it.
func (j *job) remember(answer func() any) {
	if j.once != nil {
		j.once.Render = func() []byte { return encode(answer()) }
	}
}

// appender is an answer that writes itself.
type appender interface{ appendJSON(dst []byte) []byte }

// encode cannot fail: answers hold nothing that JSON does not have.
func encode(answer any) []byte {
	if a, ok := answer.(appender); ok {
		return append(a.appendJSON(make([]byte, 0, 1<<10)), '\n')
	}
	b, err := json.Marshal(answer)
	if err != nil {
		panic("server: an answer that is not JSON")
	}
	return append(b, '\n')
}

// call is a handler: read, decode, run once, answer. Req is the wire type of
// the request.
func call[Req any](s *Server, run func(*job, *Req) (any, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		raw, err := body(c)
		if err != nil {
			s.refuse(c, err)
			return
		}
		req := new(Req)
		if err := intake.Decode(raw, req); err != nil {
			s.refuse(c, err)
			return
		}
		j := &job{ctx: c.Request.Context(), path: c.Param("name")}
		answer, replayed, err := s.once(c, raw, j, func() ([]byte, error) {
			answer, err := run(j, req)
			if err != nil {
				return nil, err
			}
			return encode(answer), nil
		})
		if err != nil {
			s.refuse(c, err)
			return
		}
		if replayed {
			c.Header("Idempotency-Replayed", "true")
		}
		c.Data(http.StatusOK, "application/json", answer)
	}
}

// once runs a call at most once for its Idempotency-Key, or simply runs it.
func (s *Server) once(c *gin.Context, raw []byte, j *job, run func() ([]byte, error)) ([]byte, bool, error) {
	keys := c.Request.Header["Idempotency-Key"]
	if len(keys) == 0 {
		answer, err := run()
		return answer, false, err
	}
	if len(keys) > 1 || !visible(keys[0]) {
		return nil, false, refuseKey
	}
	h := s.cfg.Hasher
	return s.cfg.Engine.Idempotent(j.ctx, h.Domain(), h.IdempotencyKey(keys[0]), h.Fingerprint(c.FullPath()+" "+j.path, raw),
		func(once *engine.Once) ([]byte, error) {
			j.once = once
			return run()
		})
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}
