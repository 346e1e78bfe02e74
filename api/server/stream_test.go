package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/access"
)

// lines sends NDJSON and returns the lines of the answer.
func lines[Answer any](t testing.TB, s *Server, path, body string, header ...string) []Answer {
	t.Helper()
	w := do(t, s, "POST", path, body, nil, append(header, "Content-Type", ndjson)...)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ndjson {
		t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var all []Answer
	for text := range bytes.Lines(w.Body.Bytes()) {
		var a Answer
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, a)
	}
	return all
}

// TestBatchAnswersEveryLineInOrder mixes good and broken lines: each good one of a number
// counts behind the one above it, whatever is worked on side by side.
func TestBatchAnswersEveryLineInOrder(t *testing.T) {
	s, _ := newTestServer(t)
	var in strings.Builder
	const n = 3000
	for i := range n {
		switch i % 5 {
		case 4:
			in.WriteString([]string{`{"event":`, `{"event":"x","ip":"y"}`, strings.Repeat("x", 80<<10), `[1]`}[i/5%4] + "\n")
		default:
			fmt.Fprintf(&in, `{"phone_number":"+1202555%04d","event":"sign_in","account_id":"u%d"}`+"\r\n", 100+i%4, i)
		}
	}
	answers := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", in.String())
	if len(answers) != n {
		t.Fatalf("%d answers", len(answers))
	}
	seen := map[string]string{}
	for i, a := range answers {
		if a.Line != i+1 {
			t.Fatalf("answer %d is to line %d", i, a.Line)
		}
		if want := []int{400, 422, 413, 422}[i/5%4]; i%5 == 4 && (a.Status != want || a.Problem.Status != want || a.Assessment != nil) {
			t.Fatalf("line %d: status %d, want %d", a.Line, a.Status, want)
		} else if i%5 == 4 {
			continue
		}
		if a.Status != 200 || a.Problem != nil || a.Assessment.AssessmentID <= seen[a.Assessment.PhoneToken] {
			t.Fatalf("line %d: status %d, id %v behind %s", a.Line, a.Status, a.Assessment, seen[a.Assessment.PhoneToken])
		}
		seen[a.Assessment.PhoneToken] = a.Assessment.AssessmentID
	}
	var p api.Profile
	do(t, s, "POST", "/v1/numbers/lookup", `{"phone_number":"+12025550100"}`, &p)
	if len(seen) != 4 || p.Velocity[0].Total != n/5 {
		t.Errorf("%d numbers, one was counted %d times", len(seen), p.Velocity[0].Total)
	}
}

func TestBatchLinesCountOncePerKey(t *testing.T) {
	s, _ := newTestServer(t)
	keyed := `{"phone_number":"+12025550143","event":"signup","idempotency_key":"k1"}`
	in := keyed + "\n\n" + keyed + "\n" + strings.Replace(keyed, "signup", "sign_in", 1) + "\n" + strings.Replace(keyed, "k1", "a b", 1)
	answers := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", in)
	if len(answers) != 4 || answers[1].Line != 3 || !answers[1].Replayed || answers[0].Replayed ||
		answers[1].Assessment.AssessmentID != answers[0].Assessment.AssessmentID ||
		answers[2].Status != 422 || answers[2].Problem.Type != api.ProblemType("key-reused") || answers[3].Problem.Errors[0].Pointer != "/idempotency_key" {
		t.Errorf("%+v", answers)
	}
}

func TestBatchPeeksAndTakesTokens(t *testing.T) {
	s, _ := newTestServer(t)
	first := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", signup)[0]
	in := `{"event":"signup","record":false,"phone_token":"` + first.Assessment.PhoneToken + `"}`
	a := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", in)[0].Assessment
	if a.AssessmentID != "" || a.PhoneToken != first.Assessment.PhoneToken || a.Signals["signups_1h"] != 2 || a.Number != nil {
		t.Errorf("%+v", a)
	}
	if !strings.Contains(strings.Join(a.Degraded, " "), "range_sent_1h") {
		t.Errorf("the range of a token is known: %v", a.Degraded)
	}
}

func TestBatchIsRefusedAsAWhole(t *testing.T) {
	s, _ := newTestServer(t)
	for _, c := range []struct {
		status int
		header []string
	}{
		{415, []string{"Content-Type", "application/json"}},
		{422, []string{"Content-Type", ndjson, "Idempotency-Key", "k"}},
	} {
		if w := do(t, s, "POST", "/v1/assessments/batch", signup, nil, c.header...); w.Code != c.status {
			t.Errorf("%v: status %d", c.header, w.Code)
		}
	}
	if got := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", "\n \n"); got != nil {
		t.Errorf("answers to blank lines: %v", got)
	}
}

