package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Config is everything an Engine needs.
type Config struct {
	Store  Store
	Domain hashing.DomainID
	Policy *scoring.Policy  // in force at first; SetPolicy changes it
	Now    func() time.Time // the clock; time.Now in live use
}

// Engine scores events by a policy over a Store. It is safe for concurrent use.
type Engine struct {
	cfg     Config
	live    atomic.Pointer[livePolicy]
	flights flights
	past    pastPolicies
}

// livePolicy is a policy with the version the store knows it by.
type livePolicy struct {
	*scoring.Policy
	version uint32
}

// New returns an engine whose policy is adopted by the store. The store stays
// the caller's to close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Policy == nil || cfg.Now == nil || cfg.Domain == 0 {
		return nil, errors.New("engine: Config needs a Store, a Domain, a Policy and a clock")
	}
	e := &Engine{cfg: cfg}
	return e, e.SetPolicy(ctx, cfg.Policy)
}

// SetPolicy puts a policy in force for events that arrive from now on.
func (e *Engine) SetPolicy(ctx context.Context, p *scoring.Policy) error {
	version, err := e.cfg.Store.AdoptPolicy(ctx, e.cfg.Domain, p.Source(), e.cfg.Now().Unix())
	if err != nil {
		return fmt.Errorf("adopt policy: %w", err)
	}
	e.live.Store(&livePolicy{Policy: p, version: version})
	return nil
}

// InForce returns the policy that judges events at the moment, and its version.
func (e *Engine) InForce() (*scoring.Policy, uint32) {
	live := e.live.Load()
	return live.Policy, live.version
}

// Now returns the time by the engine's clock in unix seconds.
func (e *Engine) Now() int64 { return e.cfg.Now().Unix() }
