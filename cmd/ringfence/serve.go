package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/cmd/ringfence/tracing"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	dataFlags
	listenFlags
	init    bool
	admin   string
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
	f.dataFlags.add(cmd)
	f.addCallers(cmd)
	f.listenFlags.add(cmd)
	cmd.Flags().StringVar(&f.admin, "admin-socket", "", "path of a unix socket for profiles, which only the user of the server can open (default: none)")
	cmd.Flags().BoolVar(&f.init, "init", false, "make the keyring and the store if they are missing")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: the embedded policy)")
	cmd.Flags().StringVar(&f.onError, "on-error", "deny", "what an assessment answers when the store cannot be asked: deny (with 503), allow or challenge")
	cmd.Flags().BoolVar(&f.quiet, "quiet", false, "log no requests, only what goes wrong")
	cmd.Flags().StringVar(&f.otlp, "otlp-endpoint", "", "address of an OpenTelemetry collector, such as http://127.0.0.1:4318 (default: spans are not made)")
	return cmd
}

// onErrors are the values of --on-error.
var onErrors = map[string]scoring.Decision{"deny": 0, "allow": scoring.Allow, "challenge": scoring.Challenge}

// serve runs until ctx ends and everything under way is answered.
func serve(ctx context.Context, f serveFlags, stderr io.Writer) (err error) {
	if err := harden(); err != nil {
		return err
	}
	onError, ok := onErrors[f.onError]
	if !ok {
		return usage("--on-error is deny, allow or challenge")
	}
	policy, err := readPolicy(f.policy)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if f.quiet {
		level = slog.LevelWarn
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	keys, err := access.OpenRing(f.callersPath())
	if err != nil {
		return err
	}
	if err := f.check(keys); err != nil {
		return err
	}
	store, hasher, err := f.open(f.init, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	e, err := engine.New(ctx, engine.Config{Store: store, Domain: hasher.Domain(), Policy: policy, Now: time.Now})
	if err != nil {
		return err
	}
	trail, err := f.auditLog(f.ring)
	if err != nil {
		return err
	}
	secure, err := f.tls(log)
	if err != nil {
		return err
	}
	hashing.Warm()
	cfg := server.Config{
		Engine: e, Hasher: hasher, Log: log, OnError: onError, LateEvents: store.LateEvents, Stalls: store.Stalls,
		Keys: keys, Domain: hashing.DefaultDomain, Audit: trail, TLS: secure,
	}
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
	return f.answer(ctx, s, keys, log)
}

// answer listens and answers until ctx ends.
func (f *serveFlags) answer(ctx context.Context, s *server.Server, keys *access.Ring, log *slog.Logger) error {
	l, err := f.listen(ctx)
	if err != nil {
		return err
	}
	if f.admin != "" {
		admin, err := listenAdmin(ctx, f.admin)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		go serveAdmin(ctx, admin)
	}
	if keys.Needed() {
		log.Info("serving", "addr", l.Addr().String(), "keys", keys.Live())
	} else {
		log.Warn("serving without keys for callers: anybody on this machine may ask", "addr", l.Addr().String())
	}
	if !f.sealed {
		log.Warn(plainKeyring)
	}
	return s.Serve(ctx, l)
}
