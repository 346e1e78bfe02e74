package backtest

import "encoding/binary"

// crowdRoom bounds how many different phones a crowd tells apart, some 10 MB.
const crowdRoom = 1 << 18

// crowd counts events, how many different phones they come from, and the most that come
// from one. Beyond crowdRoom phones it goes on with every second one, then every fourth:
// pseudonyms are uniformly distributed, so that any share of them is a fair
// sample. Those that stand out are kept whatever the sample.
type crowd struct {
	events, numberless, top uint64
	counts                  map[uint64]uint64
	loud                    map[uint64]uint64 // not in the sample, but with many events
	level                   uint              // one in 2^level is in the sample
	room                    int
}

func newCrowd() *crowd {
	return &crowd{counts: map[uint64]uint64{}, loud: map[uint64]uint64{}, room: crowdRoom}
}

// add counts an event of a phone. given is false for an event without one.
func (c *crowd) add(id [16]byte, given bool) {
	c.events++
	if !given {
		c.numberless++
		return
	}
	key := binary.LittleEndian.Uint64(id[:])
	if key&(1<<c.level-1) != 0 {
		if n, ok := c.loud[key]; ok {
			c.loud[key] = n + 1
			c.top = max(c.top, n+1)
		}
		return
	}
	n := c.counts[key] + 1
	c.counts[key] = n
	c.top = max(c.top, n)
	if len(c.counts) > c.room {
		c.thin()
	}
}

// thin halves the sample.
func (c *crowd) thin() {
	c.level++
	for key, n := range c.counts {
		if key&(1<<c.level-1) == 0 {
			continue
		}
		delete(c.counts, key)
		if n > c.events/1000 {
			c.loud[key] = n
		}
	}
}

// Crowd says how many stand behind a number of events: few phones may account for most of them.
type Crowd struct {
	Events  uint64  `json:"events"`
	Numbers uint64  `json:"numbers"` // different phones
	Top     float64 `json:"top"`     // share of the events with a phone that come from the busiest one
	// Estimated is set when there were too many phones to tell all apart: Numbers is then within about
	// one percent, and Top a lower bound.
	Estimated bool `json:"estimated,omitempty"`
}

func (c *crowd) crowd() Crowd {
	all := Crowd{Events: c.events, Numbers: uint64(len(c.counts)) << c.level, Estimated: c.level > 0}
	if n := c.events - c.numberless; n > 0 {
		all.Top = float64(c.top) / float64(n)
	}
	return all
}
