package engine

import (
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Outcome is what became of an assessed event. Verified and Unverified replace
// one another, and so do Abuse and Legitimate. Labels follow the newest
// outcome; windowed counts of outcomes count every change and take nothing
// back. Unverified after Verified leaves the account linked: call Unlink.
type Outcome struct {
	Domain hashing.DomainID
	Event  EventID
	Kind   scoring.Event // Verified, Unverified, Abuse or Legitimate
	Source string        // who says so: a short code such as "chargeback"; "" is unknown
	Time   int64         // unix seconds: when it became known
	Now    int64         // unix seconds: the clock

	MaxLinks int // never more than this many accounts on the phone; 0 is no limit
	Once     *Once
	Later    bool // it need not be durable when RecordOutcome returns: see Store.Durable

	// Results.
	Changed bool  // false when the event had this outcome already
	Stale   bool  // the phone was released since: the label is kept, no count changed
	Links   Links // of the event's phone and account
}

// Unlink takes an account off a phone.
type Unlink struct {
	Domain   hashing.DomainID
	Phone    hashing.Subject
	Known    bool // see Event.Known
	Link     hashing.LinkTag
	Now      int64 // unix seconds
	Once     *Once
	Unlinked bool  // result: it was linked before
	Links    Links // result
}

// Release says that a phone number was recycled or given up.
type Release struct {
	Domain     hashing.DomainID
	Phone      hashing.Subject
	Known      bool  // see Event.Known
	Now        int64 // unix seconds
	Once       *Once
	Generation uint32 // result: 1 after the first release
}
