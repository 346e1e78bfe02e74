package hashing

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Retry is how a request with an idempotency key is recognised when it comes again, and how its answer is kept
// until then: sealed under a key that is made from the one the caller chose, which is nowhere
// written. So a disk shows neither the token nor the assessment id in an answer, also where both were erased since.
// It shows nothing of itself when formatted, logged or encoded.
type Retry struct {
	Key         Digest // under which the answer is kept
	Fingerprint Digest // of the request

	aead  *hidden[cipher.AEAD]
	older []Retry
}

// onceSeal begins what the idempotency subkey digests to the key of a seal: see onceKey.
var onceSeal = []byte{'s'}

// sealed begins a sealed answer. What earlier programs kept was JSON, and begins with a bracket.
const sealed = 1

// ErrSeal says that a kept answer is not what was sealed.
var ErrSeal = errors.New("a kept answer is damaged")

// Retry recognises a request by the key that its caller chose, its route and its body.
func (h *Hasher) Retry(key, route string, body []byte) Retry {
	secret := h.p.v.once.digest(onceSeal, key)
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic("hashing: size of a derived key") // a constant of ours is wrong
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // a key may be chosen again for another answer after a day
	if err != nil {
		panic("hashing: block size of AES")
	}
	r := Retry{Key: h.IdempotencyKey(key), Fingerprint: h.Fingerprint(route, body), aead: hide(aead)}
	for _, older := range h.p.v.older {
		r.older = append(r.older, older.Retry(key, route, body))
	}
	return r
}

// Older returns what the request would have been recognised by under older keys that are readable, the newest first.
func (r *Retry) Older() []Retry { return r.older }

// Seal returns an answer as it is kept.
func (r *Retry) Seal(answer []byte) []byte {
	aead := *r.aead.v
	dst := append(make([]byte, 0, 1+len(answer)+aead.Overhead()), sealed)
	return aead.Seal(dst, nil, answer, r.Fingerprint[:]) //nolint:gosec // it makes its own nonce, at random
}

// Open is the inverse of Seal. It returns ErrSeal for anything else but an answer of a program that did not seal.
func (r *Retry) Open(kept []byte) ([]byte, error) {
	switch {
	case len(kept) > 0 && (kept[0] == '{' || kept[0] == '['):
		return kept, nil
	case len(kept) == 0 || kept[0] != sealed:
		return nil, ErrSeal
	}
	answer, err := (*r.aead.v).Open(nil, nil, kept[1:], r.Fingerprint[:])
	if err != nil {
		return nil, ErrSeal
	}
	return answer, nil
}

const redactedRetry = "[retry]"

// Format prints a fixed word for every verb.
func (Retry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedRetry) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Retry) MarshalText() ([]byte, error) { return []byte(redactedRetry), nil }

// LogValue returns a fixed word.
func (Retry) LogValue() slog.Value { return slog.StringValue(redactedRetry) }
