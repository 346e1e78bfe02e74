package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/hashing"
)

// maxBatch is how many lines a batch has at most.
const maxBatch = 100_000

// batch answers every line of a stream as an assessment, in order. Lines are
// worked on side by side, but those of one number one after the other, and
// wait together for one sync of the store.
func (s *Server) batch(c *gin.Context) {
	control := http.NewResponseController(c.Writer)
	leave, err := s.openStream(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	defer leave()
	_ = control.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	c.Header("Content-Type", ndjson)
	c.Status(http.StatusOK)
	c.Writer.Flush() // so that a client may wait for the head before it sends lines
	write := func(answers []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // an answer in memory has none
		_, err := c.Writer.Write(answers)
		c.Writer.Flush()
		return err
	}
	var answers []byte
	s.stream(c, s.maxBatch, func(lines []line) error {
		began := time.Now()
		answers = s.assessLines(answers[:0], c.Request.Context(), requestIDOf(c), lines)
		if !mayRead(c.Request.Context()) {
			pace(c.Request.Context(), began)
		}
		err := write(answers)
		_ = control.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end the stream while the next lines are awaited
		return err
	}, func(last int, err error) {
		var why *refusal
		if errors.As(err, &why) {
			_ = write(s.appendRefused(answers[:0], requestIDOf(c), last, why)) // the end of the stream either way
		}
	})
}

// entry is a line of a batch on its way.
type entry struct {
	line
	in       lineIn
	on       *sheet // nil where it was not to be assessed
	answer   []byte
	replayed bool // the answer is that to an earlier line with the same key, of this batch or another one
	err      error
}

// lineIn is a line that was read.
type lineIn struct {
	assessing
	key string // "" without one
}

// maxFrame is how many bytes surround an assessment in a line.
const maxFrame = 64

const batchRoute = "/v1/assessments/batch"

// assessLines appends the answer to each line.
func (s *Server) assessLines(dst []byte, ctx context.Context, id string, lines []line) []byte {
	s.turn.RLock()
	defer s.turn.RUnlock()
	entries := make([]entry, len(lines))
	spread(len(lines), func(i int) {
		entries[i].line = lines[i]
		s.shielded(id, &entries[i].err, func() (err error) {
			if lines[i].text == nil {
				return refuseTooLarge
			}
			entries[i].in, err = decode(&job{ctx: ctx}, lines[i].text, s.readLine)
			return err
		})
	})
	inOrder(len(lines), func(i int) (hashing.Subject, bool) { return entries[i].who() }, func(i int) {
		e := &entries[i]
		s.shielded(id, &e.err, func() (err error) {
			e.on = newSheet()
			e.answer, e.replayed, err = s.assessOnce(&job{ctx: ctx, later: true}, e.on, e.in.key, batchRoute, e.text, e.in.assessing)
			return err
		})
	})
	lost := s.space(ctx).Engine.Durable(context.WithoutCancel(ctx)) // whoever is gone has been counted, too
	size := 0
	for i := range entries {
		e := &entries[i]
		if e.err == nil {
			e.err = lost
		}
		if e.err != nil && e.on != nil {
			e.answer, e.err = s.fallBack(ctx, e.on, id, e.in.assessing, e.err)
			e.replayed = false
		}
		size += len(e.answer) + maxFrame
	}
	dst = slices.Grow(dst, size)
	for i := range entries {
		e := &entries[i]
		dst = s.appendAnswer(dst, id, e)
		if e.on != nil {
			e.on.done()
		}
	}
	return dst
}

// who returns what keeps its order: the number, without one the account. It reports false without either.
func (e *entry) who() (hashing.Subject, bool) {
	if e.err == nil {
		for _, kind := range [...]hashing.Kind{hashing.Phone, hashing.Account} {
			if subject := e.in.ev.Subjects[kind]; subject.Given() {
				return subject, true
			}
		}
	}
	return hashing.Subject{}, false
}

// shielded runs a part of a request on a goroutine of its own. A panic in it is answered as in any call.
func (s *Server) shielded(id string, into *error, run func() error) {
	if *into != nil {
		return
	}
	defer func() {
		if recover() != nil {
			s.cfg.Log.Error("a part of a request panicked", "request_id", id, "at", callers())
			*into = refuseInternal
		}
	}()
	*into = run()
}

// readLine is read for a line: what is wrong with it, all at once.
func (s *Server) readLine(j *job, req *api.BatchLine) (in lineIn, err error) {
	in.key = req.IdempotencyKey
	if err := s.another(j.ctx); err != nil {
		return in, err
	}
	in.assessing, err = s.readAssess(j, &req.AssessmentRequest)
	if in.key == "" || visible(in.key) {
		return in, err
	}
	bad := intake.Fields{{Pointer: "/idempotency_key", Code: "format", Hint: "1 to 255 visible ASCII characters"}}
	if err != nil {
		bad = append(bad, explain(err).fields...)
	}
	return in, bad
}

// appendAnswer appends the answer to a line.
func (s *Server) appendAnswer(dst []byte, id string, e *entry) []byte {
	if e.err != nil {
		return s.appendRefused(dst, id, e.n, explain(e.err))
	}
	s.lines.WithLabelValues(batchRoute, "200").Inc()
	dst = appendInt(append(dst, '{'), `"line":`, e.n)
	dst = appendInt(dst, `"status":`, http.StatusOK)
	if e.replayed {
		dst = append(dst, `"replayed":true,`...)
	}
	dst = append(append(dst, `"assessment":`...), bytes.TrimSuffix(e.answer, []byte("\n"))...)
	return append(dst, "}\n"...)
}

// appendRefused appends the answer to a line that has no assessment.
func (s *Server) appendRefused(dst []byte, id string, n int, r *refusal) []byte {
	s.noteFailure(id, r)
	s.lines.WithLabelValues(batchRoute, strconv.Itoa(r.status)).Inc()
	p := r.problem(id)
	text, err := json.Marshal(api.BatchAnswer{Line: n, Status: r.status, Problem: &p})
	if err != nil {
		panic("server: an answer that is not JSON")
	}
	return append(append(dst, text...), '\n')
}
