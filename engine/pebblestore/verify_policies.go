package pebblestore

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// domainPrefix is the length of table and domain.
const domainPrefix = 1 + 2

// known reports whether a version of a policy is there.
func (v *verification) known(domain hashing.DomainID, version uint32) (bool, error) {
	b, err := v.s.get(appendPolicyKey(nil, domain, version))
	return b != nil, err
}

func (v *verification) policyNote(key, value []byte) (cause string, err error) {
	if len(key) != domainPrefix+4 || parseJSON(value, new(policyNote)) != nil {
		return "it is no note", nil
	}
	domain := hashing.DomainID(binary.BigEndian.Uint16(key[1:]))
	if known, err := v.known(domain, binary.BigEndian.Uint32(key[domainPrefix:])); err != nil || known {
		return "", err
	}
	return "it is about a version that there is not", nil
}

func (v *verification) rollout(key, value []byte) (cause string, err error) {
	v.done.Changes++
	var r rolloutValue
	if len(key) != domainPrefix+8 || parseJSON(value, &r) != nil || r.Kind < engine.Adopted || r.Kind > engine.ShadowEnds {
		return "it is no change", nil
	}
	domain, number := hashing.DomainID(binary.BigEndian.Uint16(key[1:])), binary.BigEndian.Uint64(key[domainPrefix:])
	if v.changes == nil {
		v.changes = map[hashing.DomainID]uint64{}
	}
	before := v.changes[domain]
	if v.changes[domain] = number; number != before+1 {
		return "a change before it is missing", nil
	}
	if known, err := v.known(domain, r.Version); err != nil || known {
		return "", err
	}
	return "it is about a version that there is not", nil
}

// rolledOut checks what is in force in a domain, or the calibration of a version.
func (v *verification) rolledOut(key, value []byte) (cause string, err error) {
	if len(key) < domainPrefix {
		return "its key names no domain", nil
	}
	domain := hashing.DomainID(binary.BigEndian.Uint16(key[1:]))
	if len(key) != domainPrefix {
		return v.calibration(domain, key[domainPrefix:], value)
	}
	var state rolledOut
	if parseJSON(value, &state) != nil {
		return "it cannot be read", nil
	}
	if state.Rollouts < v.changes[domain] { // others go on, so that there may be newer ones
		return "there are changes that it does not count", nil
	}
	if state.Rollouts > 0 {
		last, err := v.s.get(binary.BigEndian.AppendUint64(appendTable(nil, tableRollouts, domain), state.Rollouts))
		if err != nil || last == nil {
			return "the change that led to it is missing", err
		}
	}
	for _, version := range append(state.Shadows, state.Live) {
		known, err := v.known(domain, version)
		if err != nil || !known && version != 0 {
			return "a version that is in force is missing", err
		}
	}
	return "", nil
}

func (v *verification) calibration(domain hashing.DomainID, version, value []byte) (cause string, err error) {
	var c calibrationValue
	if len(version) != 4 || parseJSON(value, &c) != nil || len(c.Bands) == 0 {
		return "it is no calibration", nil
	}
	if known, err := v.known(domain, binary.BigEndian.Uint32(version)); err != nil || known {
		return "", err
	}
	return "it is of a version that there is not", nil
}