func TestBatchEndsBehindItsBound(t *testing.T) {
	s, _ := newTestServer(t)
	s.maxBatch = 1000
	answers := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", strings.Repeat("x\n", s.maxBatch+2))
	last := answers[len(answers)-1]
	if len(answers) != s.maxBatch+1 || last.Line != s.maxBatch+1 || last.Status != 413 || last.Problem.Type != api.ProblemType("too-many-lines") {
		t.Errorf("%d answers, the last %+v", len(answers), last)
	}
	if answers := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", strings.Repeat("x\n", s.maxBatch)+"\n"); len(answers) != s.maxBatch {
		t.Errorf("%d answers to as many lines as there may be", len(answers))
	}
}

// duplex sends lines as they are written, and reads answers as they come.
func duplex(t *testing.T, s *Server) (send func(string), receive func() api.BatchAnswer, end func()) {
	t.Helper()
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	reader, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/assessments/batch", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", ndjson)
	w, err := h.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Body.Close() })
	in := bufio.NewReader(w.Body)
	send = func(text string) {
		if _, err := io.WriteString(writer, text); err != nil && !errors.Is(err, io.ErrClosedPipe) { // what is missing then is not received
			t.Fatal(err)
		}
	}
	receive = func() (a api.BatchAnswer) {
		text, err := in.ReadBytes('\n')
		if err != nil || json.Unmarshal(text, &a) != nil {
			t.Fatalf("no answer: %v, %s", err, text)
		}
		return a
	}
	return send, receive, func() {
		_ = writer.Close()
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end: %v", err)
		}
	}
}

// TestBatchAnswersWhileItIsSent waits for every answer before the next line goes out.
func TestBatchAnswersWhileItIsSent(t *testing.T) {
	s, _ := newTestServer(t)
	send, receive, end := duplex(t, s)
	for i := range 20 {
		send(signup + "\n")
		if a := receive(); a.Line != i+1 || a.Assessment.Signals["signups_1h"] != float64(i+1) {
			t.Fatalf("line %d: %+v", i+1, a)
		}
	}
	end()
}

// TestStreamsAreBounded has as many streams open as there may be: whoever comes then is told to come again, and finds a place once one has ended.
func TestStreamsAreBounded(t *testing.T) {
	s, _ := newTestServer(t)
	const most = 2
	s.streams = newPlaces(most)
	var ends []func()
	for range most {
		send, receive, end := duplex(t, s)
		send(signup + "\n")
		receive()
		ends = append(ends, end)
	}
	for _, path := range []string{"/v1/assessments/batch", "/v1/lists/many/entries"} {
		var p api.Problem
		if w := do(t, s, "POST", path, signup, &p, "Content-Type", ndjson); w.Code != 503 || p.Type != api.ProblemType("overloaded") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s beyond the bound: %d %+v", path, w.Code, p)
		}
	}
	if w := do(t, s, "POST", "/v1/assessments", signup, nil); w.Code != 200 {
		t.Errorf("a single call beside them: %d", w.Code)
	}
	for _, end := range ends {
		end()
	}
	for s.streams.taken() > 0 { // its end is told before its place is given back
		runtime.Gosched()
	}
	for range 3 {
		if answers := lines[api.BatchAnswer](t, s, "/v1/assessments/batch", signup); len(answers) != 1 || answers[0].Status != 200 {
			t.Errorf("with room again: %+v", answers)
		}
	}
}

// TestNoKeyTakesAllStreams has one key after the other take as many places as it gets.
func TestNoKeyTakesAllStreams(t *testing.T) {
	p := newPlaces(128)
	take := func(who string, want int) {
		t.Helper()
		n := 0
		for p.take(who) {
			n++
		}
		if n != want {
			t.Errorf("%q took %d places, want %d", who, n, want)
		}
	}
	take("a", 64)
	take("b", 32)
	for n := 16; n > 0; n /= 2 {
		take(fmt.Sprint("c", n), n)
	}
	if p.taken() != 127 {
		t.Errorf("%d places are taken", p.taken())
	}
	p.leave("a")
	take("a", 0) // who has many waits until there is more room
	take("d", 1)
	for range 63 {
		p.leave("a")
	}
	take("a", 32)
	take("", 32) // where nobody needs a key
	if p = newPlaces(1); !p.take("a") || p.take("b") {
		t.Error("of one place, who comes first has it")
	}
}

