package pebblestore

import (
	"sync"
	"time"
)

// stuckAfter is for how long the disk may take nothing and is only slow.
const stuckAfter = 5 * time.Second

// pulse tells a disk that takes nothing any more from one that has nothing to do.
type pulse struct {
	mu    sync.Mutex
	waits bool          // something did at the last look; guarded by mu
	done  uint64        // so many were, then; guarded by mu
	since time.Duration // Options.up at the first look that saw the same wait; guarded by mu
}

// look returns for how long nothing was done while something waited, of which so many came and so many are done. It counts from the first look that
// finds something waiting.
func (p *pulse) look(now time.Duration, came, done uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if waits := came > done; !waits || !p.waits || done != p.done {
		p.waits, p.done, p.since = waits, done, now
	}
	return now - p.since
}

// Stuck reports whether the disk has taken nothing for five seconds or longer while changes waited for it: it hangs, and so do they. That is counted from
// the first call that sees one waiting, so it has to be called now and then. It never waits for the disk itself.
func (s *Store) Stuck() bool {
	left, applied := s.waits.left.Load(), s.logged.applied.Load() // before those who came
	syncs := s.syncs.look(s.opts.up(), s.waits.came.Load(), left)
	changes := s.applies.look(s.opts.up(), s.logged.begun.Load(), applied)
	return max(syncs, changes) >= stuckAfter
}
