package engine

import (
	"math"
	"slices"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Observation is what everything seen so far says of the subjects of an event,
// the event itself included. It is valid only during the call it is handed to,
// unless Observe returned it.
type Observation struct {
	Records [hashing.Kinds]*record.Record // by hashing.Kind; nil where no subject was given
	Lists   []string                      // names of the lists in force that any of the subjects is on, sorted
}

const secondsPerDay = 24 * 60 * 60

// Fill sets every slot that a policy reads. values has p.Slots() elements.
// What was not given is NaN: unknown, never zero.
func (o *Observation) Fill(p *scoring.Policy, ev *Event, values []float64) {
	o.fillShared(ev, values)
	at := record.TimeOf(ev.Time)
	slot := scoring.SlotSignals
	signals := p.Signals()
	for i := range signals {
		values[slot] = o.measure(&signals[i], at)
		slot++
	}
	for _, name := range p.Lists() {
		values[slot] = flag(o.listed(name))
		slot++
	}
}

// Unread returns, by kind of subject, the counts in records that Fill never asks for.
func Unread(p *scoring.Policy) (all [hashing.Kinds]record.Omission) {
	for kind := range all {
		all[kind] = record.Everything
	}
	all[hashing.Phone].Need(&scoring.Signal{Aggregate: scoring.Count, Event: scoring.Verified}) // see fillPhone
	signals := p.Signals()
	for i := range signals {
		all[signals[i].Subject].Need(&signals[i])
	}
	return all
}

// fillShared sets the slots that every policy has, up to SlotSignals.
func (o *Observation) fillShared(ev *Event, values []float64) {
	values[scoring.SlotEvent] = float64(ev.Kind)
	values[scoring.SlotVerified] = flag(ev.Verified)
	values[scoring.SlotIPCountry] = scoring.RegionCode(ev.Country)
	values[scoring.SlotListDeny] = flag(o.listed(DenyList))
	values[scoring.SlotListAllow] = flag(o.listed(AllowList))
	o.fillNumber(ev, values)
	o.fillPhone(ev, values)
}

func (o *Observation) fillNumber(ev *Event, values []float64) {
	unknown := math.NaN()
	values[scoring.SlotNumberValid] = unknown
	values[scoring.SlotNumberRegion] = unknown
	values[scoring.SlotNumberType] = unknown
	if !ev.Number.Given {
		return
	}
	values[scoring.SlotNumberValid] = flag(ev.Number.Valid)
	values[scoring.SlotNumberRegion] = scoring.RegionCode(ev.Number.Region)
	values[scoring.SlotNumberType] = scoring.TypeCode(ev.Number.Type)
}

func (o *Observation) fillPhone(ev *Event, values []float64) {
	unknown := math.NaN()
	values[scoring.SlotPhoneVerified] = unknown
	values[scoring.SlotPhoneAgeDays] = unknown
	values[scoring.SlotLinks] = unknown
	values[scoring.SlotLinked] = unknown
	phone := o.Records[hashing.Phone]
	if phone == nil {
		return
	}
	values[scoring.SlotPhoneVerified] = flag(phone.Total(scoring.Verified) > 0)
	values[scoring.SlotPhoneAgeDays] = max(0, float64(ev.Time-phone.FirstSeen())) / secondsPerDay
	values[scoring.SlotLinks] = float64(phone.Links())
	if o.Records[hashing.Account] != nil {
		values[scoring.SlotLinked] = flag(phone.LinkedSince(ev.Link) != 0)
	}
}

func (o *Observation) measure(s *scoring.Signal, at record.Time) float64 {
	r := o.Records[s.Subject]
	if r == nil {
		return math.NaN()
	}
	return r.Measure(s, at)
}

func (o *Observation) listed(name string) bool { return slices.Contains(o.Lists, name) }

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
