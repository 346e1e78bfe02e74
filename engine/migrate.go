package engine

import (
	"context"

	"github.com/ringfence/ringfence/hashing"
)

// Migration names subjects under the key that they are to be kept under, and the same ones under older keys.
type Migration struct {
	Domain hashing.DomainID
	Now    int64 // unix seconds
	To     hashing.Version
	From   []hashing.Version // a zero Subject has no older version
	Later  bool              // it need not be durable when Migrate returns: see Store.Durable
}

// Migrate moves what older keys hold of some subjects to the key of others: see Store.Migrate. It has to come before any
// call that names one of them, but for Assess and Peek, which do it for Event.Older. Without older ones it does nothing.
func (e *Engine) Migrate(ctx context.Context, to hashing.Version, from []hashing.Version) error {
	return e.migrate(ctx, to, from, false)
}

func (e *Engine) migrate(ctx context.Context, to hashing.Version, from []hashing.Version, later bool) error {
	if len(from) == 0 {
		return nil
	}
	return e.cfg.Store.Migrate(ctx, &Migration{Domain: e.cfg.Domain, Now: e.Now(), To: to, From: from, Later: later})
}

func (e *Engine) migrateEvent(ctx context.Context, ev *Event) error {
	return e.migrate(ctx, hashing.Version{Subjects: ev.Subjects, Link: ev.Link}, ev.Older, ev.Later)
}
