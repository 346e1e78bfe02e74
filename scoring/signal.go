package scoring

import "time"

// Subject says whose history a signal measures.
type Subject uint8

// The subjects of a signal, in the order of hashing.Kind.
const (
	Phone Subject = iota + 1
	Range
	Account
	IP
	Network
	Device
)

// Event says what happened. It is also what a count signal counts.
type Event uint8

// The events, and the outcomes that are counted like events. The values are
// part of the store format: they never change and never get reused.
const (
	Signup Event = iota + 1
	Verification
	SignIn
	Checkout
	Recovery
	NumberChange
	Verified   // outcome: the number was shown to belong to the account
	Abuse      // outcome: the account turned out to be abusive
	Legitimate // outcome: the account turned out to be in order
	Unverified // outcome: a verification was sent and never completed

	// Events is one more than the highest Event, for arrays indexed by Event.
	Events = 11
)

// Outcome reports whether e is reported after the fact, about an earlier event.
func (e Event) Outcome() bool { return e >= Verified && e < Events }

// Member says what a distinct signal tells apart.
type Member uint8

// The members of distinct counts. The values are part of the store format.
const (
	Accounts Member = iota + 1
	Devices
	Networks
	Countries
	Phones

	// Members is one more than the highest Member.
	Members = 6
)

// Aggregate says how a signal boils a history down to one number.
type Aggregate uint8

// The aggregates.
const (
	Count    Aggregate = iota + 1 // events of kind Event in the window
	Distinct                      // different members of kind Member in the window
	Links                         // accounts linked to the phone now; no window
	Labels                        // events of the subject labelled Event (Abuse or Legitimate) now; no window
)

// Signal is one thing that a policy measures: whose history, how it is boiled
// down, and over which window. Signals are comparable.
type Signal struct {
	Name      string
	Subject   Subject
	Aggregate Aggregate
	Event     Event         // of Count and Labels
	Member    Member        // of Distinct
	Window    time.Duration // of Count and Distinct: (now - Window, now], whole seconds
}
