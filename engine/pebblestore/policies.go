package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// policyHead is the time of adoption, before the document.
const policyHead = 8

// policyNote is what the store keeps of a version beside its document.
type policyNote struct {
	Author string `json:"author"`
	Note   string `json:"note,omitempty"`
	Of     uint32 `json:"of,omitempty"`
}

// rolloutValue is a rollout as it is kept.
type rolloutValue struct {
	Kind     engine.RolloutKind `json:"kind"`
	Version  uint32             `json:"version"`
	Replaces uint32             `json:"replaces,omitempty"`
	At       int64              `json:"at"`
	Author   string             `json:"author"`
	Note     string             `json:"note,omitempty"`
}

// rolledOut is which versions are in force, and how many rollouts led to it.
type rolledOut struct {
	Live     uint32   `json:"live"`
	Shadows  []uint32 `json:"shadows,omitempty"`
	Rollouts uint64   `json:"rollouts"`
}

// calibrationValue is a calibration as it is kept.
type calibrationValue struct {
	At     int64       `json:"at"`
	Author string      `json:"author"`
	Digest string      `json:"digest"`
	Bands  []bandValue `json:"bands"`
}

type bandValue struct {
	From        int     `json:"from"`
	To          int     `json:"to"`
	Probability float64 `json:"probability"`
	Labels      uint64  `json:"labels"`
}

// adoptedNote is the note of policies that a server was started with.
const adoptedNote = "given at start"

// AdoptPolicy implements engine.Store.
func (s *Store) AdoptPolicy(ctx context.Context, domain hashing.DomainID, source []byte, now int64) (version uint32, err error) {
	err = s.changePolicies(ctx, domain, now, nil, func(t *tx, state *rolledOut) error {
		stored, err := s.get(appendPolicyKey(nil, domain, state.Live))
		if err != nil || len(stored) >= policyHead && bytes.Equal(stored[policyHead:], source) {
			version = state.Live
			return err
		}
		r := &engine.Rollout{Kind: engine.Adopted, Replaces: state.Live, At: now, Author: engine.Local, Note: adoptedNote}
		r.New = &engine.PolicyVersion{Source: source, Added: now, Author: engine.Local, Note: adoptedNote}
		err = t.rollOut(domain, state, r)
		version = r.Version
		return err
	})
	return version, err
}

// AddPolicy implements engine.Store.
func (s *Store) AddPolicy(ctx context.Context, domain hashing.DomainID, v *engine.PolicyVersion, once *engine.Once) error {
	return s.changePolicies(ctx, domain, v.Added, once, func(t *tx, state *rolledOut) error {
		if err := t.putPolicy(domain, v); err != nil {
			return err
		}
		return t.putJSON(appendTable(nil, tableRolledOut, domain), state) // from now on the newest is not the live one by itself
	})
}

// RollOut implements engine.Store.
func (s *Store) RollOut(ctx context.Context, domain hashing.DomainID, r *engine.Rollout) error {
	return s.changePolicies(ctx, domain, r.At, r.Once, func(t *tx, state *rolledOut) error { return t.rollOut(domain, state, r) })
}

