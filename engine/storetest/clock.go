package storetest

import (
	"sync/atomic"
	"time"
)

// Clock is the clock of a machine that a store under test runs on. It begins at Start, and stands still
// unless it is told to go.
type Clock struct {
	wall atomic.Int64 // unix seconds
	up   atomic.Int64 // seconds
}

// NewClock returns a clock that stands at Start.
func NewClock() *Clock {
	c := new(Clock)
	c.wall.Store(Start)
	return c
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time { return time.Unix(c.wall.Load(), 0) }

// Up returns how much time went by, which no jump changes.
func (c *Clock) Up() time.Duration { return time.Duration(c.up.Load()) * time.Second }

// pass lets seconds go by.
func (c *Clock) pass(seconds int64) {
	c.up.Add(seconds)
	c.wall.Add(seconds)
}

// jump sets the clock ahead by seconds, which may be negative.
func (c *Clock) jump(seconds int64) { c.wall.Add(seconds) }
