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
	counts                  heads
	loud                    map[uint64]uint64 // not in the sample, but with many events
	level                   uint              // one in 2^level is in the sample
	room                    int
	waiting                 []uint64 // phones of events that count has yet to count
	touched                 uint64   // a sum of what was touched, so that it is
}

// crowdBytes is how many bytes of a pseudonym a crowd tells phones apart by.
const crowdBytes = 8

// crowdWaits is how many phones are looked up at once, so that their places in the table are waited for together.
const crowdWaits = 32

func newCrowd() *crowd {
	return &crowd{loud: map[uint64]uint64{}, room: crowdRoom, waiting: make([]uint64, 0, crowdWaits)}
}

// add counts an event of a phone. given is false for an event without one.
func (c *crowd) add(id [16]byte, given bool) {
	c.events++
	if !given {
		c.numberless++
		return
	}
	c.waiting = append(c.waiting, binary.LittleEndian.Uint64(id[:crowdBytes]))
	if len(c.waiting) == crowdWaits {
		c.count()
	}
}

// count counts the events that wait for it.
func (c *crowd) count() {
	for _, key := range c.waiting {
		c.touched += c.counts.touch(key)
	}
	for _, key := range c.waiting {
		c.phone(key)
	}
	c.waiting = c.waiting[:0]
}

// phone counts an event of a phone.
func (c *crowd) phone(key uint64) {
	if key&(1<<c.level-1) != 0 {
		if n, ok := c.loud[key]; ok {
			c.loud[key] = n + 1
			c.top = max(c.top, n+1)
		}
		return
	}
	c.top = max(c.top, c.counts.add(key, 1))
	if c.counts.taken > c.room {
		c.thin()
	}
}

// thin halves the sample.
func (c *crowd) thin() {
	c.level++
	all := c.counts.table
	c.counts = heads{}
	for _, h := range all {
		switch {
		case h.n == 0:
		case h.key&(1<<c.level-1) == 0:
			c.counts.add(h.key, h.n)
		case h.n > c.events/1000:
			c.loud[h.key] = h.n
		}
	}
}

// heads counts by key. It is a table with open addressing: a map would be waited for twice an event.
type heads struct {
	table []head // none, or a power of two of them, at most three quarters taken
	taken int
}

// head is a key, and how often it was counted: 0 for no key.
type head struct{ key, n uint64 }

const fewestHeads = 1 << 10

// add counts a key n more times, and returns how often it was counted.
func (h *heads) add(key, n uint64) uint64 {
	if 4*(h.taken+1) > 3*len(h.table) {
		h.grow()
	}
	there := h.place(key)
	if there.n == 0 {
		there.key = key
		h.taken++
	}
	there.n += n
	return there.n
}

// touch reads from where a key is looked for first.
func (h *heads) touch(key uint64) uint64 {
	if len(h.table) == 0 {
		return 0
	}
	return h.table[home(key)&uint64(len(h.table)-1)].n //nolint:gosec // not empty
}

// home is where in a table a key is looked for first, but for the bits that the table is too small for: multiplied, every bit of it counts.
func home(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 32 }

// place returns where a key is, or would be.
func (h *heads) place(key uint64) *head {
	last := uint64(len(h.table) - 1) //nolint:gosec // never empty
	for at := home(key); ; at++ {
		if there := &h.table[at&last]; there.n == 0 || there.key == key {
			return there
		}
	}
}

func (h *heads) grow() {
	old := h.table
	h.table = make([]head, max(2*len(old), fewestHeads))
	for _, moving := range old {
		if moving.n > 0 {
			*h.place(moving.key) = moving
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
	c.count()
	all := Crowd{Events: c.events, Numbers: uint64(c.counts.taken) << c.level, Estimated: c.level > 0} //nolint:gosec // a count
	if n := c.events - c.numberless; n > 0 {
		all.Top = float64(c.top) / float64(n)
	}
	return all
}
