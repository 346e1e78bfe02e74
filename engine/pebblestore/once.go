package pebblestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// onceHead is fingerprint and expiry, before the answer.
const onceHead = len(hashing.Digest{}) + 8

// putOnce writes the idempotency entry of a mutation, answer included.
func (t *tx) putOnce(domain hashing.DomainID, once *engine.Once) error {
	t.key = appendOnceKey(t.key[:0], domain, once.Key)
	t.value = append(t.value[:0], once.Fingerprint[:]...)
	// By the caller's clock alone, a key would last for years where that is far ahead, and for no time where it is behind ours.
	expires := max(min(once.Expires, t.now+2*cmp.Or(once.Lasts, engine.OnceFor)), t.now+once.Lasts)
	t.value = binary.BigEndian.AppendUint64(t.value, uint64(expires)) //nolint:gosec // kept bit by bit
	t.value = append(t.value, once.Answer()...)
	return t.writes().Set(t.key, t.value, nil)
}

// Recall implements engine.Store.
func (s *Store) Recall(ctx context.Context, domain hashing.DomainID, key hashing.Digest, now int64) (*engine.Remembered, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	b, err := s.get(appendOnceKey(nil, domain, key))
	if err != nil || b == nil {
		return nil, err
	}
	if len(b) < onceHead {
		return nil, fmt.Errorf("%w: idempotency entry", engine.ErrCorrupt)
	}
	r := &engine.Remembered{Fingerprint: hashing.Digest(b), Expires: onceExpires(b), Answer: b[onceHead:]}
	if r.Expires <= s.clock.see(now) {
		return nil, nil
	}
	return r, nil
}

// onceExpires returns when the key of an entry is free again.
func onceExpires(b []byte) int64 {
	return int64(binary.BigEndian.Uint64(b[onceHead-8:])) //nolint:gosec // kept bit by bit
}
