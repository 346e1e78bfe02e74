package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/bench/load"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// report is what was measured.
type report struct {
	fill, hot          *load.Result
	compacted          time.Duration
	usage, after       pebblestore.Usage // when every phone was seen once, and at the end
	subjects           uint64            // when every phone was seen once
	start              time.Duration     // opening a store that was closed
	recovery           time.Duration     // opening one whose process was killed
	recoveryCPU        time.Duration
	rss, generateNanos int64
}

// grown is an open store and what belongs to it.
type grown struct {
	store  *pebblestore.Store
	engine *engine.Engine
	hasher *hashing.Hasher
}

// open opens the store, under the same keys each time. more changes the options.
func (s settings) open(ctx context.Context, more func(*pebblestore.Options)) (*grown, error) {
	ring, err := hashing.NewKeyring(rand.NewChaCha8([32]byte{1}), time.Unix(0, 0)) // protects nothing
	if err != nil {
		return nil, err
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		return nil, err
	}
	o := pebblestore.Options{Keys: ring.KeyChecks(), Create: true, CacheBytes: s.cache}
	if more != nil {
		more(&o)
	}
	store, err := pebblestore.Open(filepath.Join(s.dir, "store"), o)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(ctx, engine.Config{Store: store, Domain: h.Domain(), Policy: scoring.Default(), Now: time.Now})
	return &grown{store, e, h}, err
}

// assess is a worker's function for parties that next returns.
func (g *grown) assess(ctx context.Context, s *load.Source, next func() load.Party) func() error {
	var ev engine.Event
	var a engine.Assessment
	return func() error {
		s.SignupOf(g.hasher, next(), &ev)
		return g.engine.Assess(ctx, &ev, &a)
	}
}

// grow measures one step after the other.
func grow(ctx context.Context, s settings, say io.Writer) (*report, error) {
	r := new(report)
	if err := s.begin(ctx, r, say); err != nil {
		return nil, err
	}
	if err := s.goOn(ctx, r, say); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintln(say, "measured; now the kill")
	return r, s.recover(ctx, r)
}

// begin fills a store and compacts it.
func (s settings) begin(ctx context.Context, r *report, say io.Writer) (err error) {
	g, err := s.open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.store.Close()) }()
	if err := g.fill(ctx, s, r, say); err != nil {
		return err
	}
	began := time.Now()
	if err := g.store.Compact(ctx); err != nil {
		return err
	}
	r.compacted = time.Since(began)
	if r.usage, err = g.store.Usage(ctx); err != nil || !s.cached {
		return err
	}
	return g.load(ctx, s, r)
}

// goOn opens the store again and loads it, if that was not done yet.
func (s settings) goOn(ctx context.Context, r *report, say io.Writer) (err error) {
	began := time.Now()
	g, err := s.open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.store.Close()) }()
	r.start = time.Since(began)
	_, _ = fmt.Fprintf(say, "filled, compacted in %v, opened again in %v\n", r.compacted, r.start)
	if !s.cached {
		if err := g.load(ctx, s, r); err != nil {
			return err
		}
	}
	if r.after, err = g.store.Usage(ctx); err != nil {
		return err
	}
	_, r.rss, err = load.RSS()
	return err
}

// fillStep is how many events are between two looks at the bounds.
const fillStep = 1_000_000

