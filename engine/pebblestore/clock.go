package pebblestore

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine/window"
)

// clock is the time by which things expire. It follows the clock that callers pass and never goes back, so
// that what was swept once stays out of force. It does not believe that clock blindly: it
// never goes further than the machine's, and where that one jumped ahead by more than leap it follows at
// twice the speed of time. Whether a machine slept for a year or its clock was set wrong cannot
// be told apart; expiring late harms nobody, and expiring everything at once cannot be undone.
type clock struct {
	wall func() time.Time
	up   func() time.Duration // since some moment, whatever the machine's clock does

	now   atomic.Int64 // unix seconds
	limit atomic.Int64 // unix microseconds: what bound believes without a look at mu

	mu      sync.Mutex
	trusted time.Time     // guarded by mu: the machine's clock as far as it is believed
	leap    time.Duration // guarded by mu: by how much the machine's clock may jump and is believed at once
	settled time.Duration // guarded by mu: leap once it was believed
	at      time.Duration // guarded by mu: up when trusted was the machine's clock or was moved
	kept    int64         // guarded by mu: now as the store keeps it
}

// tolerance is by how much the machine's clock may jump and what expires follows it at once.
const tolerance = time.Hour

// begin sets the clock to what a store has seen last: the time it kept, which is believed whatever the machine's clock shows, and that of its newest
// change. 0 is none.
func (c *clock) begin(kept, newest int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Store(kept)
	c.kept = kept
	c.at = c.up()
	c.leap, c.settled = tolerance, tolerance
	c.start(kept, newest)
}

// start sets trusted. The caller holds mu.
func (c *clock) start(kept, newest int64) {
	c.trusted = c.wall().Round(0)
	wall := c.trusted.Unix()
	if last := max(kept, newest); last > 0 && last < wall {
		c.trusted = time.Unix(last, 0)
	} else if kept > wall { // it was set back, and may be set right
		c.trusted = time.Unix(kept, 0)
	}
	c.follow()
}

// follow moves trusted to the machine's clock, or towards it. The caller holds mu.
func (c *clock) follow() {
	wall, up := c.wall(), c.up()
	ahead := wall.Round(0).Sub(c.trusted.Round(0)) // by the clock, not by the time that went by
	passed := up - c.at
	switch {
	case ahead <= 0:
		return // at stays, so that all that goes by until the clock is right again counts
	case ahead <= passed+c.leap, c.trusted.Unix() < window.Epoch: // nothing was before that: the clock had not been set
		c.trusted, c.leap = wall, c.settled
	default:
		c.trusted = c.trusted.Add(min(2*passed, ahead))
	}
	c.at = up
}

// see returns the time at which things expire for a caller whose clock says now.
func (c *clock) see(now int64) int64 {
	e := c.now.Load()
	if now <= e {
		return e
	}
	c.mu.Lock()
	c.follow()
	limit := c.trusted.Unix()
	c.mu.Unlock()
	return max(e, min(now, limit))
}

// advance is see, and moves the clock there.
func (c *clock) advance(now int64) int64 {
	seen := c.see(now)
	for {
		e := c.now.Load()
		if seen <= e {
			return e
		}
		if c.now.CompareAndSwap(e, seen) {
			return seen
		}
	}
}

// longestStop is how long a store may have been closed and its next changes are numbered by the machine's clock at once. longestPause is for how long
// the machine may have slept meanwhile.
const (
	longestStop  = 400 * 24 * time.Hour
	longestPause = 7 * 24 * time.Hour
)

// beginNumbers sets a clock by which changes are numbered to what a store has seen last, in unix seconds; 0 is none. Where the machine's clock is behind that,
// it is wrong, and what it is set right to is believed as if the store had been opened then.
func (c *clock) beginNumbers(newest int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.up()
	c.leap, c.settled = longestPause, longestPause
	if newest < window.Epoch {
		newest = 0
	}
	switch stop := c.wall().Sub(time.Unix(newest, 0)); {
	case stop < 0:
		c.leap = longestStop
		c.start(newest, 0)
	case stop <= longestStop:
		c.start(0, 0)
	default:
		c.start(0, newest)
	}
}

// bound returns what may be believed of a time in unix microseconds: nothing that is more than tolerance ahead of the machine's clock
// as far as that is believed itself. In most calls that is one comparison.
func (c *clock) bound(now int64) int64 {
	limit := c.limit.Load()
	if now <= limit {
		return now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow()
	limit = c.trusted.Add(tolerance).UnixMicro()
	c.limit.Store(limit)
	return min(now, limit)
}

// behind returns how far the clock that is believed is behind the machine's.
func (c *clock) behind() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow()
	return max(0, c.wall().Round(0).Sub(c.trusted.Round(0)))
}

// keepClock writes down the time at which things expire, before something is deleted that expired
// by it: the log never has the one without the other.
func (s *Store) keepClock() error {
	now := s.clock.now.Load()
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	if now <= s.clock.kept {
		return nil
	}
	if err := s.db.Set(keyClock, binary.BigEndian.AppendUint64(nil, uint64(now)), pebble.NoSync); err != nil { //nolint:gosec // not before 1970
		return err
	}
	s.clock.kept = now
	return nil
}
