package backtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// flips adds up the events that go in one direction.
type flips struct {
	random *rand.Rand
	room   int
	people *crowd
	behind map[string]uint64
	kept   []keptFlip

	old     scoring.Verdict // room to work in
	changed []change
}

// keptFlip is an example and its position among the flips.
type keptFlip struct {
	at uint64
	Flip
}

func newFlips(seed uint64, room int) *flips {
	return &flips{random: rand.New(rand.NewPCG(seed, 1)), room: room, people: newCrowd(), behind: map[string]uint64{}} //nolint:gosec // draws examples
}

// add counts a flip and returns what changed, which is good until the next call.
func (f *flips) add(r *Row) []change {
	phone := r.Entry.Subjects[hashing.Phone]
	f.people.add(phone.ID, phone.Given())
	why := f.changes(r)
	for _, c := range why {
		f.behind[c.code]++
	}
	// Every flip stays with the same probability, however many there will be (algorithm R).
	n := f.people.events
	place := len(f.kept)
	if place >= f.room {
		place = int(min(f.random.Uint64N(n), uint64(f.room))) //nolint:gosec // at most room
	}
	switch {
	case place >= f.room:
	case place == len(f.kept):
		f.kept = append(f.kept, keptFlip{n, flipOf(r, why)})
	default:
		f.kept[place] = keptFlip{n, flipOf(r, why)}
	}
	return why
}

// flipOf describes a flip by what changed or, where no points did, by what makes up the score.
func flipOf(r *Row, why []change) Flip {
	e := r.Entry
	flip := Flip{
		ID: e.ID.String(), At: e.Time, From: e.Verdict.String(), To: r.New.Decision.String(),
		OldScore: e.Score, NewScore: r.New.Score, Label: r.Label.String(), Reasons: []string{},
	}
	for _, c := range why {
		flip.Reasons = append(flip.Reasons, c.String())
	}
	if len(why) == 0 {
		for _, fired := range r.New.Fired {
			flip.Reasons = append(flip.Reasons, fmt.Sprintf("%s %+d", r.rules[fired.Rule].Code, fired.Points))
		}
	}
	return flip
}

// change is a reason that gives other points than it gave. A reason that decides by itself has
// none.
type change struct {
	code     string
	old, now int
	alone    bool
}

// String says what changed: "CODE +30 was +10".
func (c change) String() string {
	switch {
	case c.alone && c.now > 0:
		return c.code + " decides"
	case c.alone:
		return c.code + " no longer decides"
	}
	return fmt.Sprintf("%s %+d was %+d", c.code, c.now, c.old)
}

// changes compares what the policy that wrote the log said with what the new one says. The
// result is good until the next call.
func (f *flips) changes(r *Row) []change {
	rules, known := r.Was(&f.old)
	if !known {
		return nil
	}
	all := f.changed[:0]
	if f.old.By != r.New.By {
		if code := f.old.By.Code(); code != "" {
			all = append(all, change{code: code, old: 1, alone: true})
		}
		if code := r.New.By.Code(); code != "" {
			all = append(all, change{code: code, now: 1, alone: true})
		}
	}
	first := len(all)
	for _, fired := range f.old.Fired {
		all = append(all, change{code: rules[fired.Rule].Code, old: fired.Points})
	}
	for _, fired := range r.New.Fired {
		code := r.rules[fired.Rule].Code
		i := slices.IndexFunc(all[first:], func(c change) bool { return c.code == code })
		if i < 0 {
			all = append(all, change{code: code, now: fired.Points})
		} else {
			all[first+i].now = fired.Points
		}
	}
	f.changed = slices.DeleteFunc(all, func(c change) bool { return c.old == c.now })
	return f.changed
}

func (f *flips) side() Side {
	s := Side{Crowd: f.people.crowd(), Reasons: []Behind{}, Examples: []Flip{}}
	for code, n := range f.behind {
		s.Reasons = append(s.Reasons, Behind{code, n})
	}
	slices.SortFunc(s.Reasons, func(a, b Behind) int { return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Code, b.Code)) })
	slices.SortFunc(f.kept, func(a, b keptFlip) int { return cmp.Compare(a.at, b.at) })
	for _, k := range f.kept {
		s.Examples = append(s.Examples, k.Flip)
	}
	return s
}
