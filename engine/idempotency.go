package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ringfence/ringfence/hashing"
)

// What a repeated idempotency key can run into.
var (
	ErrKeyReused = errors.New("the idempotency key was used before with another request")
	ErrInFlight  = errors.New("a request with this idempotency key is still under way")
)

// OnceFor is how long an idempotency key is remembered, in seconds.
const OnceFor = 24 * 60 * 60

// Once makes a mutation happen once: the store keeps the rendered answer in the
// same commit. It holds keyed digests only.
type Once struct {
	Key         hashing.Digest
	Fingerprint hashing.Digest // of the request
	Expires     int64          // unix seconds, the first second at which the key is free again
	Lasts       int64          // seconds by the store's clock after its use: it is free no earlier, and no later than after twice as long; 0 is no sooner bound, and OnceFor

	// Render returns the answer to keep. It is called during the commit, when
	// the results are known, and must not block.
	Render func() []byte

	seal func(answer []byte) []byte
}

// Answer returns the answer as it is to be kept: rendered, and sealed if it came by Idempotent.
func (o *Once) Answer() []byte {
	answer := o.Render()
	if o.seal != nil {
		answer = o.seal(answer)
	}
	return answer
}

// Remembered is what a store keeps under an idempotency key.
type Remembered struct {
	Fingerprint hashing.Digest
	Expires     int64  // unix seconds
	Answer      []byte // as Once.Answer returned it
}

// Idempotent runs do at most once for a key. When the key was used within
// OnceFor by the same request, it returns the answer of then and replayed is
// true; otherwise do runs, gives the Once to its mutation and sets Once.Render,
// and the answer is what do returns. ErrKeyReused, ErrInFlight and ErrCorrupt as they say.
//
// What is replayed is durable, unless later is true: then the caller calls Durable before it tells anybody.
func (e *Engine) Idempotent(ctx context.Context, retry hashing.Retry, later bool, do func(*Once) ([]byte, error)) (answer []byte, replayed bool, err error) {
	if !e.flights.begin(e.cfg.Domain, retry.Key) {
		return nil, false, ErrInFlight
	}
	defer e.flights.end(e.cfg.Domain, retry.Key)
	now := e.cfg.Now().Unix()
	answer, replayed, err = e.recallAny(ctx, &retry, now)
	switch {
	case err != nil:
		return nil, false, err
	case replayed && later:
		return answer, true, nil
	case replayed: // whoever came first may have left the log for later, and may still wait for it
		return answer, true, e.Durable(ctx)
	}
	answer, err = do(&Once{Key: retry.Key, Fingerprint: retry.Fingerprint, Expires: now + OnceFor, Lasts: OnceFor, seal: retry.Seal})
	return answer, false, err
}

// recallAny is recall under the key of today and, for what came first before a rotation, under older ones.
func (e *Engine) recallAny(ctx context.Context, retry *hashing.Retry, now int64) (answer []byte, known bool, err error) {
	answer, known, err = e.recall(ctx, retry, now)
	older := retry.Older()
	for i := 0; i < len(older) && !known && err == nil; i++ {
		answer, known, err = e.recall(ctx, &older[i], now)
	}
	return answer, known, err
}

// recall returns the answer that is kept for a request, if there is one.
func (e *Engine) recall(ctx context.Context, retry *hashing.Retry, now int64) (answer []byte, known bool, err error) {
	r, err := e.cfg.Store.Recall(ctx, e.cfg.Domain, retry.Key, now)
	if err != nil || r == nil {
		return nil, false, err
	}
	if r.Fingerprint != retry.Fingerprint {
		return nil, false, ErrKeyReused
	}
	if answer, err = retry.Open(r.Answer); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return answer, true, nil
}

// flights knows which idempotency keys are under way in this process.
type flights struct {
	mu   sync.Mutex
	keys map[flight]struct{} // guarded by mu
}

type flight struct {
	domain hashing.DomainID
	key    hashing.Digest
}

func (f *flights) begin(domain hashing.DomainID, key hashing.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := flight{domain, key}
	if _, taken := f.keys[k]; taken {
		return false
	}
	if f.keys == nil {
		f.keys = make(map[flight]struct{})
	}
	f.keys[k] = struct{}{}
	return true
}

func (f *flights) end(domain hashing.DomainID, key hashing.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, flight{domain, key})
}
