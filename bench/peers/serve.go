package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/bench/load"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// serveHandler serves on a free port of the loopback interface until in ends.
func serveHandler(ctx context.Context, h http.Handler, in io.Reader, out io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = s.Close()
	}()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newGin() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	return gin.New()
}

// answer is what the peers' handlers say.
type answer struct {
	Decision string  `json:"decision"`
	Counts   []int64 `json:"counts,omitempty"`
}

// serveEmpty is a handler that reads the request and says the same of each: the least that any
// other can take.
func serveEmpty(ctx context.Context, _ string, in io.Reader, out io.Writer) error {
	g := newGin()
	g.POST("/v1/assessments", func(c *gin.Context) {
		_, _ = io.Copy(io.Discard, c.Request.Body)
		c.JSON(http.StatusOK, answer{Decision: "allow"})
	})
	return serveHandler(ctx, g, in, out)
}

// serveRedis is what somebody would build instead: a Gin handler, and full.lua on the server at a socket.
func serveRedis(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	rdb := connect(socket, 64)
	defer func() { _ = rdb.Close() }()
	g := newGin()
	g.POST("/v1/assessments", func(c *gin.Context) {
		var req struct {
			Phone   string `json:"phone_number" binding:"required"`
			Account string `json:"account_id"`
			IP      string `json:"ip"`
		}
		if err := c.ShouldBindJSON(&req); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		block, network := req.Phone[:len(req.Phone)-min(4, len(req.Phone))], req.IP[:max(len(req.IP)-2, 0)]
		counts, err := runFull(c.Request.Context(), rdb, []string{"p" + req.Phone, "r" + block, "a" + req.Account, "i" + req.IP, "n" + network}, time.Now(), 0)
		if err != nil {
			c.Status(http.StatusServiceUnavailable)
			return
		}
		a := answer{Decision: "allow", Counts: counts}
		if counts[3] > 20 || counts[6] > 50 {
			a.Decision = "review"
		}
		c.JSON(http.StatusOK, a)
	})
	return serveHandler(ctx, g, in, out)
}

// openEngine opens a store of its own in a folder, durable as in production.
func openEngine(ctx context.Context, dir string) (*pebblestore.Store, *engine.Engine, *hashing.Hasher, error) {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		return nil, nil, nil, err
	}
	store, err := pebblestore.Open(dir, pebblestore.Options{Keys: ring.KeyChecks(), Create: true})
	if err != nil {
		return nil, nil, nil, err
	}
	e, err := engine.New(ctx, engine.Config{Store: store, Domain: h.Domain(), Policy: scoring.Default(), Now: time.Now})
	return store, e, h, err
}

// serveRingfence is ringfence over HTTP, with a store in a folder.
func serveRingfence(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	store, e, h, err := openEngine(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // thrown away
	s, err := server.New(server.Config{Engine: e, Hasher: h, Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// serveInProcess assesses as a program does that has ringfence inside. Told the number of phones and, behind a slash, a folder, it
// does what it is ordered, and writes the results.
func serveInProcess(ctx context.Context, told string, in io.Reader, out io.Writer) error {
	var phones uint64
	var dir string
	if _, err := fmt.Sscanf(told, "%d %s", &phones, &dir); err != nil {
		return err
	}
	store, e, h, err := openEngine(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // thrown away
	if _, err := fmt.Fprintln(out, strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	var seeds atomic.Uint64
	work := func(int) func() error {
		source := load.Hot(phones).Source(seeds.Add(1))
		var ev engine.Event
		var a engine.Assessment
		return func() error {
			source.Signup(h, &ev)
			return e.Assess(ctx, &ev, &a)
		}
	}
	for orders := json.NewDecoder(in); ; {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(o.run(work)); err != nil {
			return err
		}
	}
}
