package hashing

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestWithDomain(t *testing.T) {
	ring, err := NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	more, err := ring.WithDomain("shop-eu")
	if err != nil {
		t.Fatal(err)
	}
	if len(ring.Domains()) != 1 {
		t.Error("the first keyring changed")
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := more.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if more, err = LoadKeyring(path); err != nil {
		t.Fatal(err)
	}
	domains := more.Domains()
	if len(domains) != 2 || domains[1].ID != 2 || domains[1].Name != "shop-eu" || len(domains[1].Keys) != 1 || domains[1].Keys[0] != (DomainKey{ID: 2, Key: 1, State: Primary, Created: more.Keys()[0].Created}) {
		t.Errorf("domains %+v", domains)
	}
	h, err := more.Domain("shop-eu")
	if err != nil || h.Domain() != 2 || h.Key() != 2 {
		t.Errorf("the new domain: %v", err)
	}
	if before, after := ring.KeyChecks(), more.KeyChecks(); len(after) != 2 || before[0] != after[0] {
		t.Error("the old domain has another key")
	}
	for _, name := range []string{"shop-eu", DefaultDomain, "", "*", "Shop", "12025550143", "n12025550143"} {
		if _, err := more.WithDomain(name); !errors.Is(err, ErrKeyring) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
