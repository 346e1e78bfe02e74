package server

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Bounds of a stream of lines. What was read and is not worked on yet never takes more
// than chunkBytes and one line.
const (
	maxLine    = maxBody
	chunkBytes = 1 << 20
	chunkLines = 256
)

// line is one line of NDJSON.
type line struct {
	n    int    // from 1
	text []byte // without space around it; nil for one that is too long
}

// inbox is where one goroutine puts the lines it reads, and another takes all there
// are: so work comes in as large pieces as the client sends it, and a client
// who waits for every answer gets it.
type inbox struct {
	mu    sync.Mutex
	moved sync.Cond // lines, end or closed changed
	lines []line    // guarded by mu
	bytes int       // of lines; guarded by mu
	end   error     // why no more lines come; guarded by mu
	shut  bool      // nobody takes any more; guarded by mu
	rest  func()    // called before put waits, when no line can be late: over HTTP/2 a deadline ends a stream that nobody reads, too
}

func newInbox(rest func()) *inbox {
	b := &inbox{rest: rest}
	b.moved.L = &b.mu
	return b
}

func (b *inbox) full() bool { return len(b.lines) >= chunkLines || b.bytes >= chunkBytes }

// put waits for room, and reports false when nobody takes the line any more.
func (b *inbox) put(l line) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shut && b.full() {
		b.rest()
	}
	for !b.shut && b.full() {
		b.moved.Wait()
	}
	if b.shut {
		return false
	}
	b.lines, b.bytes = append(b.lines, l), b.bytes+len(l.text)
	b.moved.Signal()
	return true
}

// arm sets the time by which the next line has to be there, unless nobody takes it: then
// the end of reading, which close brought about, stays.
func (b *inbox) arm(set func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shut {
		set()
	}
}

// finish says that no more lines come.
func (b *inbox) finish(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = why
	b.moved.Signal()
}

// take waits for lines and returns all there are, or why no more come.
func (b *inbox) take() ([]line, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.lines) == 0 && b.end == nil {
		b.moved.Wait()
	}
	lines := b.lines
	b.lines, b.bytes = nil, 0
	b.moved.Signal()
	if len(lines) > 0 {
		return lines, nil
	}
	return nil, b.end
}

// close lets put return.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.moved.Signal()
}

// lingering is for how long a stream that ends before its lines do goes on to be read, and thrown away. A connection that is closed while lines come in is
// reset, and takes with it the answers that the client has not read yet; whoever reads the last one stops sending.
const lingering = 2 * time.Second

// stream hands the lines of a request to work, those that are there at a time, until
// they end: nil, or a refusal, or an error of work. Then it calls end, to say the last word.
// last is the number of the line behind the last one that was handed on.
func (s *Server) stream(c *gin.Context, most int, work func([]line) error, end func(last int, err error)) {
	body, control := c.Request.Body, http.NewResponseController(c.Writer)
	b := newInbox(func() { _ = control.SetReadDeadline(time.Time{}) })
	_ = control.SetWriteDeadline(time.Time{}) // over HTTP/2 that of the request would end the stream although nothing is written
	var reading sync.WaitGroup
	reading.Go(func() {
		b.finish(s.readLines(body, control, most, b))
		_, _ = io.Copy(io.Discard, body) // what comes behind the end is nobody's
	})
	stop := func() {
		b.close()
		_ = control.SetReadDeadline(time.Now().Add(s.lingering)) // a body in memory has none
	}
	defer afterAnswer(c, reading.Wait)
	defer stop() // after a panic
	last, err := s.eachLine(b, work)
	stop()
	if _, later := c.Writer.(*held); !later {
		_ = control.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	}
	end(last, err)
}

// afterAnswer calls wait once the answer is on its way: at once, unless it is held back.
func afterAnswer(c *gin.Context, wait func()) {
	if h, ok := c.Writer.(*held); ok {
		h.after = wait
		return
	}
	wait()
}

// eachLine hands lines on.
func (s *Server) eachLine(b *inbox, work func([]line) error) (last int, err error) {
	last = 1
	for {
		lines, err := b.take()
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, err
		case s.draining.Load():
			return last, refuseDraining
		}
		if err := work(lines); err != nil {
			return last, err
		}
		last = lines[len(lines)-1].n + 1
	}
}

// readLines puts every line that is not blank into a box. Each has to be there within the
// time a request has to be read, blank ones before it included.
func (s *Server) readLines(body io.Reader, control *http.ResponseController, most int, b *inbox) error {
	r := bufio.NewReaderSize(body, maxLine)
	blank := false
	for n := 1; ; n++ {
		if !blank { // or who sends nothing else would stay for ever
			b.arm(func() { _ = control.SetReadDeadline(time.Now().Add(s.lineTimeout)) }) // a body in memory has none
		}
		text, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if last := errors.Is(err, io.EOF) && (long || len(text) > 0); err != nil && !last {
			return unread(err)
		}
		text = bytes.TrimSpace(text)
		blank = len(text) == 0 && !long
		switch {
		case n > most && !blank:
			return refuseLines
		case long:
			text = nil
		case blank:
			continue
		}
		if !b.put(line{n, bytes.Clone(text)}) {
			return io.EOF
		}
	}
}

// unread says why a body cannot be read on.
func unread(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuseTimeout
	}
	return refuseCut
}

// openStream checks the head of a request that is a stream, and takes a place among those that are open. They are bounded, since each may hold some
// MiB, and shared among keys; whoever finds no place comes again. The caller gives it back by leave.
func (s *Server) openStream(c *gin.Context) (leave func(), err error) {
	// Otherwise the first answer ends the reading, and a refusal waits for lines that wait for it. HTTP/2 always can.
	_ = http.NewResponseController(c.Writer).EnableFullDuplex()
	c.Header("Connection", "close") // what is left of a stream that ends early must not be taken for another request
	if err := acceptLines(c); err != nil {
		return nil, err
	}
	who := ""
	if caller := callerOf(c.Request.Context()); caller != nil {
		who = caller.ID
	}
	if !s.streams.take(who) {
		return nil, refuseBusy
	}
	return func() { s.streams.leave(who) }, nil
}

// places are how many streams may be open. Whoever has a key gets one only while there are more free than it holds already: so one key has half of them
// at most, a second one half of the rest, and nobody can take the last from all others. (As Choudhury and Hahne share the memory of a switch: Dynamic queue
// length thresholds for shared-memory packet switches, 1998.)
type places struct {
	mu   sync.Mutex
	free int            // guarded by mu
	held map[string]int // by key; guarded by mu
}

func newPlaces(n int) *places { return &places{free: n, held: map[string]int{}} }

// take takes a place for a key, or for whoever has none: "".
func (p *places) take(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 || who != "" && p.held[who] >= p.free {
		return false
	}
	p.free--
	p.held[who]++
	return true
}

// leave gives a place back.
func (p *places) leave(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.held[who]--; p.held[who] == 0 {
		delete(p.held, who)
	}
}

// taken returns how many places are.
func (p *places) taken() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.held {
		n += held
	}
	return n
}

// acceptLines checks the head of a request that is a stream.
func acceptLines(c *gin.Context) error {
	if c.ContentType() != ndjson {
		return refuseNotLines
	}
	if len(c.Request.Header["Idempotency-Key"]) > 0 {
		return refuseOneKey
	}
	return nil
}

const ndjson = "application/x-ndjson"
