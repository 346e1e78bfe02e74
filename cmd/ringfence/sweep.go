package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

// A sweeper works for one part of sweepShare of the time, and rests between rounds.
const (
	sweepShare = 20
	sweepRest  = time.Minute // in which the log may outgrow its bound
	sweepLeast = time.Millisecond
)

// sweeper frees what is out of force, beside everything else.
type sweeper struct {
	store *pebblestore.Store
	log   *slog.Logger

	mu    sync.Mutex
	total engine.Swept // guarded by mu
	ended time.Time    // guarded by mu: the last round
}

// run sweeps until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for {
		began := time.Now()
		swept, err := s.store.Sweep(ctx, began.Unix())
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweeping failed, and goes on later", "error", err)
			swept.Done = true
		}
		s.note(swept, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause(time.Since(began), swept.Done)):
		}
	}
}

// pause returns how long to wait after a call, so that sweeping takes 5 % of the time at most.
func pause(took time.Duration, done bool) time.Duration {
	if done {
		return max(sweepRest, (sweepShare-1)*took)
	}
	return max(sweepLeast, (sweepShare-1)*took)
}

func (s *sweeper) note(swept engine.Swept, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.Add(swept)
	if swept.Done && err == nil {
		s.ended = time.Now()
	}
}

// measures are the metrics of retention.
func (s *sweeper) measures() []server.Measure {
	total := func(read func(*engine.Swept) int) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(read(&s.total))
		}
	}
	return []server.Measure{
		{Name: "ringfence_swept_subjects_total", Help: "Idle subjects forgotten.", Counter: true, Read: total(func(t *engine.Swept) int { return t.Subjects })},
		{Name: "ringfence_swept_idempotency_keys_total", Help: "Idempotency keys forgotten.", Counter: true, Read: total(func(t *engine.Swept) int { return t.Keys })},
		{Name: "ringfence_swept_list_entries_total", Help: "Expired list entries taken off.", Counter: true, Read: total(func(t *engine.Swept) int { return t.Entries })},
		{Name: "ringfence_swept_log_ranges_total", Help: "Ranges of the event log given up.", Counter: true, Read: total(func(t *engine.Swept) int { return t.Ranges })},
		{Name: "ringfence_sweep_round_timestamp_seconds", Help: "When the sweeper last came to the end of everything; 0 before the first time.", Read: s.lastRound},
		{Name: "ringfence_log_bytes", Help: "About how many bytes the event log takes up on the disk.", Read: func() float64 { return float64(s.store.LogState().Bytes) }},
		{Name: "ringfence_log_oldest_timestamp_seconds", Help: "When the oldest event in the log was recorded; 0 for none.", Read: func() float64 { return stamp(s.store.LogState().Oldest) }},
		{Name: "ringfence_clock_behind_seconds", Help: "How far the time by which things expire is behind the machine's clock, after that jumped ahead.", Read: func() float64 { return s.store.ClockBehind().Seconds() }},
	}
}

func (s *sweeper) lastRound() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stamp(s.ended)
}

// stamp is a time as metrics write it, 0 for none.
func stamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
