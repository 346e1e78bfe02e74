package scoring

import "time"

// Decision is what a policy says should happen, from lenient to strict.
type Decision uint8

// The decisions. The values are part of the store format.
const (
	Allow Decision = iota + 1
	Challenge
	Review
	Block
)

// Slot positions that every policy shares. The slots of the policy's own
// signals and lists follow from SlotSignals on: see Policy.Slots.
//
// A slot holds a float64. NaN means unknown: not given, never a penalty.
// Booleans are 0 and 1. Texts are coded: see RegionCode, TypeCode; an event is
// its Event value.
const (
	SlotEvent         = iota // Event
	SlotVerified             // bool: the request says that this number was verified for this account
	SlotPhoneVerified        // bool: the phone was verified at any time before this event
	SlotNumberValid          // bool; unknown without a number
	SlotNumberRegion         // RegionCode; unknown without a valid number
	SlotNumberType           // TypeCode; unknown without a valid number
	SlotPhoneAgeDays         // days since the phone was first seen; unknown without a phone
	SlotIPCountry            // RegionCode; unknown when not given
	SlotLinks                // accounts linked to the phone now; unknown without a phone
	SlotLinked               // bool: this account is linked to the phone; unknown without both
	SlotListDeny             // bool: any subject is on the deny list
	SlotListAllow            // bool: any subject is on the allow list
	SlotSignals              // the first slot that is the policy's own
)

// Reason says why a score is what it is.
type Reason struct {
	Code     string
	Points   int           // what the reason adds; below zero lowers the score
	Observed float64       // the value that was measured; NaN when the reason comes from an expression
	Limit    float64       // the threshold it reached; NaN where there is none
	Window   time.Duration // 0 where there is none
}

// Assessment is what a policy says of one event. It is reused between calls of
// Evaluate: the slices keep their room.
type Assessment struct {
	Score    int // 0 to 100 inclusive, higher is riskier
	Decision Decision
	// Holdout is set when a block by score was let through so that labels stay honest.
	Holdout bool
	Reasons []Reason
	// Degraded names the signals and variables that a rule needed and that were unknown, sorted, each once.
	Degraded []string

	verdict Verdict // what the words above are about
}

// ByScore reports whether it was the score that decided.
func (a *Assessment) ByScore() bool { return a.verdict.By == ByScore }
