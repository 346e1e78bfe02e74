package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"
)

// headPatience is how long the head of an answer may take once so many lines wait for theirs that no more are sent. A server sends it at once.
const headPatience = 10 * time.Second

// Bounds of a stream.
const (
	window        = 1024      // lines that are sent and not answered
	longestStream = 100_000   // lines of one request
	longestLine   = 256 << 10 // bytes, of an answer
)

// AssessBatch assesses events as they come and yields an answer to each, in order: the
// assessment, or the problem of this one line (see BatchAnswer.Err). Events of one
// number are counted in their order. There may be any number of lines; Line of an answer
// is the place of its line among all of them, from 1.
//
// It ends with the first error: of lines, of ctx, or of a server that could not be
// asked however often. Until then, lines without an answer are sent again, each under the idempotency
// key that it has or gets, so that it is counted once. HTTP.Timeout does not apply: end it by ctx.
//
// lines runs on another goroutine, up to 1,024 lines ahead of the answers, and is
// waited for at the end: it must not block for ever.
func (c *Client) AssessBatch(ctx context.Context, lines iter.Seq2[BatchLine, error]) iter.Seq2[*BatchAnswer, error] {
	return func(yield func(*BatchAnswer, error) bool) {
		next, stop := iter.Pull2(lines)
		defer stop()
		b := &batch{client: c, next: next, yield: yield}
		b.moved.L = &b.mu
		if err := b.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

var (
	errStopped = errors.New("nobody wants more answers")
	errNoMore  = errors.New("there are no more lines")
	errEarly   = errors.New("ringfence: the answer ends early")
	errGoOn    = errors.New("the lines go on in another request")
	errSilent  = errors.New("ringfence: no answer: not even the head of one came; is there a proxy that holds requests back?")
)

// batch is a stream of lines over as many requests as it takes.
type batch struct {
	client *Client
	next   func() (BatchLine, error, bool) // of the goroutine that writes
	yield  func(*BatchAnswer, error) bool

	mu       sync.Mutex
	moved    sync.Cond // what is below changed
	answered int       // lines; guarded by mu
	waiting  [][]byte  // those behind them that were taken from next, encoded; guarded by mu
	ended    bool      // next has no more; guarded by mu
	source   error     // with which it ended; guarded by mu
}

// connection is one of the requests of a batch. What it notes is guarded by the batch's mu.
type connection struct {
	hangUp func() // breaks it
	gone   bool   // nothing is sent any more
	headed bool   // the head of the answer came, or none will
	silent bool   // it was given up before
}

// run makes requests until all lines are answered.
func (b *batch) run(ctx context.Context) error {
	attempts, bound := 1, firstWait
	for {
		before := b.answered
		err := b.connect(ctx)
		if b.answered > before {
			attempts, bound = 1, firstWait
		}
		switch {
		case err == nil:
			return b.source
		case errors.Is(err, errStopped), errors.Is(err, errNotOurs), ctx.Err() != nil:
			return err
		case errors.Is(err, errGoOn) && b.answered > before:
			continue
		case errors.Is(err, ErrTimeout): // the lines paused: nobody's fault
			attempts, bound = 0, firstWait
		case errors.Is(err, errGoOn): // and yet it answered nothing
			err = errEarly
		}
		if attempts >= b.client.attempts() || !again(err) {
			return err
		}
		if b.client.backOff(ctx, err, bound) != nil {
			return err
		}
		attempts++
		bound = min(2*bound, longestWait)
	}
}

// connect makes one request of what is not answered yet, and yields answers. nil is the
// end of all lines.
func (b *batch) connect(ctx context.Context) error {
	body, lines := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	conn := &connection{hangUp: func() { _ = body.CloseWithError(errStopped) }}
	defer context.AfterFunc(ctx, conn.hangUp)() // net/http waits for all of the body, and that waits for answers
	var writing sync.WaitGroup
	writing.Go(func() { _ = lines.CloseWithError(b.write(conn, lines)) })
	defer func() {
		cancel()
		conn.hangUp()
		b.mu.Lock()
		conn.gone = true
		b.moved.Broadcast()
		b.mu.Unlock()
		writing.Wait()
	}()
	res, err := b.client.stream(ctx, "/v1/assessments/batch", body)
	switch silent := b.headCame(conn); {
	case err != nil && ctx.Err() != nil:
		return unanswered(ctx.Err())
	case err != nil && silent:
		return errSilent
	case err != nil:
		return err
	}
	defer func() { _ = res.Body.Close() }()
	err = b.read(bufio.NewReaderSize(res.Body, longestLine))
	if err != nil && !errors.Is(err, errStopped) && ctx.Err() != nil { // what was broken by its end says so in many ways
		return unanswered(ctx.Err())
	}
	return err
}

// headCame notes that nobody waits for the head of an answer any more, and reports whether that was given up.
func (b *batch) headCame(conn *connection) (silent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	conn.headed = true
	return conn.silent
}

// read yields the answers of one request.
func (b *batch) read(in *bufio.Reader) error {
	for n := 1; ; n++ {
		a, err := readAnswer(in)
		switch {
		case errors.Is(err, io.EOF):
			return b.end()
		case err != nil:
			return err
		case a.Line != n:
			return errNotOurs
		}
		if err := a.Err(); errors.Is(err, ErrTimeout) || err != nil && again(err) {
			return err
		}
		if a.Line = b.took(); a.Line == 0 {
			return errNotOurs
		}
		if !b.yield(a, nil) {
			return errStopped
		}
	}
}

var errNotOurs = errors.New("ringfence: the answer is not what this call returns; is this the address of a ringfence server?")

func readAnswer(in *bufio.Reader) (*BatchAnswer, error) {
	text, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF) && len(text) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("ringfence: the answer ends early: %w", err)
	}
	a := new(BatchAnswer)
	if json.Unmarshal(text, a) != nil || (a.Problem == nil) == (a.Assessment == nil) {
		return nil, errNotOurs
	}
	return a, nil
}