// TestStreamsAreSharedAmongKeys has one caller open as many streams as it can.
func TestStreamsAreSharedAmongKeys(t *testing.T) {
	g := newGuarded(t)
	g.streams = newPlaces(4)
	greedy, other := g.key(t, nil, access.Assess), g.key(t, nil, access.Assess)
	h := httptest.NewServer(g.Handler())
	t.Cleanup(h.Close)
	open := func(key string) int {
		t.Helper()
		body, writer := io.Pipe()
		t.Cleanup(func() { _ = writer.Close() })
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/assessments/batch", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", ndjson)
		r.Header.Set("Authorization", key)
		w, err := h.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Body.Close() })
		return w.StatusCode
	}
	for i, want := range []int{200, 200, 503} {
		if code := open(greedy); code != want {
			t.Errorf("stream %d of one key: %d", i+1, code)
		}
	}
	if code := open(other); code != 200 {
		t.Errorf("another key: %d", code)
	}
}

func TestBatchDoesNotWaitForEver(t *testing.T) {
	s, _ := newTestServer(t)
	s.lineTimeout = 50 * time.Millisecond
	send, receive, end := duplex(t, s)
	send(signup + "\n" + signup[:10])
	if a := receive(); a.Status != 200 {
		t.Errorf("%+v", a)
	}
	if a := receive(); a.Line != 2 || a.Status != 408 {
		t.Errorf("half a line: %+v", a)
	}
	end()
}

// TestStreamsOverHTTP2 has nothing to say, and nobody to read, for longer than an answer or a line may take: there a deadline ends a stream also while nobody waits for it.
func TestStreamsOverHTTP2(t *testing.T) {
	const limit = time.Second
	signups := func(text string) int { return strings.Count(text, `"status":200`) }
	for name, c := range map[string]struct {
		path         string
		line, second string // second comes late, if at all
		whole        func(text string) bool
	}{
		"an import":            {"/v1/lists/slow/entries", `{"phone_number":"+12025550143"}`, `{"phone_number":"+12025550144"}`, func(text string) bool { return strings.Contains(text, `"added":2`) }},
		"a batch":              {"/v1/assessments/batch", signup, signup, func(text string) bool { return signups(text) == 2 }},
		"a batch that is held": {"/v1/assessments/batch", strings.TrimSuffix(strings.Repeat(strings.Repeat(" ", 4000)+signup+"\n", 3*chunkLines), "\n"), "", func(text string) bool { return signups(text) == 3*chunkLines }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newTestServer(t)
			s.writeTimeout = limit
			h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit)) // as http.Server does, but not for the handshake
				s.Handler().ServeHTTP(w, r)
			}))
			h.EnableHTTP2 = true
			h.StartTLS()
			t.Cleanup(h.Close)
			if c.second == "" { // nobody works on the lines, of which there are so many that some are not even sent
				s.lineTimeout = limit
				s.turn.Lock()
				time.AfterFunc(2*limit, s.turn.Unlock)
			}
			body, writer := io.Pipe()
			go func() {
				_, _ = io.WriteString(writer, c.line+"\n")
				if c.second != "" {
					<-time.After(2 * limit)
					_, _ = io.WriteString(writer, c.second)
				}
				_ = writer.Close()
			}()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+c.path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", ndjson)
			w, err := h.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Body.Close() }()
			text, err := io.ReadAll(w.Body)
			if err != nil || w.ProtoMajor != 2 || !c.whole(string(text)) {
				t.Errorf("%s, %v: ...%s", w.Proto, err, text[max(0, len(text)-300):])
			}
		})
	}
}

// TestAClientThatReadsNothing has a client of HTTP/2 take nothing from its connection: whatever the server says of the stream waits in line behind that, its end included.
func TestAClientThatReadsNothing(t *testing.T) {
	h := httptest.NewUnstartedServer(nil)
	h.StartTLS()
	certificates := h.TLS.Certificates
	trusted := h.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	h.Close()
	trusted.NextProtos, trusted.ServerName = []string{"h2"}, "example.com" // of the certificate
	var s *Server
	dial := listening(t, func(of *Server) {
		s = of
		s.writeTimeout = time.Second
		s.cfg.TLS = &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	})
	held := make(chan struct{}) // closed: the client reads again
	defer close(held)
	begun := make(chan struct{})
	connection := dial()
	if err := connection.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		secure := tls.Client(&stopping{connection, begun, held}, trusted)
		return secure, secure.HandshakeContext(ctx)
	}}
	body, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/v1/assessments/batch", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", ndjson)
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Body.Close() }()
	if s.streams.taken() != 1 {
		t.Fatal("it has no place")
	}
	close(begun)
	sent := make(chan struct{})
	go func() { // until nobody takes them any more
		defer close(sent)
		for err := error(nil); err == nil; {
			_, err = io.WriteString(writer, strings.Repeat(signup+"\n", 100))
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); s.streams.taken() > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it keeps its place for ever")
		}
	}
	_ = body.Close()
	<-sent
}

