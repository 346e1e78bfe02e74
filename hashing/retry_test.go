package hashing

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// retry returns how a hasher under the same made-up key recognises a request.
func retry(t *testing.T, key, route, body string) Retry {
	t.Helper()
	ring, err := NewKeyring(bytes.NewReader(make([]byte, keySize)), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	return h.Retry(key, route, []byte(body))
}

func TestAnswersAreSealedUnderTheCallersKey(t *testing.T) {
	first, again := retry(t, "k", "r", "b"), retry(t, "k", "r", "b")
	if first.Key != again.Key || first.Fingerprint != again.Fingerprint {
		t.Error("the same request is not recognised")
	}
	answer := []byte(`{"phone_token":"k1.x"}`)
	kept := first.Seal(answer)
	if bytes.Contains(kept, answer[:8]) || bytes.Equal(kept, first.Seal(answer)) {
		t.Error("the answer shows, or two of one answer are alike")
	}
	if got, err := again.Open(kept); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("opened: %s, %v", got, err)
	}
	for _, other := range []Retry{retry(t, "l", "r", "b"), retry(t, "k", "q", "b"), retry(t, "k", "r", "c")} {
		if _, err := other.Open(kept); !errors.Is(err, ErrSeal) {
			t.Errorf("another request opens it: %v", err)
		}
	}
	for i := range kept {
		bad := bytes.Clone(kept)
		bad[i] ^= 1
		if _, err := again.Open(bad); !errors.Is(err, ErrSeal) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
	}
	for n := range kept {
		if _, err := again.Open(kept[:n]); !errors.Is(err, ErrSeal) {
			t.Errorf("with %d of %d bytes: %v", n, len(kept), err)
		}
	}
	if got, err := again.Open(answer); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("an answer that an earlier program kept: %s, %v", got, err)
	}
}

func TestReceiptsDiffer(t *testing.T) {
	ring, err := NewKeyring(bytes.NewReader(make([]byte, keySize)), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	a, b := Subject{Kind: Phone, Key: 1}, Subject{Kind: Phone, Key: 1, ID: [IDSize]byte{1}}
	if first, again := h.Receipt(a, 1), h.Receipt(a, 1); first != again || h.Receipt(a, 1) == h.Receipt(b, 1) || h.Receipt(a, 1) == h.Receipt(a, 2) {
		t.Error("a receipt is not of one subject and one time")
	}
}