// changePolicies makes one change after the other: what change writes is committed together, if there is room. What writes
// nothing needs none, so that a server starts on a full disk with the policy that is live.
func (s *Store) changePolicies(ctx context.Context, domain hashing.DomainID, now int64, once *engine.Once, change func(*tx, *rolledOut) error) error {
	t, err := s.beginSweep(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	t.now = s.clock.advance(now)
	s.policies.Lock()
	defer s.policies.Unlock()
	state, err := s.rolledOut(domain)
	if err != nil {
		return err
	}
	if err := change(t, state); err != nil {
		return err
	}
	if t.batch != nil || once != nil {
		if err := s.checkSpace(); err != nil {
			return err
		}
	}
	return t.commit(domain, once)
}

// putPolicy adds a version.
func (t *tx) putPolicy(domain hashing.DomainID, v *engine.PolicyVersion) error {
	newest, err := t.s.newestPolicy(domain)
	if err != nil {
		return err
	}
	v.Version = newest + 1
	value := binary.BigEndian.AppendUint64(nil, uint64(v.Added)) //nolint:gosec // kept bit by bit
	if err := t.writes().Set(appendPolicyKey(nil, domain, v.Version), append(value, v.Source...), nil); err != nil {
		return err
	}
	return t.putJSON(appendVersionKey(nil, tablePolicyNote, domain, v.Version), policyNote{v.Author, v.Note, v.Of})
}

func (t *tx) putJSON(key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return t.writes().Set(key, text, nil)
}

// rollOut makes a change from a state. s.policies is held.
func (t *tx) rollOut(domain hashing.DomainID, state *rolledOut, r *engine.Rollout) error {
	live := r.Kind.Live()
	if live && r.New == nil && r.Version == state.Live && state.Live != 0 {
		return nil
	}
	if live && r.Replaces != state.Live {
		return engine.ErrPolicyReplaced
	}
	if err := t.putVersion(domain, r); err != nil {
		return err
	}
	if changed, err := state.change(r); !changed || err != nil {
		return err
	}
	state.Rollouts++
	r.Number = state.Rollouts
	key := binary.BigEndian.AppendUint64(appendTable(nil, tableRollouts, domain), r.Number)
	if err := t.putJSON(key, rolloutValue{r.Kind, r.Version, r.Replaces, r.At, r.Author, r.Note}); err != nil {
		return err
	}
	return t.putJSON(appendTable(nil, tableRolledOut, domain), state)
}

// putVersion adds the version that a change brings along, or looks for the one that it is about.
func (t *tx) putVersion(domain hashing.DomainID, r *engine.Rollout) error {
	if r.New != nil {
		err := t.putPolicy(domain, r.New)
		r.Version = r.New.Version
		if err == nil && r.Kind == engine.RolledBack {
			err = t.copyCalibration(domain, r.New)
		}
		return err
	}
	stored, err := t.s.get(appendPolicyKey(nil, domain, r.Version))
	if err == nil && stored == nil {
		err = engine.ErrUnknownPolicy
	}
	return err
}

// copyCalibration gives a version the calibration of the one that it equals, as it was stored: the same document gives the same scores.
func (t *tx) copyCalibration(domain hashing.DomainID, v *engine.PolicyVersion) error {
	old, err := t.s.get(appendPolicyKey(nil, domain, v.Of))
	if err != nil || len(old) < policyHead || !bytes.Equal(old[policyHead:], v.Source) {
		return err
	}
	stored, err := t.s.get(appendVersionKey(nil, tableRolledOut, domain, v.Of))
	if err != nil || stored == nil {
		return err
	}
	return t.writes().Set(appendVersionKey(nil, tableRolledOut, domain, v.Version), stored, nil)
}

// change makes a change, and reports whether it is one.
func (o *rolledOut) change(r *engine.Rollout) (bool, error) {
	at, running := slices.BinarySearch(o.Shadows, r.Version)
	switch r.Kind {
	case engine.ShadowBegins:
		switch {
		case r.Version == o.Live:
			return false, engine.ErrShadowLive
		case !running && len(o.Shadows) >= record.MaxShadows:
			return false, engine.ErrTooManyShadows
		case !running:
			o.Shadows = slices.Insert(o.Shadows, at, r.Version)
		}
		r.Replaces = 0
		return !running, nil
	case engine.ShadowEnds:
		if running {
			o.Shadows = slices.Delete(o.Shadows, at, at+1)
		}
		r.Replaces = 0
		return running, nil
	default:
		if running { // what is live no longer runs beside itself
			o.Shadows = slices.Delete(o.Shadows, at, at+1)
		}
		o.Live = r.Version
		return true, nil
	}
}

// rolledOut returns which versions of a domain are in force. A store of an older program says nothing of it: the newest
// version is live there.
func (s *Store) rolledOut(domain hashing.DomainID) (*rolledOut, error) {
	stored, err := s.get(appendTable(nil, tableRolledOut, domain))
	if err != nil {
		return nil, err
	}
	state := new(rolledOut)
	if stored != nil {
		return state, parseJSON(stored, state)
	}
	state.Live, err = s.newestPolicy(domain)
	return state, err
}

func parseJSON(text []byte, into any) error {
	if json.Unmarshal(text, into) != nil {
		return fmt.Errorf("%w: policies", engine.ErrCorrupt)
	}
	return nil
}

// newestPolicy returns the newest version of a domain, 0 when it has none.
func (s *Store) newestPolicy(domain hashing.DomainID) (version uint32, err error) {
	err = s.backwards(appendTable(nil, tablePolicy, domain), nil, func(key, _ []byte) (bool, error) {
		if len(key) != 4 {
			return false, fmt.Errorf("%w: policy", engine.ErrCorrupt)
		}
		version = binary.BigEndian.Uint32(key)
		return false, nil
	})
	return version, err
}

// backwards calls fn with the keys below a prefix, without it, and their values, the last first, as long as fn wants
// more. Where before is not nil, it begins below that key.
func (s *Store) backwards(prefix, before []byte, fn func(key, value []byte) (more bool, err error)) (err error) {
	upper := after(prefix)
	if before != nil {
		upper = append(bytes.Clone(prefix), before...)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.Last(); ok; ok = it.Prev() {
		more, err := fn(it.Key()[len(prefix):], it.Value())
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// PolicySource implements engine.Store.
func (s *Store) PolicySource(ctx context.Context, domain hashing.DomainID, version uint32) ([]byte, bool, error) {
	v, err := s.Policy(ctx, domain, version)
	switch {
	case errors.Is(err, engine.ErrUnknownPolicy):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return v.Source, true, nil
}

// Policy implements engine.Store.
func (s *Store) Policy(ctx context.Context, domain hashing.DomainID, version uint32) (*engine.PolicyVersion, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	b, err := s.get(appendPolicyKey(nil, domain, version))
	switch {
	case err != nil:
		return nil, err
	case b == nil:
		return nil, engine.ErrUnknownPolicy
	}
	return s.readPolicy(domain, version, b)
}

// readPolicy completes a version whose document is at hand.
func (s *Store) readPolicy(domain hashing.DomainID, version uint32, b []byte) (*engine.PolicyVersion, error) {
	if len(b) < policyHead {
		return nil, fmt.Errorf("%w: policy", engine.ErrCorrupt)
	}
	v := &engine.PolicyVersion{Version: version, Added: int64(binary.BigEndian.Uint64(b)), Source: bytes.Clone(b[policyHead:])} //nolint:gosec // kept bit by bit
	stored, err := s.get(appendVersionKey(nil, tablePolicyNote, domain, version))
	if err != nil || stored == nil {
		return v, err
	}
	var n policyNote
	err = parseJSON(stored, &n)
	v.Author, v.Note, v.Of = n.Author, n.Note, n.Of
	return v, err
}

// Policies implements engine.Store.
func (s *Store) Policies(ctx context.Context, domain hashing.DomainID, before uint32, limit int) ([]engine.PolicyVersion, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var from []byte
	if before > 0 {
		from = binary.BigEndian.AppendUint32(nil, before)
	}
	var all []engine.PolicyVersion
	err := s.backwards(appendTable(nil, tablePolicy, domain), from, func(key, value []byte) (bool, error) {
		if len(key) != 4 {
			return false, fmt.Errorf("%w: policy", engine.ErrCorrupt)
		}
		if len(all) >= limit {
			return false, nil
		}
		v, err := s.readPolicy(domain, binary.BigEndian.Uint32(key), value)
		if err == nil {
			all = append(all, *v)
		}
		return true, err
	})
	return all, err
}

// Rollouts implements engine.Store.
func (s *Store) Rollouts(ctx context.Context, domain hashing.DomainID, before uint64, limit int) ([]engine.Rollout, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var from []byte
	if before > 0 {
		from = binary.BigEndian.AppendUint64(nil, before)
	}
	var all []engine.Rollout
	err := s.backwards(appendTable(nil, tableRollouts, domain), from, func(key, value []byte) (bool, error) {
		var v rolloutValue
		if len(key) != 8 {
			return false, fmt.Errorf("%w: rollout", engine.ErrCorrupt)
		}
		if len(all) >= limit {
			return false, nil
		}
		err := parseJSON(value, &v)
		all = append(all, engine.Rollout{
			Number: binary.BigEndian.Uint64(key), Kind: v.Kind, Version: v.Version, Replaces: v.Replaces, At: v.At, Author: v.Author, Note: v.Note,
		})
		return true, err
	})
	return all, err
}

// PolicyState implements engine.Store.
func (s *Store) PolicyState(ctx context.Context, domain hashing.DomainID) (*engine.PolicyState, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	state, err := s.rolledOut(domain)
	if err != nil {
		return nil, err
	}
	return &engine.PolicyState{Live: state.Live, Shadows: state.Shadows}, nil
}

// Calibrate implements engine.Store.
func (s *Store) Calibrate(ctx context.Context, domain hashing.DomainID, version uint32, c *engine.Calibration, once *engine.Once) error {
	return s.changePolicies(ctx, domain, c.At, once, func(t *tx, _ *rolledOut) error {
		if stored, err := s.get(appendPolicyKey(nil, domain, version)); err != nil || stored == nil {
			return errors.Join(err, engine.ErrUnknownPolicy)
		}
		value := calibrationValue{At: c.At, Author: c.Author, Digest: c.Digest}
		for _, b := range c.Bands {
			value.Bands = append(value.Bands, bandValue(b))
		}
		return t.putJSON(appendVersionKey(nil, tableRolledOut, domain, version), value)
	})
}

// Calibration implements engine.Store.
func (s *Store) Calibration(ctx context.Context, domain hashing.DomainID, version uint32) (*engine.Calibration, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	stored, err := s.get(appendVersionKey(nil, tableRolledOut, domain, version))
	if err != nil || stored == nil {
		return nil, err
	}
	var value calibrationValue
	if err := parseJSON(stored, &value); err != nil {
		return nil, err
	}
	c := &engine.Calibration{At: value.At, Author: value.Author, Digest: value.Digest}
	for _, b := range value.Bands {
		c.Bands = append(c.Bands, engine.CalibrationBand(b))
	}
	return c, nil
}
