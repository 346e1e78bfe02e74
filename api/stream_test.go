package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"
)

// events are lines whose place is their account.
func events(n int) iter.Seq2[BatchLine, error] {
	return func(yield func(BatchLine, error) bool) {
		for i := range n {
			if !yield(BatchLine{AssessmentRequest: AssessmentRequest{Event: "signup", AccountID: fmt.Sprint(i + 1)}}, nil) {
				return
			}
		}
	}
}

// answers says what a server does with a stream: it answers up to `most` lines with their account as score,
// notes their keys, and then does the end.
func (s *scripted) answers(most int, end func(w http.ResponseWriter, n int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Content-Type", ndjson)
		w.Header().Set("Connection", "close")
		_ = control.Flush()
		in := bufio.NewScanner(r.Body)
		n := 1
		for ; n <= most && in.Scan(); n++ {
			var l BatchLine
			_ = json.Unmarshal(in.Bytes(), &l)
			s.mu.Lock()
			s.lines = append(s.lines, l)
			s.mu.Unlock()
			_, _ = fmt.Fprintf(w, `{"line":%d,"status":200,"assessment":{"assessment_id":%q}}`+"\n", n, l.AccountID)
			_ = control.Flush()
		}
		if n > most {
			end(w, n)
		}
	}
}

func problemLine(code string, status int) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, n int) {
		_, _ = fmt.Fprintf(w, `{"line":%d,"status":%d,"problem":{"type":%q,"status":%d}}`+"\n", n, status, ProblemType(code), status)
	}
}

// TestBatchGoesOn meets every way in which a stream can end early: each line has one answer, in order,
// and the key it was first sent with.
func TestBatchGoesOn(t *testing.T) {
	c, s := script(t)
	s.streams, c.patience = true, time.Second
	s.steps = []http.HandlerFunc{
		hangUp,
		s.answers(3, func(w http.ResponseWriter, _ int) { hangUp(w, nil) }),
		answer(503, store),
		s.answers(10, problemLine("draining", 503)),
		s.answers(0, problemLine("timeout", 408)),
		s.answers(1500, func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, `{"line":`) }),
		s.answers(5, func(http.ResponseWriter, int) {}),
		s.answers(1<<30, nil),
	}
	const all = 4000
	n := 0
	for a, err := range c.AssessBatch(t.Context(), events(all)) {
		if err != nil {
			t.Fatal(n, err)
		}
		if n++; a.Line != n || a.Assessment.AssessmentID != fmt.Sprint(n) {
			t.Fatalf("answer %d: line %d, %s", n, a.Line, a.Assessment.AssessmentID)
		}
	}
	if n != all {
		t.Errorf("%d answers", n)
	}
	keys := map[string]string{}
	for _, l := range s.lines {
		if key, again := keys[l.AccountID]; l.IdempotencyKey == "" || again && key != l.IdempotencyKey {
			t.Fatalf("line %s was sent with the keys %q and %q", l.AccountID, key, l.IdempotencyKey)
		}
		keys[l.AccountID] = l.IdempotencyKey
	}
}

// swallow takes as many lines as a client sends at a time, says nothing, and does the end.
func swallow(end http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := bufio.NewScanner(r.Body)
		for range window {
			in.Scan()
		}
		end(w, r)
	}
}

