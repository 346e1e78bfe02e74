package pebblestore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestTwoDomainsCannotBeJoined has the same people do the same in two domains of one keyring, each in a folder of its
// own. Nothing by which one folder knows somebody is in the other one.
func TestTwoDomainsCannotBeJoined(t *testing.T) {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ring.WithDomain("other"); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	marks := map[string]map[string][]byte{}
	for _, name := range []string{hashing.DefaultDomain, "other"} {
		h, err := ring.Domain(name)
		if err != nil {
			t.Fatal(err)
		}
		dirs[name] = filepath.Join(t.TempDir(), "store")
		marks[name] = live(t, dirs[name], ring, h)
	}
	for name, known := range marks {
		for other, dir := range dirs {
			for what, b := range known {
				if found := len(holders(t, dir, b)) > 0; found != (name == other) {
					t.Errorf("%s of %s in the folder of %s: %v", what, name, other, found)
				}
			}
		}
	}
}

// TestTwoDomainsInOneFolder is the same with one store: every row of it is of one domain, and none of one domain has anything by which the
// other knows somebody.
func TestTwoDomainsInOneFolder(t *testing.T) {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ring.WithDomain("other"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	marks := map[hashing.DomainID]map[string][]byte{}
	for _, name := range []string{hashing.DefaultDomain, "other"} {
		h, err := ring.Domain(name)
		if err != nil {
			t.Fatal(err)
		}
		marks[h.Domain()] = live(t, dir, ring, h)
	}
	s, err := Open(dir, Options{Keys: ring.KeyChecks()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rows := map[hashing.DomainID]int{}
	if err := s.eachKey(t.Context(), nil, func(key, value []byte) error {
		of := domainOf(t, key, value)
		rows[of]++
		for domain, known := range marks {
			for what, b := range known {
				if domain != of && (shares(key, b) || shares(value, b)) {
					t.Errorf("%s of domain %d in a row of domain %d, table %x", what, domain, of, key[0])
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if rows[1] < 10 || rows[1] != rows[2] {
		t.Errorf("rows by domain: %v", rows)
	}
}

// shares reports whether any eight bytes of an id, all of it if it is shorter, are in a row.
func shares(row, id []byte) bool {
	for i := range max(len(id)-8, 0) + 1 {
		if bytes.Contains(row, id[i:min(i+8, len(id))]) {
			return true
		}
	}
	return false
}

// domainOf returns the domain that a row of a store with one key in each of two domains is of, 0 for what is of the store.
func domainOf(t *testing.T, key, value []byte) hashing.DomainID {
	t.Helper()
	switch key[0] {
	case tableMeta:
		return 0
	case tableSubject:
		s, ok := hashing.SubjectFromBytes(key[1:])
		if !ok {
			t.Fatal("a record of nobody")
		}
		return hashing.DomainID(s.Key) // the keys of these two domains have their ids
	case tableJournal:
		seq, err := seqOf(key)
		if err != nil {
			t.Fatal(err)
		}
		var f record.Effect
		if err := f.Decode(seq, value); err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Subjects {
			if s.Given() {
				return hashing.DomainID(s.Key)
			}
		}
		t.Fatal("an effect on nobody")
	case tableLog, tableOnce, tableNames, tableEntries:
		return hashing.DomainID(binary.BigEndian.Uint16(key[1:]))
	}
	t.Fatalf("a row of table %x", key[0])
	return 0
}

// live has the same things happen in a folder, new or not, and returns by what it knows who took part.
func live(t *testing.T, dir string, ring *hashing.Keyring, h *hashing.Hasher) map[string][]byte {
	t.Helper()
	s, err := Open(dir, Options{Keys: ring.KeyChecks(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	ev := &engine.Event{Domain: h.Domain(), Kind: scoring.Signup, Time: 1_800_000_000, Now: 1_800_000_000, Verified: true}
	ev.Subjects, ev.Link = h.Subjects(number, "u_81", "d_5", netip.MustParseAddr("203.0.113.7"))
	retry := h.Retry("key", "route", []byte("body"))
	ev.Once = &engine.Once{Key: retry.Key, Fingerprint: retry.Fingerprint, Expires: 1_900_000_000, Render: func() []byte { return nil }}
	err = s.Assess(t.Context(), ev, new(engine.Decision), func(_ *engine.Observation, d *engine.Decision) { d.Claim = true })
	if err != nil {
		t.Fatal(err)
	}
	entries := []engine.ListEntry{{List: "deny", Subject: ev.Subjects[hashing.Phone]}, {List: "deny", Subject: ev.Subjects[hashing.Range]}}
	if err := s.PutEntries(t.Context(), h.Domain(), entries, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	known := map[string][]byte{"link tag": ev.Link[:], "idempotency key": retry.Key[:], "fingerprint": retry.Fingerprint[:]}
	for kind, subject := range ev.Subjects {
		if subject.Given() {
			known[hashing.Kind(kind).String()] = subject.ID[:]
		}
	}
	for _, member := range []hashing.Kind{hashing.Phone, hashing.Account, hashing.Device, hashing.Network} {
		known["tag of "+member.String()] = binary.BigEndian.AppendUint32(nil, ev.Subjects[member].Tag())
	}
	return known
}
