package pebblestore

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

var newKey = hashing.KeyCheck{Key: 2, Value: [16]byte{2}}

func TestKeyringsAfterARotation(t *testing.T) {
	fs := vfs.NewMem()
	open := func(keys ...hashing.KeyCheck) error {
		s, err := Open("store", Options{Keys: keys, Create: true, FS: fs})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	for _, c := range []struct {
		name string
		keys []hashing.KeyCheck
		want error
	}{
		{"a new store", testKeys, nil},
		{"another key alone", []hashing.KeyCheck{newKey}, engine.ErrWrongKeyring},
		{"two others", []hashing.KeyCheck{newKey, {Key: 3, Value: [16]byte{3}}}, engine.ErrWrongKeyring},
		{"both keys", []hashing.KeyCheck{testKeys[0], newKey}, nil},
		{"a copy of the keyring from before", testKeys, engine.ErrWrongKeyring},
		{"the old key destroyed", []hashing.KeyCheck{{Key: 1, Destroyed: true}, newKey}, nil},
		{"all destroyed", []hashing.KeyCheck{{Key: 1, Destroyed: true}, {Key: 2, Destroyed: true}}, engine.ErrWrongKeyring},
		{"both keys again", []hashing.KeyCheck{testKeys[0], newKey}, nil},
	} {
		if err := open(c.keys...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// party makes up who takes part in an event, under a key.
func party(key hashing.KeyID, n byte) hashing.Version {
	v := hashing.Version{Link: hashing.LinkTag{byte(key), n}}
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		v.Subjects[kind] = hashing.Subject{Kind: kind, Key: key, ID: [16]byte{n * 17, byte(kind) * 31, 15: byte(key) ^ n}}
	}
	return v
}

// TestPowerCutAroundAMigration cuts the power before the k-th operation on the disk of a migration and the event behind
// it. Whatever is left, each subject has one record, and everything that was acknowledged is in it once.
func TestPowerCutAroundAMigration(t *testing.T) {
	cuts := 0
	for seed := range uint64(rounds(30, 100, 1000)) {
		if cutAroundAMigration(t, seed) {
			cuts++
		}
	}
	if cuts == 0 {
		t.Error("the power was never cut during a migration")
	}
}

// cutAroundAMigration reports whether the power was cut before the migration and its event were through.
func cutAroundAMigration(t *testing.T, seed uint64) (during bool) {
	random := rand.New(rand.NewPCG(seed, 4))
	fs := newPower()
	s := openMigrating(t, fs)
	before := 1 + random.IntN(30)
	for range before {
		assessParty(t, s, party(1, 1))
	}
	var left *power
	spring := &trap{match: func(string, string) bool { return true }}
	spring.skip.Store(random.Int64N(12))
	spring.sprung = func() { left = fs.left(random.IntN(101), random) }
	fs.trap.Store(spring)
	migrateParty(t, s)
	assessParty(t, s, party(2, 1))
	acknowledged := before
	fs.gate.Lock() // a flush beside may spring it still
	during = left != nil
	fs.trap.Store(nil)
	fs.gate.Unlock()
	if !during {
		left, acknowledged = fs.cut(random.IntN(101), random), before+1
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMigrating(t, left)
	if err := verify(s); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	migrateParty(t, s)
	holdsParty(t, s, acknowledged, before+1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
	return during
}

func openMigrating(t *testing.T, fs *power) *Store {
	t.Helper()
	o := tiny
	o.Keys, o.Create, o.FS, o.Fatal = []hashing.KeyCheck{testKeys[0], newKey}, true, fs, func(err error) { panic(err) }
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func migrateParty(t *testing.T, s *Store) {
	t.Helper()
	m := &engine.Migration{Domain: 1, Now: 1_800_000_000, To: party(2, 1), From: []hashing.Version{party(1, 1)}}
	if err := s.Migrate(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// holdsParty holds that each subject, by either key, has counted so many events.
func holdsParty(t *testing.T, s *Store, least, most int) {
	t.Helper()
	for _, key := range []hashing.KeyID{1, 2} {
		o, err := s.Observe(context.Background(), &engine.Event{Domain: 1, Now: 1_800_000_000, Subjects: party(key, 1).Subjects})
		if err != nil {
			t.Fatal(err)
		}
		for kind, r := range o.Records {
			if r == nil {
				continue
			}
			if n := int(r.Total(scoring.Signup)); n < least || n > most {
				t.Errorf("kind %d under key %d has %d events, want %d to %d", kind, key, n, least, most)
			}
		}
	}
}

func assessParty(t *testing.T, s *Store, who hashing.Version) {
	t.Helper()
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: who.Subjects, Link: who.Link}
	if err := s.Assess(context.Background(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
		t.Fatal(err)
	}
}
