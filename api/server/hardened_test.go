package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listening returns a server that listens, and how to connect to it.
func listening(t *testing.T, change func(*Server)) func() net.Conn {
	t.Helper()
	s, _ := newTestServer(t)
	change(s)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

// TestASlowHeadIsCutOff sends a head that never ends, a byte at a time and not at all.
func TestASlowHeadIsCutOff(t *testing.T) {
	connect := listening(t, func(s *Server) { s.headerTimeout = 50 * time.Millisecond })
	for name, text := range map[string]string{"half a head": "POST /v1/assessments HTTP/1.1\r\nHost: localhost\r\nX-A: ", "one letter": "P"} {
		conn := connect()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)              // ends when the server hangs up,
		if errors.Is(err, syscall.ECONNRESET) { // also on what it has not read yet
			err = nil
		}
		if err != nil || strings.Contains(string(b), "200") {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if headerTimeout > 5*time.Second || readTimeout > 10*time.Second || writeTimeout > 15*time.Second || idleTimeout > time.Minute {
		t.Error("a limit is longer than what is promised")
	}
}

func TestALargeHeadIsRefused(t *testing.T) {
	connect := listening(t, func(*Server) {})
	for size, want := range map[int]int{8 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn := connect()
		go func() {
			_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: "+strings.Repeat("a", size)+"\r\n\r\n")
		}()
		w, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || w.StatusCode != want {
			t.Errorf("%d bytes: %v, %v", size, w, err)
			continue
		}
		_ = w.Body.Close()
	}
}

// TestAnswersProtectThemselves looks at every kind of answer.
func TestAnswersProtectThemselves(t *testing.T) {
	s, _ := newTestServer(t)
	for _, call := range [][2]string{{"GET", "/livez"}, {"GET", "/metrics"}, {"GET", "/openapi.yaml"}, {"POST", "/v1/assessments"}, {"GET", "/none"}, {"PUT", "/v1/lists"}} {
		h := do(t, s, call[0], call[1], "", nil, "X-Forwarded-For", "203.0.113.7").Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", call[1], name, h.Get(name))
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Server") != "" {
			t.Errorf("%s: %v", call[1], h)
		}
	}
}
