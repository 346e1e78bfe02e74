package engine

import (
	"context"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
)

// What a change of policies can run into.
var (
	ErrUnknownPolicy  = errors.New("there is no such version of the policy")
	ErrPolicyReplaced = errors.New("another version of the policy is live by now")
	ErrShadowLive     = errors.New("a policy that is live cannot run in shadow")
	ErrTooManyShadows = fmt.Errorf("%d policies run in shadow already", record.MaxShadows)
	ErrNote           = errors.New("a note is 1 to 500 characters on one line and holds no number of seven digits or more")
	ErrFewLabels      = errors.New("too few labels of either kind to tell probabilities from")
)

// PolicyVersion is a policy as the store keeps it. It never changes.
type PolicyVersion struct {
	Version uint32
	Source  []byte
	Added   int64  // unix seconds
	Author  string // id of the caller's key, "local" without keys; "" where an older program added it
	Note    string
	Of      uint32 // the version that a rollback made it equal to, 0 otherwise
}

// Local is the author of changes where callers have no keys.
const Local = "local"

// RolloutKind says what changed about which policies are in force.
type RolloutKind uint8

// The kinds of rollouts. The values are part of the store format.
const (
	Adopted      RolloutKind = iota + 1 // live, because the server was started with it
	Published                           // live
	RolledBack                          // live, as a new version equal to an old one
	ShadowBegins                        // judges beside the live one
	ShadowEnds
)

var rolloutNames = []string{"", "adopted", "published", "rolled_back", "shadow_begins", "shadow_ends"}

// String names the kind.
func (k RolloutKind) String() string {
	if int(k) < len(rolloutNames) {
		return rolloutNames[k]
	}
	return ""
}

// Live reports whether a rollout of this kind makes a version the live one.
func (k RolloutKind) Live() bool { return k >= Adopted && k <= RolledBack }

// Rollout is one change of which policies are in force.
type Rollout struct {
	Number   uint64 // from 1, without gaps; set by the store
	Kind     RolloutKind
	Version  uint32 // set by the store where New is
	Replaces uint32 // the live version before; the store refuses any other
	At       int64  // unix seconds
	Author   string
	Note     string

	// New, when set, is added as the next version, which the rollout is then about. It is not
	// part of what Rollouts returns.
	New  *PolicyVersion
	Once *Once // likewise
}

// PolicyState is which versions are in force.
type PolicyState struct {
	Live    uint32   // 0 before the first
	Shadows []uint32 // ascending
}

// Calibration says how likely abuse is at each score of one policy version.
type Calibration struct {
	At     int64  // unix seconds: when it was stored, with whichever version it was stored first
	Author string // see PolicyVersion
	Digest string // of the backtest whose labels it was fitted to, in hex
	Bands  []CalibrationBand
}

// CalibrationBand is the share of abuse among the scores From to To, both inclusive.
type CalibrationBand struct {
	From, To    int
	Probability float64
	Labels      uint64 // how many it rests on
}

// minCalibration is how many labels of each kind a calibration needs.
const minCalibration = 20

// CheckNote reports whether s can be a note: 1 to 500 printable characters on one line, without seven
// digits or more in a row, so that no number gets into it. What people put between the digits of a
// number does not end a row.
func CheckNote(s string) bool {
	if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > 500 {
		return false
	}
	row := 0
	for _, r := range s {
		switch {
		case !unicode.IsPrint(r):
			return false
		case unicode.IsDigit(r):
			if row++; row == 7 {
				return false
			}
		case unicode.IsLetter(r), r == ',', r == ';', r == ':':
			row = 0
		}
	}
	return true
}

// AddPolicy keeps a policy as the next version, which changes nothing yet. v has the Source, Author
// and Note; the rest is filled in. A scoring.PolicyError says what is wrong with the source. A broken
// policy never gets into the store.
func (e *Engine) AddPolicy(ctx context.Context, v *PolicyVersion, once *Once) (*scoring.Policy, error) {
	p, err := scoring.Compile(v.Source)
	if err != nil {
		return nil, err
	}
	if !CheckNote(v.Note) {
		return nil, ErrNote
	}
	v.Added = e.Now()
	return p, e.cfg.Store.AddPolicy(ctx, e.cfg.Domain, v, once)
}

// Change is who changes which policies are in force, and why.
type Change struct {
	Replaces uint32 // the version that is live as far as the caller knows; does not matter for shadows
	Author   string
	Note     string
	Once     *Once
}

func (c *Change) rollout(kind RolloutKind, version uint32) *Rollout {
	return &Rollout{Kind: kind, Version: version, Replaces: c.Replaces, Author: c.Author, Note: c.Note, Once: c.Once}
}

// Publish makes a version the live one, for events that arrive from now on. ErrPolicyReplaced when the caller does
// not know which one it replaces.
func (e *Engine) Publish(ctx context.Context, version uint32, c Change) error {
	return e.rollOut(ctx, c.rollout(Published, version))
}

// RollBack adds a version equal to an old one, with its calibration, and makes it the live one: see Publish. r holds the new version from when
// Once.Render is called.
func (e *Engine) RollBack(ctx context.Context, to uint32, c Change, r *Rollout) error {
	old, err := e.cfg.Store.Policy(ctx, e.cfg.Domain, to)
	if err != nil {
		return err
	}
	if _, err := scoring.Compile(old.Source); err != nil {
		return err
	}
	*r = *c.rollout(RolledBack, 0)
	r.New = &PolicyVersion{Source: old.Source, Added: e.Now(), Author: c.Author, Note: c.Note, Of: to}
	return e.rollOut(ctx, r)
}

