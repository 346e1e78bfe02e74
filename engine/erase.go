package engine

import (
	"context"
	"errors"

	"github.com/ringfence/ringfence/hashing"
)

// ErrNotAPhone is the answer to a subject of another kind where only a phone will do.
var ErrNotAPhone = errors.New("not a phone")

// Erasure forgets a phone. It has no results, so that nobody learns whether it was known.
type Erasure struct {
	Domain hashing.DomainID
	Phones []hashing.Subject // the phone under every key that may still have made a pseudonym of it
	Now    int64             // unix seconds
	Once   *Once
}

// Erase forgets a phone: see Store.Erase. Domain and Now are set from the engine.
func (e *Engine) Erase(ctx context.Context, r *Erasure) error {
	for _, phone := range r.Phones {
		if phone.Kind != hashing.Phone {
			return ErrNotAPhone
		}
	}
	r.Domain, r.Now = e.cfg.Domain, e.Now()
	return e.cfg.Store.Erase(ctx, r)
}
