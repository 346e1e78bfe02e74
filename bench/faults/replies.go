package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/api"
)

// proxy stands between clients and a server: it sends a fifth of the requests twice, at the same time or one after the other, and
// of a fifth it drops the reply once the server has given it.
type proxy struct {
	to       string
	upstream *http.Client
	random   func() int // 0 to 99

	requests, twice, dropped atomic.Int64
}

const share = 20 // percent

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.requests.Add(1)
	var again sync.WaitGroup
	if p.random() < share {
		p.twice.Add(1)
		if p.random() < 50 {
			_, _, _ = p.forward(r, body)
		} else {
			again.Go(func() { _, _, _ = p.forward(r, body) })
		}
	}
	answer, text, err := p.forward(r, body)
	again.Wait()
	if err != nil || p.random() < share {
		p.dropped.Add(1)
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := answer.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(answer.code)
	_, _ = w.Write(text) //nolint:gosec // it passes answers on
}

type answerHead struct {
	http.Header
	code int
}

func (p *proxy) forward(r *http.Request, body []byte) (answerHead, []byte, error) {
	ctx := context.WithoutCancel(r.Context())                                                     // a client that is gone does not take the request back
	req, err := http.NewRequestWithContext(ctx, r.Method, p.to+r.URL.Path, bytes.NewReader(body)) //nolint:gosec // to our own server
	if err != nil {
		return answerHead{}, nil, err
	}
	req.Header = r.Header.Clone()
	res, err := p.upstream.Do(req) //nolint:gosec // to our own server
	if err != nil {
		return answerHead{}, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return answerHead{res.Header, res.StatusCode}, text, err
}

// replies sends events through the proxy with the Go client, which sends again what was not answered, and holds that each
// was counted once.
func replies(b *bench) error {
	const clients = 32
	events := b.pick(3000, 100_000)
	p, err := b.start(filepath.Join(b.folder, "replies"))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(b.seed, 2)) //nolint:gosec // made-up faults
	between := &proxy{to: p.url, upstream: httpClient(10 * time.Second), random: func() int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(100)
	}}
	l, err := new(net.ListenConfig).Listen(b.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, p.drain())
	}
	h := &http.Server{Handler: between, ReadHeaderTimeout: 5 * time.Second, ErrorLog: nil}
	go func() { _ = h.Serve(l) }()
	book := new(ledger)
	c := &api.Client{BaseURL: "http://" + l.Addr().String(), Attempts: 30, HTTP: httpClient(10 * time.Second)}
	err = sendAll(b.ctx, book, c, clients, events)
	err = errors.Join(err, h.Close(), book.check(b.ctx, client(p.url)), p.drain())
	if err != nil {
		return err
	}
	b.printf("replies: %d events in %d requests, %d of them sent twice by the proxy, %d replies dropped: each counted once",
		events, between.requests.Load(), between.twice.Load(), between.dropped.Load())
	return nil
}

func sendAll(ctx context.Context, book *ledger, c *api.Client, clients, events int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, clients)
	for i := range clients {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= events && failed[i] == nil; n = int(next.Add(1)) {
				book.begin(n % numbers)
				if _, failed[i] = c.Assess(ctx, event(n%numbers, n%500)); failed[i] == nil {
					book.acknowledge(n % numbers)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("an event was not answered: %w", err)
	}
	return nil
}