// Shadow has a version judge beside the live one, or no longer. It changes no decision.
func (e *Engine) Shadow(ctx context.Context, version uint32, on bool, c Change) error {
	kind := ShadowEnds
	if on {
		kind = ShadowBegins
	}
	return e.rollOut(ctx, c.rollout(kind, version))
}

// rollOut has the store make a change, and then puts it in force.
func (e *Engine) rollOut(ctx context.Context, r *Rollout) error {
	if !CheckNote(r.Note) {
		return ErrNote
	}
	e.rollouts.Lock()
	defer e.rollouts.Unlock()
	if r.New == nil {
		if err := e.compiles(ctx, r.Version); err != nil {
			return err
		}
	}
	r.At = e.Now()
	if err := e.cfg.Store.RollOut(ctx, e.cfg.Domain, r); err != nil {
		return err
	}
	return e.enforce(context.WithoutCancel(ctx)) // the store has it: memory must follow
}

// compiles refuses a version of an older program that this one cannot read.
func (e *Engine) compiles(ctx context.Context, version uint32) error {
	v, err := e.cfg.Store.Policy(ctx, e.cfg.Domain, version)
	if err != nil {
		return err
	}
	_, err = scoring.Compile(v.Source)
	return err
}

// enforce puts in force what the store says is. e.rollouts is held.
func (e *Engine) enforce(ctx context.Context) error {
	state, err := e.cfg.Store.PolicyState(ctx, e.cfg.Domain)
	if err != nil {
		return err
	}
	p, err := e.compiled(ctx, state.Live)
	if err != nil {
		return err
	}
	live := &livePolicy{Policy: p, version: state.Live}
	if live.calibration, err = e.cfg.Store.Calibration(ctx, e.cfg.Domain, state.Live); err != nil {
		return err
	}
	for _, version := range state.Shadows {
		p, err := e.compiled(ctx, version)
		if err != nil {
			return err
		}
		live.shadows = append(live.shadows, e.challenger(live, p, version))
	}
	e.live.Store(live)
	return nil
}

func (e *Engine) compiled(ctx context.Context, version uint32) (*scoring.Policy, error) {
	v, err := e.cfg.Store.Policy(ctx, e.cfg.Domain, version)
	if err != nil {
		return nil, err
	}
	p, err := scoring.Compile(v.Source)
	if err != nil {
		return nil, fmt.Errorf("version %d of the policy does not compile any more; start with another one: %w", version, err)
	}
	return p, nil
}

// Live returns the policy in force and its version.
func (e *Engine) Live() (*scoring.Policy, uint32) {
	live := e.live.Load()
	return live.Policy, live.version
}

// PolicyState returns which versions are in force.
func (e *Engine) PolicyState(ctx context.Context) (*PolicyState, error) {
	return e.cfg.Store.PolicyState(ctx, e.cfg.Domain)
}

// PolicyVersion returns a version, or ErrUnknownPolicy.
func (e *Engine) PolicyVersion(ctx context.Context, version uint32) (*PolicyVersion, error) {
	return e.cfg.Store.Policy(ctx, e.cfg.Domain, version)
}

// Policies returns up to limit versions before one (0: the newest), newest first.
func (e *Engine) Policies(ctx context.Context, before uint32, limit int) ([]PolicyVersion, error) {
	return e.cfg.Store.Policies(ctx, e.cfg.Domain, before, limit)
}

// Rollouts returns up to limit changes before one (0: the newest), newest first.
func (e *Engine) Rollouts(ctx context.Context, before uint64, limit int) ([]Rollout, error) {
	return e.cfg.Store.Rollouts(ctx, e.cfg.Domain, before, limit)
}

// Calibration returns how likely abuse is at each score of a version, nil when nobody said.
func (e *Engine) Calibration(ctx context.Context, version uint32) (*Calibration, error) {
	return e.cfg.Store.Calibration(ctx, e.cfg.Domain, version)
}

// Calibrate stores how likely abuse is at each score of a version, and puts it in force where the version
// is. It replaces what was stored before. abuse and legitimate are how many labels it rests on:
// ErrFewLabels below 20 of either.
func (e *Engine) Calibrate(ctx context.Context, version uint32, c *Calibration, abuse, legitimate uint64, once *Once) error {
	if abuse < minCalibration || legitimate < minCalibration || len(c.Bands) == 0 {
		return ErrFewLabels
	}
	e.rollouts.Lock()
	defer e.rollouts.Unlock()
	c.At = e.Now()
	if err := e.cfg.Store.Calibrate(ctx, e.cfg.Domain, version, c, once); err != nil {
		return err
	}
	return e.enforce(context.WithoutCancel(ctx))
}

// at returns the probability of abuse at a score and how many labels it rests on. A score
// between two bands has that of the lower one, and one below all of them that of the lowest.
func (c *Calibration) at(score int) (probability float64, labels uint64) {
	band := &c.Bands[0]
	for i := range c.Bands {
		if c.Bands[i].From <= score {
			band = &c.Bands[i]
		}
	}
	return band.Probability, band.Labels
}

// Scan calls fn with every logged event whose id is greater than after: see Store.Scan.
func (e *Engine) Scan(ctx context.Context, after EventID, fn func(*record.Entry) error) error {
	return e.cfg.Store.Scan(ctx, e.cfg.Domain, after, fn)
}

// PolicySource returns the document of one version; ok is false when there is none.
func (e *Engine) PolicySource(ctx context.Context, version uint32) (source []byte, ok bool, err error) {
	return e.cfg.Store.PolicySource(ctx, e.cfg.Domain, version)
}
