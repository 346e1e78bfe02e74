package engine

import (
	"context"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// LinkState says how an account stands to a phone.
type LinkState struct {
	Links
	MaxLinks      int // 0 is no limit
	NumberChanges int // number_change events of the account in the last 180 days
	Numbers       int // different numbers the account was seen with in the last 180 days
}

// Profile is what is known of one phone.
type Profile struct {
	Known      bool  // anything was ever seen of it
	FirstSeen  int64 // unix seconds, of the present generation
	LastSeen   int64 // unix seconds
	Generation uint32
	Verified   bool
	Links      int
	MaxLinks   int // 0 is no limit
	Velocity   []Velocity
	Abuse      int      // events labelled so at present
	Legitimate int      // events labelled so at present
	Lists      []string // in force
	Timeline   []*record.Entry
}

// Velocity is how often something happened to a phone, in windows that end now.
type Velocity struct {
	Event                  scoring.Event
	Hour, Day, Week, Month float64 // 1 h, 24 h, 7 d, 30 d
	Total                  uint64
}

// timelineLength is how many events a profile shows.
const timelineLength = 50

const (
	hour     = 60 * 60
	day      = 24 * hour
	halfYear = 180 * day
)

// CheckLink says whether an account is linked to a phone, and how often the
// account changed numbers. It DOES NOT count.
func (e *Engine) CheckLink(ctx context.Context, phone, account hashing.Subject, link hashing.LinkTag) (*LinkState, error) {
	if phone.Kind != hashing.Phone {
		return nil, ErrNotAPhone
	}
	ev := e.look()
	ev.Subjects[hashing.Phone], ev.Subjects[hashing.Account], ev.Link = phone, account, link
	o, err := e.cfg.Store.Observe(ctx, ev)
	if err != nil {
		return nil, err
	}
	state := &LinkState{MaxLinks: e.maxLinks()}
	if r := o.Records[hashing.Phone]; r != nil {
		state.Links = linksOf(r, link)
	}
	if r := o.Records[hashing.Account]; r != nil {
		at := record.TimeOf(ev.Now)
		state.NumberChanges = int(r.Count(scoring.NumberChange, at, halfYear))
		state.Numbers = int(r.Distinct(scoring.Phones, at, halfYear))
	}
	return state, nil
}

// Lookup says what is known of a phone. It DOES NOT count.
func (e *Engine) Lookup(ctx context.Context, phone hashing.Subject) (*Profile, error) {
	if phone.Kind != hashing.Phone {
		return nil, ErrNotAPhone
	}
	ev := e.look()
	ev.Subjects[hashing.Phone] = phone
	o, err := e.cfg.Store.Observe(ctx, ev)
	if err != nil {
		return nil, err
	}
	p := profileOf(o, ev.Now)
	p.MaxLinks = e.maxLinks()
	p.Timeline, err = e.cfg.Store.Timeline(ctx, e.cfg.Domain, phone, timelineLength)
	return p, err
}

func profileOf(o *Observation, now int64) *Profile {
	p := &Profile{Lists: o.Lists}
	r := o.Records[hashing.Phone]
	if r == nil || r.Empty() {
		return p
	}
	p.Known, p.FirstSeen, p.LastSeen = true, r.FirstSeen(), r.LastSeen()
	p.Generation, p.Links = r.Generation(), r.Links()
	p.Verified = r.Total(scoring.Verified) > 0
	p.Abuse, p.Legitimate = r.Labels(scoring.Abuse), r.Labels(scoring.Legitimate)
	p.Velocity = velocityOf(r, record.TimeOf(now))
	return p
}

func velocityOf(r *record.Record, at record.Time) []Velocity {
	var all []Velocity
	for ev := scoring.Signup; ev < scoring.Events; ev++ {
		total := r.Total(ev)
		if total == 0 {
			continue
		}
		all = append(all, Velocity{
			Event: ev, Total: total,
			Hour: r.Count(ev, at, hour), Day: r.Count(ev, at, day),
			Week: r.Count(ev, at, 7*day), Month: r.Count(ev, at, 30*day),
		})
	}
	return all
}

// RecordOutcome attaches an outcome to an assessed event: see
// Store.RecordOutcome. Domain, MaxLinks, Now and, where it is zero, Time are
// set from the engine.
func (e *Engine) RecordOutcome(ctx context.Context, o *Outcome) error {
	o.Domain, o.Now, o.MaxLinks = e.cfg.Domain, e.Now(), e.maxLinks()
	if o.Time == 0 {
		o.Time = o.Now
	}
	return e.cfg.Store.RecordOutcome(ctx, o)
}

// Unlink takes an account off a phone. Domain and Now are set from the engine.
func (e *Engine) Unlink(ctx context.Context, u *Unlink) error {
	if u.Phone.Kind != hashing.Phone {
		return ErrNotAPhone
	}
	u.Domain, u.Now = e.cfg.Domain, e.Now()
	return e.cfg.Store.Unlink(ctx, u)
}

// Release starts a new generation of a phone. Domain and Now are set from the
// engine.
func (e *Engine) Release(ctx context.Context, r *Release) error {
	if r.Phone.Kind != hashing.Phone {
		return ErrNotAPhone
	}
	r.Domain, r.Now = e.cfg.Domain, e.Now()
	return e.cfg.Store.Release(ctx, r)
}

// look returns an event that only looks.
func (e *Engine) look() *Event {
	now := e.Now()
	return &Event{Domain: e.cfg.Domain, Time: now, Now: now}
}

func (e *Engine) maxLinks() int {
	n, _ := e.live.Load().AccountsPerPhone()
	return n
}

func linksOf(phone *record.Record, link hashing.LinkTag) Links {
	since := phone.LinkedSince(link)
	return Links{Count: phone.Links(), Linked: since != 0, Since: since}
}
