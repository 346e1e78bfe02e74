package hashing

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// rotated returns a keyring and the same one after a rotation.
func rotated(t *testing.T) (before, after *Keyring) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	before, err := NewKeyring(bytes.NewReader(bytes.Repeat([]byte{1}, keySize)), now)
	if err != nil {
		t.Fatal(err)
	}
	if after, err = before.Rotate(bytes.NewReader(bytes.Repeat([]byte{2}, keySize)), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return before, after
}

func TestRotate(t *testing.T) {
	before, after := rotated(t)
	if keys := before.Keys(); len(keys) != 1 || keys[0].State != Primary {
		t.Errorf("rotating changed the keyring that was rotated: %v", keys)
	}
	if keys := after.Keys(); len(keys) != 2 || keys[0].State != Readable || keys[1].State != Primary || keys[1].ID != 2 {
		t.Errorf("keys %v", keys)
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := after.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	read, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if checks := read.KeyChecks(); len(checks) != 2 || checks[0] != before.KeyChecks()[0] || checks[0].Value == checks[1].Value {
		t.Error("the old key is not what it was, or the new one is no other")
	}
	if _, err := before.Rotate(bytes.NewReader(nil), time.Now()); err == nil {
		t.Error("rotated without randomness")
	}
	_ = os.Remove(path)
}

func TestOlder(t *testing.T) {
	before, after := rotated(t)
	old, err := before.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	h, err := after.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	number, err := Parse("+12025550143", "")
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("203.0.113.7")
	subjects, link := h.Subjects(number, "u", "d", ip)
	was, wasLink := old.Subjects(number, "u", "d", ip)
	older := h.Older(number, "u", "d", ip)
	if len(older) != 1 || older[0].Subjects != was || older[0].Link != wasLink {
		t.Error("the older version is not what it was before the rotation")
	}
	for kind, s := range subjects {
		if s.Given() && (s.ID == was[kind].ID || s.Key <= was[kind].Key) {
			t.Errorf("kind %d has the pseudonym or the key of before", kind)
		}
	}
	if link == wasLink {
		t.Error("the link tag is that of before")
	}
	if len(old.Older(number, "u", "d", ip)) != 0 {
		t.Error("a keyring that was never rotated has an older version")
	}
	for _, s := range []Subject{was[Phone], subjects[Phone]} {
		if got, err := h.Token(s.Token()); err != nil || got != s {
			t.Errorf("token: %v", err)
		}
	}
	if _, err := old.Token(subjects[Phone].Token()); !errors.Is(err, ErrToken) {
		t.Errorf("a token of a key that is not there: %v", err)
	}
}

func TestDestroy(t *testing.T) {
	before, after := rotated(t)
	for _, id := range []int{0, 2, 3} {
		if _, err := after.Destroy(id); !errors.Is(err, ErrKeyring) {
			t.Errorf("key %d: %v", id, err)
		}
	}
	gone, err := after.Destroy(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Destroy(1); !errors.Is(err, ErrKeyring) {
		t.Errorf("destroyed twice: %v", err)
	}
	third, err := after.Rotate(bytes.NewReader(bytes.Repeat([]byte{3}, keySize)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := third.Destroy(2); !errors.Is(err, ErrKeyring) {
		t.Errorf("destroyed while an older key can be read: %v", err)
	}
	if third, err = third.Destroy(1); err == nil {
		_, err = third.Destroy(2)
	}
	if err != nil {
		t.Errorf("destroyed one after the other: %v", err)
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := gone.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, keySize)); bytes.Contains(text, []byte(secret)) {
		t.Error("the file still has the secret")
	}
	read, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := read.Domain(DefaultDomain)
	if err != nil || h.Rotated() {
		t.Errorf("a destroyed key is still looked up: %v", err)
	}
	if checks := read.KeyChecks(); len(checks) != 2 || !checks[0].Destroyed || checks[0].Key != 1 {
		t.Error("the key that is destroyed is forgotten")
	}
	old, err := after.Domain(DefaultDomain) // the keyring that it was made from is what it was
	if err != nil || !old.Rotated() {
		t.Errorf("destroying a key changed another keyring: %v", err)
	}
	if keys := before.Keys(); keys[0].State != Primary {
		t.Error("destroying a key changed another keyring")
	}
}

func TestRetriesAcrossARotation(t *testing.T) {
	before, after := rotated(t)
	old, err := before.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	h, err := after.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	was, now := old.Retry("k", "/r", []byte("body")), h.Retry("k", "/r", []byte("body"))
	kept := was.Seal([]byte("answer"))
	older := now.Older()
	if len(older) != 1 || older[0].Key != was.Key || older[0].Fingerprint != was.Fingerprint || now.Key == was.Key {
		t.Error("a retry is not known by what it was before the rotation")
	}
	if answer, err := older[0].Open(kept); err != nil || string(answer) != "answer" {
		t.Errorf("the answer of before: %q, %v", answer, err)
	}
	if len(was.Older()) != 0 {
		t.Error("a retry under the only key is known by another")
	}
}
