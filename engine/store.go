package engine

import (
	"context"
	"errors"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// What a Store answers when it cannot do what was asked. Callers compare with
// errors.Is.
//
// ErrStalePhone: a phone that came by a token alone, while there are older keys, may be kept under a name that the token does not lead to: it was
// moved when there was nothing to move, or not moved yet, or was erased since. Were it to begin anew under the name that it came by, its number
// would be two, each with as many accounts as one may have. So such calls say that it has to be known; who has the number can name it. An outcome
// need not say so: of an event in the log something is kept of its phone.
var (
	ErrUnknownEvent = errors.New("no such assessment")
	ErrStalePhone   = errors.New("nothing is kept of a phone by the name that it came by, and it has others")
	ErrClosed       = errors.New("the store is closed")
	ErrCorrupt      = errors.New("the store holds damaged data")
	ErrLocked       = errors.New("the data folder is in use by another process")
	ErrNewerFormat  = errors.New("the data folder was written by a newer version of ringfence")
	ErrOlderFormat  = errors.New("the data folder was written by an older version of ringfence")
	ErrWrongKeyring = errors.New("the data folder belongs to another keyring")
	ErrNotAStore    = errors.New("the folder holds no ringfence store")
	ErrFull         = errors.New("the disk of the store is nearly full")
	ErrTooManyLists = errors.New("no room for another list name")
)

// Store counts events per subject. Every method is safe for concurrent use.
//
// Atomic: each mutation is one step. Counts, the account claim, the log entry
// and the idempotency entry of an event are seen and survive together or not
// at all. Mutations that share a subject happen one after the other.
//
// Durable: when a mutation returns nil, it survives the death of the process
// and of the machine (not the loss of the disk), at once or, if the caller asked for that, once Durable has returned. When it returns an error
// other than a refusal named on the method, the caller cannot know whether it
// happened, and repeats it with the same Once.
//
// While the disk is nearly full, mutations are refused with ErrFull and did not happen; reads go on.
//
// Reads see every mutation that returned before they began.
//
// Expiry frees space and never changes an answer: what is not in force any longer by Retention or its own
// expiry is not seen by any call, whether Sweep has come by or not. What is in force is computed from the
// clock that callers pass, as far as the store believes it: that time never goes back, and runs after a clock that
// jumped ahead by more than an hour at twice the speed of time. So a clock that is wrong for a while makes
// nothing expire that would not have soon.
//
// A context that has ended before a method begins its work stops it; later it
// no longer does.
type Store interface {
	// Assess reads the event's subjects, counts the event, and calls decide with
	// what they have now seen. It then commits the counts, the claim if d.Claim,
	// the log entry and the idempotency entry. decide is pure but for d, and may
	// be called again; d.ID is set when it is called, and d.Links after the claim.
	Assess(ctx context.Context, ev *Event, d *Decision, decide func(o *Observation, d *Decision)) error

	// Durable returns when every mutation that returned before it began is durable, an Event or Outcome that was Later included. A
	// caller who has many of them waits once instead of for each, and tells nobody what they returned before that. It
	// promises nothing about them when it returns an error.
	Durable(ctx context.Context) error

	// Observe returns what decide would be shown. It DOES NOT count. With
	// ev.Kind zero, the event itself is not part of the view.
	Observe(ctx context.Context, ev *Event) (*Observation, error)

	// RecordOutcome attaches what became of an event to it, adjusts labels and
	// counts of its subjects, and links the account if the outcome is Verified and the
	// limit allows. It fills in o's results. The same outcome again changes
	// nothing. ErrUnknownEvent for an id that is not in the log.
	RecordOutcome(ctx context.Context, o *Outcome) error

	// Unlink frees the slot of one account on one phone.
	Unlink(ctx context.Context, u *Unlink) error

	// Release starts a new generation of a phone: no inherited links, counts or
	// labels. Lists it is on stay.
	Release(ctx context.Context, r *Release) error

	// Erase forgets a phone: its record, links, labels and entries on lists, and its events of all generations,
	// which are unknown afterwards. What they counted for other subjects stays. A phone that was never
	// seen is erased alike. The bytes leave the disk later: see the driver.
	Erase(ctx context.Context, e *Erasure) error

	// Migrate moves the records of subjects, all that is kept of them, from older keys to another one, and makes
	// members and links that the records of m.To know by older tags known by the new ones. It DOES NOT count. It leaves
	// forwards behind, so that what was given out for an older subject goes on standing for the same: wherever
	// this interface takes a subject, or an event of one, it goes on to where that is by now, and returns it so. Where both
	// have a record, lists and links are joined, and what the older one counted is lost: so whoever knows a subject
	// by both migrates before anything else. Nothing to move is no mutation.
	Migrate(ctx context.Context, m *Migration) error

	// Entry returns one logged event, or ErrUnknownEvent.
	Entry(ctx context.Context, domain hashing.DomainID, id EventID) (*record.Entry, error)

	// Timeline returns the newest events of a phone's present generation,
	// newest first, at most limit of them.
	Timeline(ctx context.Context, domain hashing.DomainID, phone hashing.Subject, limit int) ([]*record.Entry, error)

	// Scan calls fn with every logged event of a domain whose id is greater than
	// after, in the order of ids. The entry is fn's only until it returns. fn may
	// call the store, but for Close.
	Scan(ctx context.Context, domain hashing.DomainID, after EventID, fn func(*record.Entry) error) error

	// PutEntries adds entries to lists, or replaces them. All of one call are
	// committed together; keep a call under a few thousand.
	PutEntries(ctx context.Context, domain hashing.DomainID, entries []ListEntry, once *Once) error

	// RemoveEntry takes one subject off a list and reports whether it was on it.
	// An entry that expired is not.
	RemoveEntry(ctx context.Context, domain hashing.DomainID, list string, s hashing.Subject, now int64) (bool, error)

	// Entries returns up to limit entries of a list that are in force, in the order of their
	// subjects, those after the given one (zero: from the start).
	Entries(ctx context.Context, domain hashing.DomainID, list string, after hashing.Subject, limit int, now int64) ([]ListEntry, error)

	// Lists returns the names of the domain's lists, sorted.
	Lists(ctx context.Context, domain hashing.DomainID) ([]string, error)

	// AdoptPolicy makes a policy document the live one and returns its version. A document equal
	// to the live one keeps its version; any other becomes the next version.
	// Versions start at 1, without gaps, and never change.
	AdoptPolicy(ctx context.Context, domain hashing.DomainID, source []byte, now int64) (uint32, error)

	// PolicySource returns the document of one version; ok is false when there is none.
	PolicySource(ctx context.Context, domain hashing.DomainID, version uint32) (source []byte, ok bool, err error)

	// AddPolicy keeps a policy document as the next version, which it fills in. Nothing else changes.
	AddPolicy(ctx context.Context, domain hashing.DomainID, v *PolicyVersion, once *Once) error

	// Policy returns one version, or ErrUnknownPolicy.
	Policy(ctx context.Context, domain hashing.DomainID, version uint32) (*PolicyVersion, error)

	// Policies returns up to limit versions before one (0: the newest), newest first.
	Policies(ctx context.Context, domain hashing.DomainID, before uint32, limit int) ([]PolicyVersion, error)

	// RollOut changes which versions are in force and keeps the change, with r.New if that is set, in one step. A version that
	// a rollback adds has the calibration of the one that it equals from the start. It fills in
	// r.Version and r.Number; Number stays 0 when things were so already. ErrPolicyReplaced when
	// the change would make another version live and r.Replaces is not the one that is, ErrUnknownPolicy,
	// ErrShadowLive, ErrTooManyShadows. What becomes live no longer runs in shadow.
	RollOut(ctx context.Context, domain hashing.DomainID, r *Rollout) error

	// Rollouts returns up to limit changes before one (0: the newest), newest first.
	Rollouts(ctx context.Context, domain hashing.DomainID, before uint64, limit int) ([]Rollout, error)

	// PolicyState returns which versions are in force.
	PolicyState(ctx context.Context, domain hashing.DomainID) (*PolicyState, error)

	// Calibrate keeps the calibration of a version, in place of the one before. ErrUnknownPolicy.
	Calibrate(ctx context.Context, domain hashing.DomainID, version uint32, c *Calibration, once *Once) error

	// Calibration returns what Calibrate or a rollback kept, nil when nothing.
	Calibration(ctx context.Context, domain hashing.DomainID, version uint32) (*Calibration, error)

	// Recall returns what is kept under an idempotency key that is in force, nil when nothing is.
	Recall(ctx context.Context, domain hashing.DomainID, key hashing.Digest, now int64) (*Remembered, error)

	// Sweep frees the space of what is in force no longer: idle subjects, old events, idempotency keys, expired
	// list entries. A call does some milliseconds' worth of work and goes on where the last one
	// stopped. One call at a time: a second one waits. It does not wait for the disk: after a crash, what it freed last may be there
	// again, out of force.
	Sweep(ctx context.Context, now int64) (Swept, error)

	// Close waits for what is under way and frees the store. Calls that begin after it
	// are ErrClosed.
	Close() error
}

// Decision is what decide says of an event, and what the store adds to it.
type Decision struct {
	ID EventID // set by the store before decide is called

	Verdict  scoring.Decision
	Score    int
	Holdout  bool
	Policy   uint32          // version
	Values   []float64       // every slot the policy read: logged, so that the event can be scored again
	Shadows  []record.Shadow // what policies in shadow said
	Claim    bool            // link the account to the phone
	MaxLinks int             // never more than this many accounts on the phone; 0 is no limit

	Links Links // set by the store: the phone's links once the event is applied
}

// Links is the state of a phone's account links, as one account sees it.
type Links struct {
	Count  int   // accounts linked to the phone
	Linked bool  // the account asked about is one of them
	Since  int64 // unix seconds; 0 when it is not
}
