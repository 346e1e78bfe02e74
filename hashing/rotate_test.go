package hashing

import (
	"bytes"
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
	h, err := after.DomainWithOlder(DefaultDomain)
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
	if _, err := after.Domain(DefaultDomain); !errors.Is(err, ErrKeyring) {
		t.Errorf("Domain, whose callers do not migrate, took an older key: %v", err)
	}
}