// stopping is a connection that nobody reads from between two moments.
type stopping struct {
	net.Conn
	from, until chan struct{}
}

func (c *stopping) Read(b []byte) (int, error) {
	select {
	case <-c.from:
		<-c.until
	default:
	}
	return c.Conn.Read(b)
}

// TestBlankLinesBuyNoTime sends nothing else, until its place is given back. The last answer may be lost: nobody reads on what comes in behind a time
// that ran out.
func TestBlankLinesBuyNoTime(t *testing.T) {
	s, _ := newTestServer(t)
	s.lineTimeout = 50 * time.Millisecond
	send, receive, _ := duplex(t, s)
	send(signup + "\n")
	if a := receive(); a.Status != 200 {
		t.Errorf("%+v", a)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				send(" \n")
			}
		}
	}()
	for s.streams.taken() > 0 {
		runtime.Gosched()
	}
	close(stop)
	<-stopped
}

func TestBatchEndsWhenTheServerStops(t *testing.T) {
	s, _ := newTestServer(t)
	send, receive, end := duplex(t, s)
	send(signup + "\n")
	receive()
	s.draining.Store(true)
	send(signup + "\n")
	if a := receive(); a.Line != 2 || a.Status != 503 || a.Problem.Type != api.ProblemType("draining") {
		t.Errorf("%+v", a)
	}
	end()
}

// TestAnImportThatEndsEarlyIsAnswered while the client still sends, also where the answer waits for the audit and for its beat.
func TestAnImportThatEndsEarlyIsAnswered(t *testing.T) {
	for _, audited := range []bool{true, false} {
		g := newGuarded(t, func(cfg *Config) {
			if !audited {
				cfg.Audit = nil
			}
		})
		g.lingering = time.Hour
		key := g.key(t, nil, access.Tune) // may not read, so that its answers wait for their beat where they do not for the audit
		h := httptest.NewServer(g.Handler())
		reader, writer := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/lists/deny/entries", reader)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", ndjson)
		r.Header.Set("Authorization", key)
		g.draining.Store(true)
		go func() { _, _ = io.WriteString(writer, `{"phone_number":"+12025550143"}`+"\n") }()
		w, err := h.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var p api.Problem
		if err := json.NewDecoder(w.Body).Decode(&p); err != nil || w.StatusCode != 503 || p.Type != api.ProblemType("draining") {
			t.Errorf("audited %v: status %d, %+v, %v", audited, w.StatusCode, p, err)
		}
		if err := errors.Join(writer.Close(), w.Body.Close()); err != nil {
			t.Error(err)
		}
		h.Close() // waits for the call
	}
}

// TestAStreamThatPanicsIsNoSuccess: an answer that is held back is not begun while the rest of the stream is read.
func TestAStreamThatPanicsIsNoSuccess(t *testing.T) {
	s := newGuarded(t)
	g := gin.New()
	g.Use(s.observe)
	g.POST("/", func(c *gin.Context) { s.audited(c, route{did: "lists.add"}, new(visit)) }, func(c *gin.Context) {
		s.stream(c, 1, func([]line) error { panic("at work") }, func(int, error) {})
	})
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}\n")))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}

// TestInboxIsBounded puts lines that nobody takes.
func TestInboxIsBounded(t *testing.T) {
	for _, size := range []int{1, maxLine} {
		b := newInbox(func() {})
		done := make(chan int)
		go func() {
			n := 0
			for b.put(line{n + 1, make([]byte, size)}) {
				n++
			}
			done <- n
		}()
		taken, err := b.take()
		if err != nil || len(taken) == 0 {
			t.Fatal(len(taken), err)
		}
		most := min(chunkLines, chunkBytes/size)
		for held := 0; held < most; { // it fills up again
			b.mu.Lock()
			held = len(b.lines)
			b.mu.Unlock()
		}
		b.close()
		if n := <-done; n > len(taken)+most {
			t.Errorf("%d lines of %d bytes were taken in, %d are held", n, size, most)
		}
	}
}
