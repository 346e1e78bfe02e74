package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// job is one request on its way through a call.
type job struct {
	ctx  context.Context //nolint:containedctx // lives as long as the request
	path string          // the parameter of the path, "" without one
	once *engine.Once

	later bool // whoever made the job calls Engine.Durable before anybody is told the answer

	match string // If-Match, "" without
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
// the request. read makes of a request what run needs, and changes nothing: of a request that cannot
// be decoded whole, it says what is wrong with the rest.
func call[Req, In any](s *Server, read func(*job, *Req) (In, error), run func(*job, In) (any, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		raw, err := body(c)
		if err == nil {
			err = serve(s, c, raw, read, run)
		}
		if err != nil {
			s.refuse(c, err)
		}
	}
}

// serve answers a request whose body was read.
func serve[Req, In any](s *Server, c *gin.Context, raw []byte, read func(*job, *Req) (In, error), run func(*job, In) (any, error)) error {
	j := &job{ctx: c.Request.Context(), path: cmp.Or(c.Param("name"), c.Param("version")), match: c.GetHeader("If-Match")}
	answer, replayed, err := work(s, c, j, raw, read, run)
	if err != nil {
		return err
	}
	respond(c, answer, replayed)
	return nil
}

// work is what happens in between. It makes subjects and names them to the engine, so Rekey must not come into it.
func work[Req, In any](s *Server, c *gin.Context, j *job, raw []byte, read func(*job, *Req) (In, error), run func(*job, In) (any, error)) ([]byte, bool, error) {
	s.turn.RLock()
	defer s.turn.RUnlock()
	in, err := decode(j, raw, read)
	if err != nil {
		return nil, false, err
	}
	key, err := callKey(c)
	if err != nil {
		return nil, false, err
	}
	answer, replayed, err := s.once(j, key, c.FullPath(), raw, func() ([]byte, error) {
		answer, err := run(j, in)
		if err != nil {
			return nil, err
		}
		return encode(answer), nil
	})
	if replayed { // what was done may not be in the audit: that it cannot be written shows only afterwards
		again := "done before under the same Idempotency-Key, and answered again"
		if j.path != "" {
			again = j.path + ": " + again
		}
		note(j.ctx, objectIn(in), "", again)
	}
	return answer, replayed, err
}

// objectIn returns what the audit may say of whom a request is about, "" if that is nobody.
func objectIn(in any) string {
	switch in := in.(type) {
	case named:
		return objectOf(in.phone)
	case []hashing.Subject:
		return objectOf(in[0])
	case linking:
		return objectOf(in.phone)
	case engine.ListEntry:
		return objectOf(in.Subject)
	}
	return ""
}

// respond sends an answer. replayed is one of an earlier request with the same key.
func respond(c *gin.Context, answer []byte, replayed bool) {
	if replayed {
		c.Header("Idempotency-Replayed", "true")
	}
	c.Data(http.StatusOK, "application/json", answer)
}

// decode reads a request. The error has every field that is wrong, each once.
func decode[Req, In any](j *job, raw []byte, read func(*job, *Req) (In, error)) (in In, err error) {
	req := new(Req)
	var bad intake.Fields
	if err := intake.Decode(raw, req); err != nil && !errors.As(err, &bad) {
		return in, err
	}
	if len(bad) == 1 && bad[0].Pointer == "" && bad[0].Code == "wrong_type" {
		return in, bad // no object, so that there are no fields
	}
	in, err = read(j, req)
	if bad == nil {
		return in, err
	}
	if err != nil {
		for _, f := range explain(err).fields {
			if !slices.ContainsFunc(bad, func(b api.FieldError) bool { return b.Pointer == f.Pointer }) {
				bad = append(bad, f)
			}
		}
	}
	return in, bad
}

// callKey returns the Idempotency-Key of a request, "" without one.
func callKey(c *gin.Context) (string, error) {
	keys := c.Request.Header["Idempotency-Key"]
	if len(keys) == 0 {
		return "", nil
	}
	if len(keys) > 1 || !visible(keys[0]) {
		return "", refuseKey
	}
	return keys[0], nil
}

// once runs a call at most once for its key, or simply runs it where key is "".
func (s *Server) once(j *job, key, route string, raw []byte, run func() ([]byte, error)) ([]byte, bool, error) {
	if key == "" {
		answer, err := run()
		return answer, false, err
	}
	return s.space(j.ctx).Engine.Idempotent(j.ctx, s.space(j.ctx).Hasher.Retry(keptUnder(j.ctx, key), route+" "+j.path, raw), j.later,
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
