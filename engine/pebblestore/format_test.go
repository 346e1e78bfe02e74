package pebblestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// fixture copies a data folder as an earlier version wrote it, and returns the copy of its store
// with its keyring. It holds five signups of five accounts on +1 202 555 0143, one more that was verified,
// an abuse label on the first, and an entry of the list vip.
func fixture(t *testing.T, name string) (dir string, ring *hashing.Keyring, h *hashing.Hasher) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keyring.json")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := hashing.LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if h, err = ring.Domain(hashing.DefaultDomain); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "store"), ring, h
}

// TestFormats opens what every earlier format left on a disk. The fixtures never change.
func TestFormats(t *testing.T) {
	for _, name := range []string{"format1", "format2", "format3"} {
		t.Run(name, func(t *testing.T) { openFormat(t, name) })
	}
}

func openFormat(t *testing.T, name string) {
	dir, ring, h := fixture(t, name)
	if _, err := Open(dir, Options{Keys: ring.KeyChecks()}); !errors.Is(err, engine.ErrOlderFormat) {
		t.Errorf("an older format without being asked to upgrade: %v", err)
	}
	stranger := []hashing.KeyCheck{{Key: 1, Value: [16]byte{9}}}
	if _, err := Open(dir, Options{Keys: stranger, Upgrade: true}); !errors.Is(err, engine.ErrWrongKeyring) {
		t.Errorf("another keyring: %v", err)
	}
	if _, err := Open(dir, Options{Keys: ring.KeyChecks()}); !errors.Is(err, engine.ErrOlderFormat) {
		t.Errorf("an older format after another keyring was refused: %v", err)
	}
	s, err := Open(dir, Options{Keys: ring.KeyChecks(), Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	if from := s.UpgradedFrom(); fmt.Sprintf("format%d", from) != name {
		t.Errorf("upgraded from format %d", from)
	}
	checkFixture(t, s, h, 6)
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: now, Now: now}
	ev.Subjects[hashing.Phone] = h.Phone(number)
	if err := s.Assess(t.Context(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{Keys: ring.KeyChecks()}); err != nil {
		t.Fatal(err)
	}
	checkFixture(t, s, h, 7)
	if name != "format3" { // whose events lead to one another
		checkUnlinked(t, s, h.Phone(number))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkUnlinked holds that events of before the upgrade are found where no later one leads to them.
func checkUnlinked(t *testing.T, s *Store, phone hashing.Subject) {
	t.Helper()
	tx, err := s.beginSweep(t.Context(), phone)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.end()
	tx.now = s.clock.now.Load()
	if err := tx.eraseEvents(1, []hashing.Subject{phone}, 0); err != nil {
		t.Fatal(err)
	}
	if n := tx.writes().Count(); n < 6 {
		t.Errorf("%d events of before the upgrade are found, want 6", n)
	}
}

func checkFixture(t *testing.T, s *Store, h *hashing.Hasher, signups uint64) {
	t.Helper()
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	looking := &engine.Event{Domain: 1, Time: time.Now().Unix(), Now: time.Now().Unix()}
	looking.Subjects[hashing.Phone] = h.Phone(number)
	o, err := s.Observe(t.Context(), looking)
	if err != nil {
		t.Fatal(err)
	}
	r := o.Records[hashing.Phone]
	if r.Total(scoring.Signup) != signups || r.Total(scoring.Verified) != 1 || r.Labels(scoring.Abuse) != 1 || r.Links() != 1 ||
		r.LinkedSince(h.LinkTag(h.Account("u1"))) == 0 || len(o.Lists) != 1 || o.Lists[0] != "vip" {
		t.Errorf("the fixture is read as %d signups, %d verified, %d labels, %d links, lists %v",
			r.Total(scoring.Signup), r.Total(scoring.Verified), r.Labels(scoring.Abuse), r.Links(), o.Lists)
	}
	logged := uint64(0)
	err = s.Scan(t.Context(), 1, engine.EventID{}, func(e *record.Entry) error {
		if e.Kind == scoring.Signup {
			logged++
		}
		return nil
	})
	if err != nil || logged != signups {
		t.Errorf("%d signups are logged: %v", logged, err)
	}
}
