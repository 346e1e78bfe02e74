package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/cmd/ringfence/tracing"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	dataFlags
	listenFlags
	init     bool
	profiles string
	policy   string
	onError  string
	quiet    bool
	otlp     string
	changes  int64
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
	fl := cmd.Flags()
	fl.BoolVar(&f.init, "init", false, "make the keyring and the store if they are missing")
	textSetting(fl, &f.profiles, "profile_socket")
	textSetting(fl, &f.policy, "policy")
	textSetting(fl, &f.onError, "on_error")
	spanSetting(fl, &f.retain.Subjects, "keep_subjects")
	spanSetting(fl, &f.retain.Log, "keep_events")
	sizeSetting(fl, &f.retain.LogBytes, "log_bytes")
	f.memory.add(cmd)
	sizeSetting(fl, &f.reserve, "disk_reserve")
	sizeSetting(fl, &f.changes, "max_in_flight")
	switchSetting(fl, &f.quiet, "quiet")
	textSetting(fl, &f.otlp, "otlp_endpoint")
	return cmd
}

// onErrors are the values of --on-error.
var onErrors = map[string]scoring.Decision{"deny": 0, "allow": scoring.Allow, "challenge": scoring.Challenge}

// ballastBytes is what a server keeps on its disk to delete when that is full.
const ballastBytes = 64 << 20

