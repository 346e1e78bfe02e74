package engine

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Assessment is the answer to an event. It may be used for one event after the
// other: its slices keep their room.
type Assessment struct {
	scoring.Assessment
	ID        EventID // zero when the event was only looked at
	Phone     hashing.Subject
	Number    Number
	Policy    *scoring.Policy
	Version   uint32          // of the policy
	Values    []float64       // by slot of the policy; NaN is unknown
	Links     Links           // of the phone, after the event
	MaxLinks  int             // 0 is no limit
	FirstSeen int64           // unix seconds: when the phone was first seen; 0 without a phone
	Shadows   []record.Shadow // what policies in shadow say, in the order of their versions; usually none

	// Probability of abuse at this score, and how many labels it rests on: 0 labels where the policy is not calibrated or
	// something else than the score decided.
	Probability       float64
	CalibrationLabels uint64

	decision Decision
	verdict  scoring.Verdict // of a shadow
	values   []float64       // of a shadow
}

// neverHeldOut is a draw that no holdout reaches.
const neverHeldOut = 1

// Assess counts an event and says what to make of it. It is durable when it
// returns nil, unless ev.Later says that Durable is called before anybody is told. Domain, Now and, where it is zero, Time are set from the engine.
func (e *Engine) Assess(ctx context.Context, ev *Event, a *Assessment) error {
	live := e.begin(ev, a)
	if err := e.migrateEvent(ctx, ev); err != nil {
		return err
	}
	d := &a.decision
	*d = Decision{}
	if once := ev.Once; once != nil {
		render := once.Render
		once.Render = func() []byte {
			a.ID, a.Links, a.Phone = d.ID, d.Links, ev.Subjects[hashing.Phone]
			return render()
		}
	}
	err := e.cfg.Store.Assess(ctx, ev, d, func(o *Observation, d *Decision) {
		live.judge(ev, o, d.ID.Draw(), a)
		d.Verdict, d.Score, d.Holdout = a.Decision, a.Score, a.Holdout
		d.Policy, d.Values, d.MaxLinks = live.version, a.Values, a.MaxLinks
		d.Shadows = a.Shadows
		d.Claim = ev.Claims() && a.Decision != scoring.Block
	})
	a.ID, a.Links, a.Phone = d.ID, d.Links, ev.Subjects[hashing.Phone]
	if err == nil {
		live.count(a)
	}
	return err
}

// Durable returns when every mutation that returned before it began is durable: see Event.Later.
func (e *Engine) Durable(ctx context.Context) error { return e.cfg.Store.Durable(ctx) }

// Peek says what Assess would say. It DOES NOT count, and claims nothing. No
// holdout applies.
func (e *Engine) Peek(ctx context.Context, ev *Event, a *Assessment) error {
	live := e.begin(ev, a)
	if err := e.migrateEvent(ctx, ev); err != nil {
		return err
	}
	o, err := e.cfg.Store.Observe(ctx, ev)
	if err != nil {
		return err
	}
	a.Phone = ev.Subjects[hashing.Phone]
	live.judge(ev, o, neverHeldOut, a)
	if phone := o.Records[hashing.Phone]; phone != nil {
		a.Links = linksOf(phone, ev.Link)
	}
	return nil
}

// begin completes the event, empties the assessment, and returns the policy in
// force.
func (e *Engine) begin(ev *Event, a *Assessment) *livePolicy {
	live := e.live.Load()
	ev.Domain, ev.Now = e.cfg.Domain, e.Now()
	if ev.Time == 0 {
		ev.Time = ev.Now
	}
	a.ID, a.Phone, a.Number = EventID{}, ev.Subjects[hashing.Phone], ev.Number
	a.Policy, a.Version = live.Policy, live.version
	a.Values = slices.Grow(a.Values[:0], live.Slots())[:live.Slots()]
	a.Links, a.FirstSeen, a.Shadows = Links{}, 0, a.Shadows[:0]
	a.Probability, a.CalibrationLabels = 0, 0
	a.MaxLinks, _ = live.AccountsPerPhone()
	return live
}

// judge scores what was observed. It is pure but for a.
func (p *livePolicy) judge(ev *Event, o *Observation, draw float64, a *Assessment) {
	o.Fill(p.Policy, ev, a.Values)
	p.Evaluate(a.Values, draw, &a.Assessment)
	if phone := o.Records[hashing.Phone]; phone != nil {
		a.FirstSeen = phone.FirstSeen()
	}
	for _, name := range o.Lists {
		a.mentionList(name)
	}
	if p.calibration != nil && a.ByScore() {
		a.Probability, a.CalibrationLabels = p.calibration.at(a.Score)
	}
	a.Shadows = a.Shadows[:0]
	for _, c := range p.shadows {
		c.judge(ev, o, draw, a)
	}
}

// mentionList adds a reason without points for a list that the policy says
// nothing about, so that no hit goes unseen.
func (a *Assessment) mentionList(name string) {
	if name == DenyList || name == AllowList || slices.Contains(a.Policy.Lists(), name) {
		return
	}
	a.Reasons = append(a.Reasons, scoring.Reason{
		Code: "LIST_" + strings.ToUpper(name), Observed: math.NaN(), Limit: math.NaN(),
	})
}