// TestBatchIsNotHeldUpBySilence meets a server that takes lines and is gone before it says anything, and one that stays and says nothing: to
// both there is nothing more to send, so that the connection shows nothing.
func TestBatchIsNotHeldUpBySilence(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	t.Run("for a while", func(t *testing.T) {
		c, s := script(t)
		s.streams, c.patience, c.Attempts = true, 100*time.Millisecond, 20
		s.steps = []http.HandlerFunc{swallow(hangUp), swallow(silent), s.answers(1<<30, nil)}
		n := 0
		for a, err := range c.AssessBatch(t.Context(), events(2*window)) {
			if n++; err != nil || a.Line != n {
				t.Fatal(n, err)
			}
		}
		if n != 2*window {
			t.Errorf("%d answers", n)
		}
	})
	t.Run("for ever", func(t *testing.T) {
		c, s := script(t, swallow(silent))
		s.streams, c.patience, c.Attempts = true, time.Millisecond, 2
		for _, err := range c.AssessBatch(t.Context(), events(2*window)) {
			if !errors.Is(err, errSilent) {
				t.Error(err)
			}
		}
	})
	t.Run("until ctx ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, s := script(t, swallow(func(w http.ResponseWriter, r *http.Request) {
			hangUp(w, r)
			cancel()
		}))
		s.streams, c.patience = true, time.Hour
		for _, err := range c.AssessBatch(ctx, events(2*window)) {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

func TestBatchGivesUp(t *testing.T) {
	mine := errors.New("mine")
	broken := func(yield func(BatchLine, error) bool) {
		for l, err := range events(5) {
			if !yield(l, err) {
				return
			}
		}
		yield(BatchLine{}, errors.Join(io.EOF, mine))
	}
	for _, c := range []struct {
		name     string
		step     func(*scripted) http.HandlerFunc
		lines    iter.Seq2[BatchLine, error]
		want     error
		answers  int
		requests int
	}{
		{"its lines", func(s *scripted) http.HandlerFunc { return s.answers(1<<30, nil) }, broken, mine, 5, 1},
		{"refused", func(*scripted) http.HandlerFunc { return answer(415, `{"type":"urn:ringfence:problem:media-type"}`) }, events(5), ErrMediaType, 0, 1},
		{"down", func(*scripted) http.HandlerFunc { return answer(503, store) }, events(5), ErrStore, 0, 4},
		{"says nothing", func(*scripted) http.HandlerFunc { return answer(200, "") }, events(5), errEarly, 0, 4},
		{"somebody else", func(*scripted) http.HandlerFunc { return answer(200, "<html>\n") }, events(5), errNotOurs, 0, 1},
		{"out of step", func(s *scripted) http.HandlerFunc { return s.answers(0, problemLine("invalid", 422)) }, events(5), nil, 1, 4},
	} {
		client, s := script(t)
		s.streams = true
		s.steps = []http.HandlerFunc{c.step(s)}
		n := 0
		var last error
		for _, err := range client.AssessBatch(t.Context(), c.lines) {
			if last = err; err == nil {
				n++
			}
		}
		if c.name == "out of step" {
			continue // every line is answered, one a request
		}
		if last == nil || !errors.Is(last, c.want) || n != c.answers || len(s.saw()) != c.requests {
			t.Errorf("%s: %v behind %d answers, %d requests", c.name, last, n, len(s.saw()))
		}
	}
}

// TestBatchOfAServerThatIsAhead reads an answer to a line that nobody has sent yet.
func TestBatchOfAServerThatIsAhead(t *testing.T) {
	b := &batch{yield: func(*BatchAnswer, error) bool { return true }}
	b.moved.L = &b.mu
	answer := `{"line":1,"status":422,"problem":{"type":"x","status":422}}` + "\n"
	if err := b.read(bufio.NewReader(strings.NewReader(answer))); !errors.Is(err, errNotOurs) {
		t.Errorf("%v", err)
	}
}

func TestBatchStopsWhenAsked(t *testing.T) {
	c, s := script(t)
	s.streams = true
	s.steps = []http.HandlerFunc{s.answers(1<<30, nil)}
	n := 0
	for _, err := range c.AssessBatch(t.Context(), events(100_000)) {
		if n++; n == 10 || err != nil {
			break
		}
	}
	if n != 10 || len(s.saw()) != 1 {
		t.Errorf("%d answers, %d requests", n, len(s.saw()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, err := range c.AssessBatch(ctx, events(100_000)) {
		n++
		last = err
		if n == 10 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) || n > 5000 {
		t.Errorf("%v behind %d answers", last, n)
	}
}

// TestImportGoesInPieces sends more than one request, the second of them twice.
func TestImportGoesInPieces(t *testing.T) {
	c, s := script(t)
	s.bodies = true
	said := answer(200, `{"read":9,"added":8,"refused":1,"lines":[{"line":7,"code":"too_short"}]}`)
	s.steps = []http.HandlerFunc{said, answer(503, store), said}
	const all = 16_000
	a, err := c.ImportEntries(t.Context(), "watch", func(yield func(ListEntry, error) bool) {
		for i := range all {
			if !yield(ListEntry{PhoneNumber: fmt.Sprintf("+1 202 555 01%02d", i%100), Reason: strings.Repeat("x", 64)}, nil) {
				return
			}
		}
	})
	if err != nil || a.Added != 16 || a.Refused != 2 || len(a.Lines) != 2 {
		t.Fatal(a, err)
	}
	sent := 0
	for i, body := range s.sent {
		if n := strings.Count(body, "\n"); i != 1 {
			sent += n
		}
		if len(body) > importSize+200 {
			t.Errorf("a request of %d bytes", len(body))
		}
	}
	if first := strings.Count(s.sent[0], "\n"); len(s.sent) != 3 || s.sent[1] != s.sent[2] || sent != all || a.Lines[1].Line != first+7 {
		t.Errorf("%d requests, %d lines, refused line %d", len(s.sent), sent, a.Lines[1].Line)
	}
	if s.saw()[0] != "" {
		t.Error("a stream with a key")
	}
}
