package main

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestWhatSweepingCosts has 64 writers at one store, with the sweeper at work and without in turns, and compares how much
// each pair of turns gets done. The sweeper never comes to the ten minutes of rest between two rounds: it costs less in earnest. The ratio of
// throughput is worth something on a machine that does nothing else; the share of processor time that the sweeper itself takes
// is, on any. Three minutes.
func TestWhatSweepingCosts(t *testing.T) {
	if os.Getenv("RINGFENCE_LONG") == "" {
		t.Skip("measures for two minutes; set RINGFENCE_LONG=1")
	}
	const pairs, span, phones = 10, 5 * time.Second, 200_000
	store, err := pebblestore.Open(t.TempDir(), pebblestore.Options{Keys: []hashing.KeyCheck{{Key: 1, Value: [16]byte{1}}}, Create: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w := &writers{store: store, phones: phones}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	for w.next.Load() < phones { // so that there is something to walk over
		if _, err := w.work(t.Context(), span); err != nil {
			t.Fatal(err)
		}
	}
	var rates, shares []float64
	var swept engine.Swept
	for i := range pairs {
		var turns [2]turn // without, with
		for j := range turns {
			with := (i + j) % 2
			if turns[with], err = w.turn(t.Context(), span, with == 1, &swept); err != nil {
				t.Fatal(err)
			}
		}
		rates = append(rates, turns[1].rate/turns[0].rate)
		shares = append(shares, turns[1].sweeping)
		t.Logf("%6.0f events/s without, %6.0f with: %.3f; the sweeper took %.2f %% of the processor time", turns[0].rate, turns[1].rate, rates[i], 100*shares[i])
	}
	rate, share := median(rates), median(shares)
	t.Logf("median of %d pairs: %.3f of the throughput, %.2f %% of the processor time; looked at %d keys, forgot %d", pairs, rate, 100*share, swept.Looked, swept.Keys)
	if swept.Looked == 0 {
		t.Error("nothing was swept")
	}
	if share > 0.05 {
		t.Errorf("sweeping takes %.1f %% of the processor time, at most 5", 100*share)
	}
	if rate < 0.95 {
		t.Errorf("sweeping costs %.1f %% of throughput, at most 5", 100*(1-rate))
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

// writers send events about so many phones, one after the other, each with an idempotency key that is kept for a second.
type writers struct {
	store  *pebblestore.Store
	phones uint64
	next   atomic.Uint64
}

// turn is what a span of work came to: events a second, and the sweeper's share of the processor time.
type turn struct{ rate, sweeping float64 }

// turn has the writers work for a span, beside the sweeper or alone.
func (w *writers) turn(ctx context.Context, span time.Duration, sweeping bool, swept *engine.Swept) (turn, error) {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	var failed error
	var took time.Duration
	used := processorTime(syscall.RUSAGE_SELF)
	if sweeping {
		beside.Go(func() {
			runtime.LockOSThread() // nobody else's time is counted
			defer runtime.UnlockOSThread()
			before := processorTime(syscall.RUSAGE_THREAD)
			defer func() { took = processorTime(syscall.RUSAGE_THREAD) - before }()
			for ctx.Err() == nil && failed == nil {
				began := time.Now()
				var some engine.Swept
				if some, failed = w.store.Sweep(context.WithoutCancel(ctx), began.Unix()); failed == nil {
					swept.Add(some)
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause(time.Since(began), false)):
				}
			}
		})
	}
	rate, err := w.work(ctx, span)
	cancel()
	beside.Wait()
	if err == nil {
		err = failed
	}
	return turn{rate, float64(took) / float64(processorTime(syscall.RUSAGE_SELF)-used)}, err
}

// work returns how many events a second the writers get done.
func (w *writers) work(ctx context.Context, span time.Duration) (rate float64, err error) {
	var done, bad atomic.Int64
	var first error
	var wg sync.WaitGroup
	began := time.Now()
	for range 64 {
		wg.Go(func() {
			for time.Since(began) < span {
				if err := w.write(ctx); err != nil {
					if bad.Add(1) == 1 {
						first = err
					}
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), first
}

func (w *writers) write(ctx context.Context) error {
	n, now := w.next.Add(1), time.Now().Unix()
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: now, Now: now}
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		ev.Subjects[kind] = hashing.Subject{Kind: kind, Key: 1}
		binary.BigEndian.PutUint64(ev.Subjects[kind].ID[:], (n%w.phones)*0x9E3779B97F4A7C15+uint64(kind)) // spread over all shards
	}
	ev.Once = &engine.Once{Expires: now + 1, Render: func() []byte { return []byte("an answer as long as some are") }}
	binary.BigEndian.PutUint64(ev.Once.Key[:], n*0x9E3779B97F4A7C15)
	return w.store.Assess(ctx, ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {})
}

// processorTime is what this process or this thread has used so far.
func processorTime(of int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(of, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
