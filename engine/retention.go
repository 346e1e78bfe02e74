package engine

import (
	"errors"
	"time"

	"github.com/ringfence/ringfence/scoring"
)

// Retention says how long what is kept stays in force. What is in force no longer is not
// seen by any call, whether it was swept yet or not; sweeping frees its space. The zero value of
// every field is its default.
//
// Idempotency keys and list entries say themselves when they expire.
type Retention struct {
	// Subjects is how long after it was last seen a subject is forgotten, with all of its counts, labels and
	// first times. One that an account is linked to, or that is on a list in force, is not. At least
	// scoring.MaxWindow, so that no window of a policy reaches further back. Default 180 days.
	Subjects time.Duration

	// Log is how long an event stays in the log after it was recorded: for timelines, outcomes and
	// backtests. At most Subjects. Default 90 days.
	Log time.Duration

	// LogBytes bounds the log on the disk: beyond, its oldest hours go before their time, which the contract of
	// Store otherwise excludes. Default 20 GiB.
	LogBytes int64
}

// What Retention is unless it says otherwise.
const (
	DefaultSubjectRetention = scoring.MaxWindow
	DefaultLogRetention     = 90 * 24 * time.Hour
	DefaultLogBytes         = 20 << 30
)

// WithDefaults returns r with its defaults, or what is wrong with it.
func (r Retention) WithDefaults() (Retention, error) {
	if r.Subjects == 0 {
		r.Subjects = DefaultSubjectRetention
	}
	if r.Log == 0 {
		r.Log = DefaultLogRetention
	}
	if r.LogBytes == 0 {
		r.LogBytes = DefaultLogBytes
	}
	switch {
	case r.Subjects < scoring.MaxWindow:
		return r, errors.New("retention: subjects have to stay for at least 180 days, the longest window that a policy may name")
	case r.Log < time.Hour || r.Log > r.Subjects:
		return r, errors.New("retention: events have to stay for at least an hour, and no longer than subjects")
	case r.LogBytes < 1<<20:
		return r, errors.New("retention: the log needs room for at least 1 MiB")
	}
	return r, nil
}

// Swept is what one call of Sweep did.
type Swept struct {
	Looked   int  // at so many keys
	Subjects int  // idle subjects forgotten
	Keys     int  // idempotency keys forgotten
	Entries  int  // expired list entries taken off
	Ranges   int  // ranges of the log given up, each some hours of one domain
	Done     bool // it came to the end; the next call begins anew
}

// Add adds up what calls did.
func (s *Swept) Add(o Swept) {
	s.Looked += o.Looked
	s.Subjects += o.Subjects
	s.Keys += o.Keys
	s.Entries += o.Entries
	s.Ranges += o.Ranges
	s.Done = o.Done
}
