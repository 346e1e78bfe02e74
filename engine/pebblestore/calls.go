package pebblestore

import (
	"context"
	"sync/atomic"

	"github.com/ringfence/ringfence/engine"
)

// calls counts the calls under way, so that closing can wait for them. A call may begin within
// another one, as a visitor of Scan does: no call waits for closing, it is refused instead.
type calls struct {
	underWay atomic.Int64
	closed   atomic.Bool
	last     chan struct{} // capacity 1: the last call may have ended
}

// enter begins a call; leave ends it. Close waits for those under way.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.calls.underWay.Add(1)
	if s.calls.closed.Load() { // after the count, as close looks at them the other way round
		s.leave()
		return engine.ErrClosed
	}
	return nil
}

func (s *Store) leave() {
	if s.calls.underWay.Add(-1) == 0 && s.calls.closed.Load() {
		select {
		case s.calls.last <- struct{}{}:
		default:
		}
	}
}

// close refuses new calls and waits for those under way. It reports false when that was done before.
func (c *calls) close() bool {
	if !c.closed.CompareAndSwap(false, true) {
		return false
	}
	for c.underWay.Load() > 0 {
		<-c.last
	}
	return true
}
