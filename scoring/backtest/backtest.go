package backtest

import (
	"context"
	"errors"
	"time"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// Log calls fn with logged events in the order of their ids. An entry is fn's only until it
// returns. Store.Scan of package engine does this.
type Log func(ctx context.Context, fn func(*record.Entry) error) error

// Config says what to test, and on what.
type Config struct {
	Log Log

	// Source returns the document of the policy version that wrote an entry; ok is false
	// when there is none any more. Store.PolicySource does this.
	Source func(ctx context.Context, version uint32) (doc []byte, ok bool, err error)

	Policy *scoring.Policy // the one to try

	// Label returns what is known of an event: Abuse, Legitimate, or 0. Nil takes the outcome
	// in the log.
	Label func(*record.Entry) scoring.Event

	// AsOf is the time of the test in unix seconds, and Maturity how old an event has to be then
	// for its label to count.
	AsOf     int64
	Maturity time.Duration

	// From and To bound the events that are reported on: [From, To) in unix seconds, by when they
	// happened. 0 is no bound. Replay counts those outside, too.
	From, To int64

	// MaxSubjects bounds how many subjects a replay keeps a record of, some 500 bytes each, and outcomes that it has yet to come to, some
	// 160 bytes each: beyond that many of both, it ends with ErrTooManySubjects. 0 is no bound.
	MaxSubjects int

	// Place says where an event stands among all changes, by the count of its reports. nil is where its id says, for logs whose ids are the store's.
	Place func(*record.Entry) record.Seq

	// KeepSubjects is how long the store of the log keeps idle subjects: a replay forgets them as it does. 0 is engine.DefaultSubjectRetention.
	KeepSubjects time.Duration

	// Seed chooses which flips are kept as examples, at most Examples in each direction.
	Seed     uint64
	Examples int

	// Each is told of every event that is reported on. The Row is its own only until it
	// returns. Nil for nobody.
	Each func(*Row) error

	// Progress is told how many events were read, every so often and at the end. Nil for nobody.
	Progress func(events uint64)
}

// State says whether an event's label counts.
type State uint8

// The states.
const (
	Counted       State = iota + 1
	Unlabelled          // nobody knows
	Immature            // the label is too young to be trusted
	Represented         // blocked by score: the holdout stands for it
	NotReplayable       // the policy reads what was not recorded: not judged
	Lost                // the policy that wrote it is gone: not judged

	states = Lost + 1
)

var stateNames = [states]string{"", "counted", "unlabelled", "immature", "represented", "not_replayable", "lost"}

// String names the state.
func (s State) String() string { return stateNames[s] }

// Row is what came of one event.
type Row struct {
	Entry  *record.Entry
	State  State
	Label  scoring.Event // Abuse, Legitimate or 0
	Weight float64       // of the label, where it counts: 1, or the inverse of the holdout
	New    *scoring.Verdict
	level  int
	writer *version
	rules  []scoring.Rule // of the policy to try
}

// Judged reports whether the policy could decide about the event.
func (r *Row) Judged() bool { return r.State != NotReplayable && r.State != Lost }

// Level places an event for thresholds: its score, Never or Always.
func (r *Row) Level() int { return r.level }

// Was judges the event once more by the policy that wrote it, into v, and returns the rules of that policy; known is false when it is gone.
func (r *Row) Was(v *scoring.Verdict) (rules []scoring.Rule, known bool) {
	if r.writer.policy == nil {
		return nil, false
	}
	r.writer.policy.Judge(r.Entry.Values, r.Entry.ID.Draw(), v)
	return r.writer.rules, true
}

// Unread returns what the policy reads and nobody recorded of the event.
func (r *Row) Unread() []string { return r.writer.unread }

// Levels of events about which no threshold decides.
const (
	Never  = -1  // on the allow list
	Always = 101 // on the deny list, or the number has no room for another account
)

func levelOf(v *scoring.Verdict) int {
	switch v.By {
	case scoring.ByDenyList, scoring.ByLimit:
		return Always
	case scoring.ByAllowList:
		return Never
	}
	return v.Score
}

// ErrTooManySubjects ends a replay that meets more subjects, and outcomes that came long after their events, than Config allows.
var ErrTooManySubjects = errors.New("backtest: more subjects and late outcomes in the log than a replay may hold in memory")

// errConfig refuses what cannot be tested.
var errConfig = errors.New("backtest: Config needs a Log, a Source and a Policy, and no Maturity below 0")

func (c *Config) check() error {
	if c.Log == nil || c.Source == nil || c.Policy == nil || c.Maturity < 0 || c.Examples < 0 {
		return errConfig
	}
	return nil
}

func (c *Config) label(e *record.Entry) scoring.Event {
	if c.Label != nil {
		return c.Label(e)
	}
	return e.Outcome(scoring.Abuse).Kind
}

func (c *Config) within(at int64) bool {
	return (c.From == 0 || at >= c.From) && (c.To == 0 || at < c.To)
}

// progressEvery is how many events lie between two reports, and two looks at the context.
const progressEvery = 1 << 14

// run reads the log once.
func (c *Config) run(ctx context.Context, mode string, judge func(*record.Entry, *Row) error) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := newTally(c, mode)
	row := Row{New: &scoring.Verdict{}, rules: c.Policy.Rules()}
	read := uint64(0)
	err := c.Log(ctx, func(e *record.Entry) error {
		if read++; read%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if c.Progress != nil {
				c.Progress(read)
			}
		}
		if e.Verdict < scoring.Allow || e.Verdict > scoring.Block || e.Score > 100 {
			return errDamaged
		}
		row.Entry, row.State, row.Label, row.Weight = e, 0, 0, 0
		if err := judge(e, &row); err != nil || !c.within(e.Time) {
			return err
		}
		t.add(&row)
		if c.Each != nil {
			return c.Each(&row)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.Progress != nil {
		c.Progress(read)
	}
	return t.result(), nil
}
