package replay

import (
	"cmp"

	"github.com/ringfence/ringfence/scoring"
)

// join tells events what lines elsewhere say of them. It takes the items that have a name in
// the order of byName, and so remembers one name at a time, however many there are.
type join struct {
	next func(*item) error // takes events and outcomes

	name     string
	labelled scoring.Event
	outcomes int
	seen     bool // an event of this name
}

// byName is the order for join: what is of one name is together, labels and outcomes come before
// events, and events are in the order in which they will be applied.
func byName(applied func(a, b *item) int) func(a, b *item) int {
	return func(a, b *item) int {
		if c := cmp.Or(cmp.Compare(a.name(), b.name()), cmp.Compare(a.rank(), b.rank())); c != 0 {
			return c
		}
		if a.Event == nil {
			return byLine(a, b) // of two labels, the later line holds
		}
		return applied(a, b)
	}
}

func (it *item) rank() int {
	switch {
	case it.isLabel():
		return 0
	case it.Event == nil:
		return 1
	}
	return 2
}

func (j *join) add(it *item) error {
	if name := it.name(); name != j.name {
		*j = join{next: j.next, name: name}
	}
	switch {
	case it.isLabel():
		j.labelled = it.Label
		return nil
	case it.Event == nil:
		j.outcomes++
	case j.seen:
		it.Twice = true
	default:
		it.Labelled, it.Outcomes, j.seen = j.labelled, j.outcomes, true
	}
	return j.next(it)
}
