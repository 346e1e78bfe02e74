package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// policyHead is the time of adoption, before the document.
const policyHead = 8

// AdoptPolicy implements engine.Store.
func (s *Store) AdoptPolicy(ctx context.Context, domain hashing.DomainID, source []byte, now int64) (uint32, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	s.policies.Lock()
	defer s.policies.Unlock()
	newest, stored, err := s.newestPolicy(domain)
	if err != nil || newest > 0 && bytes.Equal(stored, source) {
		return newest, err
	}
	if err := s.checkSpace(); err != nil {
		return 0, err
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(now)) //nolint:gosec // kept bit by bit
	key := appendPolicyKey(nil, domain, newest+1)
	if err := s.db.Set(key, append(value, source...), s.writeOptions()); err != nil {
		s.fail(err)
	}
	return newest + 1, nil
}

// newestPolicy returns the newest version of a domain and its document, 0 when
// it has none.
func (s *Store) newestPolicy(domain hashing.DomainID) (version uint32, source []byte, err error) {
	prefix := appendTable(nil, tablePolicy, domain)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	if !it.Last() {
		return 0, nil, nil
	}
	key, value := it.Key(), it.Value()
	if len(key) != len(prefix)+4 || len(value) < policyHead {
		return 0, nil, fmt.Errorf("%w: policy", engine.ErrCorrupt)
	}
	return binary.BigEndian.Uint32(key[len(prefix):]), append([]byte(nil), value[policyHead:]...), nil
}

// PolicySource implements engine.Store.
func (s *Store) PolicySource(ctx context.Context, domain hashing.DomainID, version uint32) ([]byte, bool, error) {
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	defer s.leave()
	b, err := s.get(appendPolicyKey(nil, domain, version))
	switch {
	case err != nil || b == nil:
		return nil, false, err
	case len(b) < policyHead:
		return nil, false, fmt.Errorf("%w: policy", engine.ErrCorrupt)
	}
	return b[policyHead:], true, nil
}
