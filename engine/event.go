package engine

import (
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// EventID names one assessed event: see record.EventID.
type EventID = record.EventID

// Event is what happened, in pseudonyms: it holds no number, no account id and
// no address. Times are unix seconds.
type Event struct {
	Domain hashing.DomainID
	Kind   scoring.Event // Signup to NumberChange; zero only for Observe: look, count nothing
	Time   int64         // when it happened
	Now    int64         // the clock when it arrived; never before Time by much in live use

	Subjects hashing.Subjects  // who took part, by hashing.Kind; the zero Subject is "not given". A store makes of them, and of Link, what they are by now: see Store.Migrate
	Link     hashing.LinkTag   // the account as a phone's link set knows it
	Older    []hashing.Version // the same under older keys that are readable: moved to Subjects before anything else
	Known    bool              // the phone has to be: ErrStalePhone, see there, where nothing is kept of it
	Number   Number            // what was learnt from the number before it was forgotten
	Country  string            // two-letter country of the address, "" when not given
	Verified bool              // the platform says that the number was verified for this account

	Once  *Once // idempotency; nil without
	Later bool  // it, and what it moves to a newer key, need not be durable when Assess returns: see Store.Durable
}

// Number is what remains of a number after it was hashed.
type Number struct {
	Given  bool   // a number was sent
	Valid  bool   // and it can exist
	Region string // "GB"; "001" for non-geographic; "" when not valid
	Type   string // "mobile", ...; "" when not valid
}

// Claims reports whether the event wants its account linked to its phone.
func (e *Event) Claims() bool {
	return e.Verified && e.Subjects[hashing.Phone].Given() && e.Subjects[hashing.Account].Given()
}
