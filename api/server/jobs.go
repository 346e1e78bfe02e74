package server

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// Bounds of backtests on a server. One runs at a time.
const (
	maxWaiting  = 4         // with the one that runs
	maxKept     = 16        // that are done
	maxSubjects = 1_000_000 // of a replay, which takes some 500 MB for them
	maxExamples = 100
)

var (
	refuseUnknownBacktest = &refusal{status: http.StatusNotFound, code: "unknown-backtest", title: "There is no such backtest, or none any more"}
	refuseOtherBacktest   = &refusal{status: http.StatusConflict, code: "other-backtest", title: "The backtest is not done, or is of another policy than this version"}
	refuseBacktests       = &refusal{status: http.StatusTooManyRequests, code: "too-many-backtests", title: "As many backtests are waiting as may", retry: "10"}
)

// State of a backtest.
type jobState string

const (
	jobQueued    jobState = "queued"
	jobRunning   jobState = "running"
	jobDone      jobState = "done"
	jobFailed    jobState = "failed"
	jobCancelled jobState = "cancelled"
)

// jobs runs backtests of all domains, one after the other, and keeps what came of the newest. They live in memory: a
// server that stops forgets them. A domain sees its own only.
type jobs struct {
	slot  chan struct{}   // holds one while a backtest runs
	ended context.Context //nolint:containedctx // of all backtests, which outlive the request that asked for them
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex
	known []*backtestJob // oldest first; guarded by mu
}

// backtestJob is one backtest.
type backtestJob struct {
	space   *Space // the domain that it is about
	id      string
	key     string // of the request that asked for it, "" without
	version uint32 // 0 for a policy that is not kept
	live    uint32 // the version that was live when it was asked for
	mode    string
	digest  string // of the policy
	cfg     backtest.Config
	costFP  float64 // 0 with costFN: costs do not matter
	costFN  float64
	created time.Time
	cancel  context.CancelFunc
	events  atomic.Uint64

	// Guarded by jobs.mu.
	state    jobState
	finished time.Time
	result   *backtest.Result
	err      error
}

func newJobs() *jobs {
	j := &jobs{slot: make(chan struct{}, 1)}
	j.ended, j.end = context.WithCancel(context.Background())
	return j
}

// stop cancels all backtests and waits for them.
func (j *jobs) stop() {
	j.mu.Lock()
	j.end() // nobody is between asking whether it ended and joining wg
	j.mu.Unlock()
	j.wg.Wait()
}

// start takes a backtest on. One that was asked for with the same key before is that one.
func (j *jobs) start(b *backtestJob) (*backtestJob, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	waiting := 0
	for _, other := range j.known {
		if b.key != "" && other.key == b.key && other.space.Engine == b.space.Engine {
			return other, nil
		}
		if other.state == jobQueued || other.state == jobRunning {
			waiting++
		}
	}
	if waiting >= maxWaiting {
		return nil, refuseBacktests
	}
	if j.ended.Err() != nil {
		return nil, refuseDraining
	}
	b.id, b.state, b.created = rand.Text(), jobQueued, time.Now()
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(j.ended)
	j.known = append(j.known, b)
	j.forget()
	j.wg.Add(1)
	go j.run(ctx, b)
	return b, nil
}

// forget drops the oldest that are done. j.mu is held.
func (j *jobs) forget() {
	done := 0
	for i := len(j.known) - 1; i >= 0; i-- {
		if s := j.known[i].state; s == jobQueued || s == jobRunning {
			continue
		}
		if done++; done > maxKept {
			j.known = append(j.known[:i], j.known[i+1:]...)
		}
	}
}