// fill lets every phone sign up once, each with an account of its own; four share an address.
func (g *grown) fill(ctx context.Context, s settings, r *report, say io.Writer) error {
	var next atomic.Uint64
	r.fill = new(load.Result)
	for done := uint64(0); done < s.phones; done += fillStep {
		// More workers than are measured, since nobody waits for these answers.
		step := load.Closed(4*s.workers, s.maxTime, min(fillStep, s.phones-done), func(int) func() error {
			return g.assess(ctx, s.traffic().Source(1), func() load.Party {
				n := next.Add(1) - 1
				return load.Party{Phone: n, Account: n, Address: n / 4}
			})
		})
		if step.Failed > 0 {
			return fmt.Errorf("filling: %w", step.First)
		}
		r.fill.Events += step.Events
		r.fill.Elapsed += step.Elapsed
		r.fill.CPU += step.CPU
		if _, err := g.store.Purge(ctx, time.Now().Unix()); err != nil { // the log is measured apart
			return err
		}
		if err := g.within(ctx, s); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(say, "%d phones, %.0f a second, %v of CPU an event\n", r.fill.Events, step.PerSecond(), step.CPUPerEvent())
	}
	n := s.phones
	last := load.Party{Phone: n - 1, Account: n - 1, Address: (n - 1) / 4}
	r.subjects = 2*n + last.Range() + 1 + last.Address + 1 + last.Network() + 1
	return nil
}

// within is an error when more is needed than may be.
func (g *grown) within(ctx context.Context, s settings) error {
	u, err := g.store.Usage(ctx)
	if err != nil {
		return err
	}
	if u.All > uint64(s.maxDisk) { //nolint:gosec // positive
		return fmt.Errorf("the store takes %d MiB, more than -max-disk", u.All>>20)
	}
	_, peak, err := load.RSS()
	if err == nil && peak > s.maxRSS {
		err = fmt.Errorf("the process took %d MiB, more than -max-rss", peak>>20)
	}
	return err
}

// load measures events of the mix, after half as many that bring memory to the state that it has in the long run.
func (g *grown) load(ctx context.Context, s settings, r *report) error {
	var seeds atomic.Uint64
	work := func(int) func() error {
		source := s.traffic().Source(seeds.Add(1))
		return g.assess(ctx, source, source.Next)
	}
	if warm := load.Closed(s.workers, s.maxTime, s.events/2+1, work); warm.Failed > 0 {
		return fmt.Errorf("warming up: %w", warm.First)
	}
	if r.hot = load.Closed(s.workers, s.maxTime, s.events, work); r.hot.Failed > 0 {
		return fmt.Errorf("measuring: %w", r.hot.First)
	}
	r.generateNanos = generating(s)
	return g.within(ctx, s)
}

// generating returns what making up an event takes of the CPU, in nanoseconds, hashing left out: it is part of every
// figure and no work of ringfence.
func generating(s settings) int64 {
	const n = 100_000
	source := s.traffic().Source(1)
	used := load.CPU()
	for range n {
		source.Next()
	}
	return int64(load.CPU()-used) / n
}

// head is the head of the table.
const head = `| phones | mix | fill: a second | CPU us | events a second | CPU us | of which making it up | p50 | p99 | RSS | phone seen once | subject seen once | records | log | compacted in | opened in | killed after | recovery | CPU |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

func (r *report) row(s settings) string {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	records, after := uint64(0), uint64(0)
	for kind := range r.usage.Records {
		records += r.usage.Records[kind]
		after += r.after.Records[kind]
	}
	return fmt.Sprintf("| %d | %s | %.0f | %.1f | %.0f | %.1f | %.2f | %.2f ms | %.2f ms | %d MiB | %d B | %d B | %d MiB | %d MiB | %.1f s | %.2f s | %d | %.2f s | %.2f s |\n",
		s.phones, s.mix, r.fill.PerSecond(), us(r.fill.CPUPerEvent()), r.hot.PerSecond(), us(r.hot.CPUPerEvent()), float64(r.generateNanos)/1e3,
		us(r.hot.Latency.Quantile(0.5))/1e3, us(r.hot.Latency.Quantile(0.99))/1e3, r.rss>>20,
		r.usage.Records[hashing.Phone]/s.phones, records/r.subjects, after>>20, r.after.Log>>20,
		r.compacted.Seconds(), r.start.Seconds(), s.unflushed, r.recovery.Seconds(), r.recoveryCPU.Seconds())
}