// serve runs until ctx ends and everything under way is answered.
func serve(ctx context.Context, f serveFlags, stderr io.Writer) (err error) {
	if err := harden(); err != nil {
		return err
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
	spareProcessor()
	level := slog.LevelInfo
	if f.quiet {
		level = slog.LevelWarn
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	f.ballast = ballastBytes
	keys, err := access.OpenRing(f.callersPath())
	if err != nil {
		return err
	}
	if err := errors.Join(f.check(keys), f.memory.check()); err != nil {
		return err
	}
	store, hasher, err := f.open(f.init, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	trail, err := f.auditLog(f.ring)
	if err != nil {
		return err
	}
	e, err := newEngine(ctx, store, hasher.Domain(), policy, trail, log)
	if err != nil {
		return err
	}
	others, err := f.otherDomains(ctx, store, policy, trail, log)
	if err != nil {
		return err
	}
	secure, err := f.tls(log)
	if err != nil {
		return err
	}
	hashing.Warm()
	sweep := &sweeper{store: store, log: log}
	watch := newKeyWatch(&f.dataFlags, store, log)
	cfg := server.Config{
		Engine: e, Hasher: hasher, Log: log, OnError: onError, LateEvents: store.LateEvents, Stalls: store.Stalls,
		MaxChanges: int(f.changes), Unready: unready(store), Measures: slices.Concat(sweep.measures(), spaceMeasures(store), holdingMeasures(store), watch.measures()),
		SubjectKeys: f.keysOf(hashing.DefaultDomain), Retention: store.Retention(), KeyUse: watch.use,
		Version: version, Keys: keys, Domain: hashing.DefaultDomain, Domains: others, Audit: trail, TLS: secure,
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
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	return f.answer(ctx, s, keys, log, func() {
		beside.Go(func() { sweep.run(ctx) })
		beside.Go(func() { watch.run(ctx) })
		jobs, err := listenAdmin(ctx, f.data) // before anybody is answered
		if err != nil {
			log.Warn("the server takes no jobs: ringfence store works only while it is stopped", "error", err)
			return
		}
		a := &admin{store: store, rekey: func(ctx context.Context) error { return watch.rekey(ctx, s) }, log: log}
		a.labels = func(ctx context.Context, j job, file io.Reader) (*labelReport, error) {
			return serveLabels(ctx, store, watch.keyring(), trail, j, file)
		}
		beside.Go(func() { a.serve(ctx, jobs) })
	})
}

// keysOf returns what may be told of the keys of a domain.
func (f *dataFlags) keysOf(domain string) []hashing.DomainKey {
	for _, d := range f.ring.Domains() {
		if d.Name == domain {
			return d.Keys
		}
	}
	return nil
}

// newEngine returns the engine of a domain. A policy that is not live already is put in force; that is in the audit.
func newEngine(ctx context.Context, store *pebblestore.Store, domain hashing.DomainID, policy *scoring.Policy, trail *audit.Log, log *slog.Logger) (*engine.Engine, error) {
	before, err := store.PolicyState(ctx, domain)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(ctx, engine.Config{Store: store, Domain: domain, Policy: policy, Now: time.Now})
	if err != nil {
		return nil, err
	}
	_, live := e.InForce()
	if policy == nil || live == before.Live {
		return e, nil
	}
	was := "no policy live"
	if before.Live != 0 {
		was = fmt.Sprintf("version %d live in domain %d", before.Live, domain)
		log.Warn("the file of --policy is in force in place of the policy that was live", "domain", domain, "was", before.Live, "is", live)
	}
	return e, trail.Append(byHand("policies.adopt", "", was, fmt.Sprintf("version %d live in domain %d, from the file of serve", live, domain)))
}

// otherDomains returns what the further domains of the keyring are served with. A policy is for those that have none yet.
func (f *serveFlags) otherDomains(
	ctx context.Context, store *pebblestore.Store, policy *scoring.Policy, trail *audit.Log, log *slog.Logger,
) (map[string]server.Space, error) {
	others := map[string]server.Space{}
	for _, d := range f.ring.Domains() {
		if d.Name == hashing.DefaultDomain {
			continue
		}
		hasher, err := f.ring.Domain(d.Name)
		if err != nil {
			return nil, err
		}
		state, err := store.PolicyState(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		own := policy
		if state.Live != 0 {
			own = nil
		}
		e, err := newEngine(ctx, store, d.ID, own, trail, log)
		if err != nil {
			return nil, err
		}
		others[d.Name] = server.Space{Engine: e, Hasher: hasher, Keys: d.Keys}
	}
	return others, nil
}

// unready says why a store takes no events.
func unready(store *pebblestore.Store) func() string {
	return func() string {
		switch {
		case store.Full():
			return "the disk is nearly full: nothing is counted"
		case store.Stuck():
			return "the disk takes nothing: changes wait for it"
		}
		return ""
	}
}

// spaceMeasures are the metrics of the disk.
func spaceMeasures(store *pebblestore.Store) []server.Measure {
	return []server.Measure{
		{Name: "ringfence_disk_free_bytes", Help: "Free space on the disk of the store, 0 when the file system cannot tell.", Read: func() float64 { return float64(store.FreeBytes()) }},
		{Name: "ringfence_disk_full", Help: "1 while changes are refused because the disk is nearly full.", Read: oneWhile(store.Full)},
		{Name: "ringfence_disk_stuck", Help: "1 while changes have waited for the disk for 5 s or longer, and it took none.", Read: oneWhile(store.Stuck)},
	}
}

// oneWhile returns what is 1 while something holds, and 0 otherwise.
func oneWhile(holds func() bool) func() float64 {
	return func() float64 {
		if holds() {
			return 1
		}
		return 0
	}
}

// answer listens, starts what runs beside, and answers until ctx ends.
func (f *serveFlags) answer(ctx context.Context, s *server.Server, keys *access.Ring, log *slog.Logger, beside func()) error {
	l, err := f.listen(ctx)
	if err != nil {
		return err
	}
	if f.profiles != "" {
		socket, err := listenProfiles(ctx, f.profiles)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		go serveProfiles(ctx, socket)
	}
	if keys.Needed() {
		log.Info("serving", "addr", l.Addr().String(), "keys", keys.Live())
	} else {
		log.Warn("serving without keys for callers: anybody on this machine may ask", "addr", l.Addr().String())
	}
	if !f.sealed {
		log.Warn(plainKeyring)
	}
	beside()
	return s.Serve(ctx, l)
}
