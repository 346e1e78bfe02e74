package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
// worked on side by side, but those of one number one after the other.
func (s *Server) batch(c *gin.Context) {
	control := http.NewResponseController(c.Writer)
	// Otherwise the first answer ends the reading, and a refusal waits for lines that wait for it. HTTP/2 always can.
	_ = control.EnableFullDuplex()
	c.Header("Connection", "close") // what is left of a stream that ends early must not be taken for another request
	if err := acceptLines(c); err != nil {
		s.refuse(c, err)
		return
	}
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.Header("Content-Type", ndjson)
	c.Status(http.StatusOK)
	c.Writer.Flush() // so that a client may wait for the head before it sends lines
	write := func(answers ...[]byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // an answer in memory has none
		_, err := c.Writer.Write(bytes.Join(answers, nil))
		c.Writer.Flush()
		return err
	}
	last, err := s.stream(c, s.maxBatch, func(lines []line) error {
		began := time.Now()
		answers := s.assessLines(c.Request.Context(), c.GetString(requestID), lines)
		if !mayRead(c.Request.Context()) {
			pace(c.Request.Context(), began)
		}
		return write(answers...)
	})
	var why *refusal
	if errors.As(err, &why) {
		_ = write(s.refusedLine(c.GetString(requestID), last, why)) // the end of the stream either way
	}
}

// entry is a line of a batch on its way.
type entry struct {
	line
	in  lineIn
	err error
}

// lineIn is a line that was read.
type lineIn struct {
	assessing
	key string // "" without one
}

const batchRoute = "/v1/assessments/batch"

// assessLines returns the answer to each line.
func (s *Server) assessLines(ctx context.Context, id string, lines []line) [][]byte {
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
	answers := make([][]byte, len(lines))
	inGroups(s.crew, len(lines), func(i int) any { return entries[i].who(i) }, func(i int) {
		e := &entries[i]
		var text []byte
		replayed := false
		s.shielded(id, &e.err, func() (err error) {
			text, replayed, err = s.assessOnce(&job{ctx: ctx}, id, e.in.key, batchRoute, e.text, e.in.assessing)
			return err
		})
		answers[i] = s.answerLine(id, e, text, replayed)
	})
	return answers
}

// who returns what keeps its order: the number, without one the account, without
// either the line alone.
func (e *entry) who(i int) any {
	if e.err == nil {
		for _, kind := range []hashing.Kind{hashing.Phone, hashing.Account} {
			if subject := e.in.ev.Subjects[kind]; subject.Given() {
				return subject
			}
		}
	}
	return i
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

func (s *Server) answerLine(id string, e *entry, assessment []byte, replayed bool) []byte {
	if e.err != nil {
		return s.refusedLine(id, e.n, explain(e.err))
	}
	s.lines.WithLabelValues(batchRoute, "200").Inc()
	b := appendInt(append(make([]byte, 0, len(assessment)+64), '{'), `"line":`, e.n)
	b = appendInt(b, `"status":`, http.StatusOK)
	if replayed {
		b = append(b, `"replayed":true,`...)
	}
	b = append(append(b, `"assessment":`...), bytes.TrimSuffix(assessment, []byte("\n"))...)
	return append(b, "}\n"...)
}

// refusedLine is the answer to a line that has no assessment.
func (s *Server) refusedLine(id string, n int, r *refusal) []byte {
	s.noteFailure(id, r)
	s.lines.WithLabelValues(batchRoute, strconv.Itoa(r.status)).Inc()
	p := r.problem(id)
	text, err := json.Marshal(api.BatchAnswer{Line: n, Status: r.status, Problem: &p})
	if err != nil {
		panic("server: an answer that is not JSON")
	}
	return append(text, '\n')
}
