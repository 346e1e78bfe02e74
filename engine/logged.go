package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// Logged is an event of the log, and why it was decided as it was.
type Logged struct {
	*record.Entry
	Policy *scoring.Policy // the one that decided
	Scored scoring.Assessment
}

// Logged returns an event of the log, scored once more by the policy that decided it on
// the values of then: so it has the reasons of then. The names of lists that this policy does not
// ask about are not among them, since the log does not have them. ErrUnknownEvent for an id
// that is not in the log.
func (e *Engine) Logged(ctx context.Context, id EventID) (*Logged, error) {
	entry, err := e.cfg.Store.Entry(ctx, e.cfg.Domain, id)
	if err != nil {
		return nil, err
	}
	p, err := e.policy(ctx, entry.Policy)
	if err != nil {
		return nil, err
	}
	if len(entry.Values) != p.Slots() {
		return nil, fmt.Errorf("%w: an event has other values than its policy", ErrCorrupt)
	}
	l := &Logged{Entry: entry, Policy: p}
	p.Evaluate(entry.Values, id.Draw(), &l.Scored)
	return l, nil
}

// pastPolicies keeps policies that are no longer in force compiled.
type pastPolicies struct {
	mu        sync.Mutex
	byVersion map[uint32]*scoring.Policy // guarded by mu; at most maxPast
}

const maxPast = 16

// policy returns the policy of a version.
func (e *Engine) policy(ctx context.Context, version uint32) (*scoring.Policy, error) {
	if live := e.live.Load(); live.version == version {
		return live.Policy, nil
	}
	e.past.mu.Lock()
	defer e.past.mu.Unlock()
	if p := e.past.byVersion[version]; p != nil {
		return p, nil
	}
	source, ok, err := e.cfg.Store.PolicySource(ctx, e.cfg.Domain, version)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: an event names a policy that is not there", ErrCorrupt)
	}
	p, err := scoring.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("%w: a policy that was in force cannot be read: %w", ErrCorrupt, err)
	}
	if e.past.byVersion == nil || len(e.past.byVersion) >= maxPast {
		e.past.byVersion = make(map[uint32]*scoring.Policy)
	}
	e.past.byVersion[version] = p
	return p, nil
}
