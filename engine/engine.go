package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Config is everything an Engine needs.
type Config struct {
	Store  Store
	Domain hashing.DomainID
	Policy *scoring.Policy  // adopted as the live one; nil for the one that is live in the store, or scoring.Default in a new one
	Now    func() time.Time // the clock; time.Now in live use
}

// Engine scores events by a policy over a Store. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	live     atomic.Pointer[livePolicy]
	rollouts sync.Mutex // held while live changes with the store
	flights  flights
	past     pastPolicies
}

// livePolicy is a policy with the version the store knows it by, and what runs beside it. It does not
// change but for counts: another one takes its place.
type livePolicy struct {
	*scoring.Policy
	version     uint32
	calibration *Calibration // nil without
	shadows     []*challenger
}

// New returns an engine with a policy in force. The store stays the caller's to close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Now == nil || cfg.Domain == 0 {
		return nil, errors.New("engine: Config needs a Store, a Domain and a clock")
	}
	e := &Engine{cfg: cfg}
	if cfg.Policy != nil {
		return e, e.SetPolicy(ctx, cfg.Policy)
	}
	state, err := cfg.Store.PolicyState(ctx, cfg.Domain)
	if err != nil {
		return nil, err
	}
	if state.Live == 0 {
		return e, e.SetPolicy(ctx, scoring.Default())
	}
	e.rollouts.Lock()
	defer e.rollouts.Unlock()
	return e, e.enforce(ctx)
}

// SetPolicy adopts a policy as the live one, for events that arrive from now on, whichever was before.
func (e *Engine) SetPolicy(ctx context.Context, p *scoring.Policy) error {
	e.rollouts.Lock()
	defer e.rollouts.Unlock()
	if _, err := e.cfg.Store.AdoptPolicy(ctx, e.cfg.Domain, p.Source(), e.Now()); err != nil {
		return fmt.Errorf("adopt policy: %w", err)
	}
	return e.enforce(context.WithoutCancel(ctx))
}

// InForce returns the policy that judges events at the moment, and its version.
func (e *Engine) InForce() (*scoring.Policy, uint32) {
	live := e.live.Load()
	return live.Policy, live.version
}

// Now returns the time by the engine's clock in unix seconds.
func (e *Engine) Now() int64 { return e.cfg.Now().Unix() }