// took drops the first line that waits, and returns its place among all; 0 when none was sent that could be answered.
func (b *batch) took() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return 0
	}
	b.answered++
	b.waiting = slices.Delete(b.waiting, 0, 1)
	b.moved.Broadcast()
	return b.answered
}

// end says what the end of an answer means: nil when all lines have theirs.
func (b *batch) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.waiting) > 0:
		return errEarly
	case b.ended:
		return nil
	}
	return errGoOn
}

// write sends what waits, and then what comes, on one connection.
func (b *batch) write(conn *connection, w io.Writer) error {
	b.mu.Lock()
	first := b.answered
	b.mu.Unlock()
	for n := range longestStream {
		text, err := b.line(conn, first+n)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return io.EOF
}

// line returns a line by its place, from 0: one that waits, or the next one. io.EOF is behind the last.
func (b *batch) line(conn *connection, place int) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := func() bool { return !conn.gone && place-b.answered >= len(b.waiting) && len(b.waiting) >= window }
	if full() && !conn.headed {
		defer time.AfterFunc(cmp.Or(b.client.patience, headPatience), func() { b.giveUp(conn) }).Stop()
	}
	for full() {
		b.moved.Wait()
	}
	switch at := place - b.answered; {
	case conn.gone:
		return nil, errStopped
	case at < len(b.waiting):
		return b.waiting[at], nil
	case b.ended:
		return nil, io.EOF
	}
	b.mu.Unlock()
	text, err := b.encodeNext()
	b.mu.Lock()
	if err != nil {
		b.ended = true
		if !errors.Is(err, errNoMore) {
			b.source = err
		}
		return nil, io.EOF
	}
	b.waiting = append(b.waiting, text)
	return text, nil
}

// giveUp breaks a connection on which everything was sent that may be, and no head of an answer came. It may be broken already: net/http tells
// of that only when it has sent all of the body, and that waits for answers.
func (b *batch) giveUp(conn *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !conn.headed {
		conn.silent = true
		conn.hangUp()
	}
}

// encodeNext returns the next line of the source, with a key if it has none. errNoMore is behind
// the last.
func (b *batch) encodeNext() ([]byte, error) {
	l, err, ok := b.next()
	if !ok {
		return nil, errNoMore
	}
	if err != nil {
		return nil, err
	}
	if l.IdempotencyKey == "" {
		l.IdempotencyKey = rand.Text()
	}
	text, err := json.Marshal(&l)
	if err != nil {
		return nil, fmt.Errorf("ringfence: cannot encode a line: %w", err)
	}
	return append(text, '\n'), nil
}

// stream sends a body that is still being written.
func (c *Client) stream(ctx context.Context, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(path), body)
	if err != nil {
		return nil, errAddress
	}
	req.Header.Set("Content-Type", ndjson)
	c.show(req)
	sender := *c.sender()
	sender.Timeout = 0
	res, err := sender.Do(req)
	if err != nil {
		return nil, unanswered(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("ringfence: the answer ends early: %w", err)
	}
	return nil, refused(res, text)
}

const ndjson = "application/x-ndjson"

const (
	importSize  = 1 << 20 // bytes of one request of an import
	mostRefused = 1000    // lines that an answer names
)

// ImportEntries puts entries on a list, or replaces them. It sends them some thousand
// at a time, each such request again if need be: after an error, those before it are on
// the list. The first 1,000 lines that are refused are in the answer by their place among all entries, from 1.
func (c *Client) ImportEntries(ctx context.Context, list string, lines iter.Seq2[ListEntry, error]) (*ImportAnswer, error) {
	all := new(ImportAnswer)
	var body bytes.Buffer
	sent := 0
	flush := func() error {
		if body.Len() == 0 {
			return nil
		}
		n := bytes.Count(body.Bytes(), []byte("\n"))
		a, err := answerOf[ImportAnswer](ctx, c, &request{method: http.MethodPost, path: entries(list), body: body.Bytes(), kind: ndjson})
		if err != nil {
			return err
		}
		all.Read, all.Added, all.Refused = all.Read+a.Read, all.Added+a.Added, all.Refused+a.Refused
		for _, l := range a.Lines {
			l.Line += sent
			if len(all.Lines) < mostRefused {
				all.Lines = append(all.Lines, l)
			}
		}
		sent += n
		body.Reset()
		return nil
	}
	for entry, err := range lines {
		if err != nil {
			return all, errors.Join(err, flush())
		}
		text, err := json.Marshal(&entry)
		if err != nil {
			return all, fmt.Errorf("ringfence: cannot encode an entry: %w", err)
		}
		body.Write(append(text, '\n'))
		if body.Len() >= importSize {
			if err := flush(); err != nil {
				return all, err
			}
		}
	}
	return all, flush()
}
