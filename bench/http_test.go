package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringfence/ringfence/api/server"
)

// body is a signup of one of the numbers, of 2,000 accounts, 1,500 devices and
// 65,536 addresses.
func body(numbers []string, n int) string {
	return fmt.Sprintf(`{"phone_number":%q,"event":"signup","account_id":"a%d","device_id":"d%d","ip":"10.0.%d.%d"}`,
		numbers[n%len(numbers)], n%2000, n%1500, n>>8&255, n&255)
}

func newServer(b *testing.B) *server.Server {
	b.Helper()
	e, h := newEngine(b)
	s, err := server.New(server.Config{Engine: e, Hasher: h, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkHandler is a durable assessment from the bytes of the body to the
// bytes of the answer, without a network.
func BenchmarkHandler(b *testing.B) {
	h := newServer(b).Handler()
	text := body(digits(), 1)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/assessments", strings.NewReader(text))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkFloor is the same traffic to a handler that does nothing: what the
// machine, net/http and the clients leave for the rest.
func BenchmarkFloor(b *testing.B) {
	load(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("{}\n"))
	}))
}

// BenchmarkHTTP is durable assessments over 64 connections on loopback. What it
// reports per second includes the work of the clients, which share the machine.
func BenchmarkHTTP(b *testing.B) { load(b, newServer(b).Handler()) }

// load sends assessments to a handler over 64 connections.
func load(b *testing.B, handler http.Handler) {
	b.Helper()
	h := httptest.NewServer(handler)
	defer h.Close()
	address := h.Listener.Addr().String()
	numbers := digits()
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, err := dial(b, address)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		for pb.Next() {
			if err := c.post(body(numbers, int(next.Add(1)))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// client is the least that can send requests and read answers.
type client struct {
	net.Conn
	in  *bufio.Reader
	out bytes.Buffer
}

func dial(b *testing.B, address string) (*client, error) {
	b.Helper()
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{Conn: conn, in: bufio.NewReader(conn)}, nil
}

func (c *client) post(body string) error {
	c.out.Reset()
	fmt.Fprintf(&c.out, "POST /v1/assessments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := c.Write(c.out.Bytes()); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return errors.New("refused")
	}
	length := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(n))); err != nil {
				return err
			}
		}
	}
	_, err = io.CopyN(io.Discard, c.in, int64(length))
	return err
}