// run waits for its turn, and runs a backtest.
func (j *jobs) run(ctx context.Context, b *backtestJob) {
	defer j.wg.Done()
	defer b.cancel()
	select {
	case j.slot <- struct{}{}:
		defer func() { <-j.slot }()
	case <-ctx.Done():
		j.finish(b, nil, ctx.Err())
		return
	}
	j.mu.Lock()
	b.state = jobRunning
	j.mu.Unlock()
	b.cfg.Progress = b.events.Store
	result, err := j.judge(ctx, b)
	j.finish(b, result, err)
}

// judge runs a backtest. A fault of it must not take the server along.
func (j *jobs) judge(ctx context.Context, b *backtestJob) (result *backtest.Result, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a backtest panicked")
		}
	}()
	try := backtest.Rescore
	if b.mode == "replay" {
		try = backtest.Replay
	}
	if result, err = try(ctx, b.cfg); err != nil {
		return nil, err
	}
	_, now := b.space.Engine.Live()
	result.Stale = now != b.live
	if b.costFP > 0 {
		result.Price(b.costFP, b.costFN)
	}
	return result, nil
}

func (j *jobs) finish(b *backtestJob, result *backtest.Result, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b.finished, b.result, b.err = time.Now(), result, err
	b.cfg = backtest.Config{} // what it needed is no longer needed
	switch {
	case err == nil:
		b.state = jobDone
	case errors.Is(err, context.Canceled):
		b.state = jobCancelled
	default:
		b.state = jobFailed
	}
	j.forget()
}

// find returns a backtest of a domain, or refuseUnknownBacktest. j.mu is held.
func (j *jobs) find(space *Space, id string) (*backtestJob, error) {
	for _, b := range j.known {
		if b.id == id && b.space.Engine == space.Engine { // a space is another one behind a rotation of its key
			return b, nil
		}
	}
	return nil, refuseUnknownBacktest
}

// result returns what came of a backtest that is done.
func (j *jobs) result(space *Space, id string) (*backtest.Result, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, err := j.find(space, id)
	if err == nil && b.state != jobDone {
		err = refuseOtherBacktest
	}
	if err != nil {
		return nil, err
	}
	return b.result, nil
}

// look returns how far a backtest is. With cancel it is told to stop.
func (j *jobs) look(space *Space, id string, cancel bool) (*api.Backtest, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, err := j.find(space, id)
	if err != nil {
		return nil, err
	}
	if cancel {
		b.cancel()
	}
	return b.wire(), nil
}

// wire says how far a backtest is. jobs.mu is held.
func (b *backtestJob) wire() *api.Backtest {
	out := &api.Backtest{
		ID: b.id, State: string(b.state), Mode: b.mode, Version: b.version, Live: b.live, PolicyDigest: b.digest,
		CreatedAt: b.created.UTC().Format(time.RFC3339), Events: b.events.Load(),
	}
	if !b.finished.IsZero() {
		out.FinishedAt = b.finished.UTC().Format(time.RFC3339)
	}
	if b.result != nil {
		out.Result = encode(b.result)
	}
	if b.state == jobFailed {
		p := explain(b.err).problem(b.id)
		out.Problem = &p
	}
	return out
}

// logOf returns the log of an engine from about a time on, 0 for all of it. What happened at that time was recorded at it or
// later, or a little before where clocks are not set well.
func logOf(e *engine.Engine, from int64) backtest.Log {
	after := engine.EventID{}
	if from > 0 {
		after = record.NewEventID(record.Seq(max(from-hourOfSlack, 0))*1e6, 0)
	}
	return func(ctx context.Context, fn func(*record.Entry) error) error { return e.Scan(ctx, after, fn) }
}

// hourOfSlack is how far in seconds an event's time may lie ahead of the clock that recorded it.
const hourOfSlack = 3600

// configOf is what backtests and reports have in common.
func (s *Server) configOf(e *engine.Engine, p *scoring.Policy) backtest.Config {
	return backtest.Config{Log: logOf(e, 0), Source: e.PolicySource, Policy: p, MaxSubjects: maxSubjects, KeepSubjects: s.cfg.Retention.Subjects}
}
