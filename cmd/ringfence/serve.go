package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/cmd/ringfence/tracing"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	dataFlags
	addr    string
	init    bool
	policy  string
	onError string
	quiet   bool
	otlp    string
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "answer requests over HTTP", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), f, cmd.ErrOrStderr()) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.addr, "addr", "127.0.0.1:8080", "address to listen on; a loopback address")
	cmd.Flags().BoolVar(&f.init, "init", false, "make the keyring and the store if they are missing")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file to put in force, as a version of its own unless it is live already (default: what is live; in a new data folder, the embedded policy)")
	cmd.Flags().StringVar(&f.onError, "on-error", "deny", "what an assessment answers when the store cannot be asked: deny (with 503), allow or challenge")
	cmd.Flags().BoolVar(&f.quiet, "quiet", false, "log no requests, only what goes wrong")
	cmd.Flags().StringVar(&f.otlp, "otlp-endpoint", "", "address of an OpenTelemetry collector, such as http://127.0.0.1:4318 (default: spans are not made)")
	return cmd
}

// onErrors are the values of --on-error.
var onErrors = map[string]scoring.Decision{"deny": 0, "allow": scoring.Allow, "challenge": scoring.Challenge}

// serve runs until ctx ends and everything under way is answered.
func serve(ctx context.Context, f serveFlags, stderr io.Writer) (err error) {
	if !loopback(f.addr) {
		return errors.New("only loopback addresses are served for now, since callers have no keys yet; put a proxy that knows your callers in front")
	}
	onError, ok := onErrors[f.onError]
	if !ok {
		return usage("--on-error is deny, allow or challenge")
	}
	var policy *scoring.Policy // the one that is live in the data folder
	if f.policy != "" {
		if policy, err = readPolicy(f.policy); err != nil {
			return err
		}
	}
	level := slog.LevelInfo
	if f.quiet {
		level = slog.LevelWarn
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	store, hasher, err := f.open(f.init, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	e, err := engine.New(ctx, engine.Config{Store: store, Domain: hasher.Domain(), Policy: policy, Now: time.Now})
	if err != nil {
		return err
	}
	hashing.Warm()
	cfg := server.Config{Engine: e, Hasher: hasher, Log: log, OnError: onError, LateEvents: store.LateEvents, Stalls: store.Stalls}
	if f.otlp != "" {
		tracer, startErr := tracing.Start(ctx, f.otlp, version, log)
		if startErr != nil {
			return startErr
		}
		cfg.Trace = tracer.Span
		defer func() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = tracer.Close(last) // says itself in the log what could not be sent
		}()
	}
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", f.addr, err)
	}
	log.Warn("serving without keys for callers: anybody on this machine may ask", "addr", l.Addr().String())
	return s.Serve(ctx, l)
}

// loopback reports whether an address to listen on stays on this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
