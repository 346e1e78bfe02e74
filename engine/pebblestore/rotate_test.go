package pebblestore

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// rotating is an engine on a store, with the keyring that the store was opened with.
type rotating struct {
	t      *testing.T
	fs     vfs.FS
	ring   *hashing.Keyring
	hasher *hashing.Hasher
	store  *Store
	engine *engine.Engine
	now    time.Time
}

func (r *rotating) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// open opens the store with a keyring.
func (r *rotating) open(ring *hashing.Keyring) {
	r.t.Helper()
	if r.store != nil {
		r.must(r.store.Close())
	}
	var err error
	r.ring = ring
	r.hasher, err = ring.DomainWithOlder(hashing.DefaultDomain)
	r.must(err)
	clock := func() time.Time { return r.now }
	r.store, err = Open("store", Options{Keys: ring.KeyChecks(), Create: true, FS: r.fs, Now: clock})
	r.must(err)
	policy, err := scoring.Compile([]byte(rotatingPolicy))
	r.must(err)
	r.engine, err = engine.New(context.Background(), engine.Config{Store: r.store, Domain: r.hasher.Domain(), Policy: policy, Now: clock})
	r.must(err)
}

// signup is a verified signup of an account with a number, or with a token of it.
func (r *rotating) signup(number hashing.Number, token, account string) *engine.Assessment {
	r.t.Helper()
	ip := netip.MustParseAddr("203.0.113.7")
	ev := &engine.Event{Kind: scoring.Signup, Verified: true, Older: r.hasher.Older(number, account, "d", ip)}
	ev.Subjects, ev.Link = r.hasher.Subjects(number, account, "d", ip)
	if token != "" {
		phone, err := r.hasher.Token(token)
		r.must(err)
		ev.Subjects[hashing.Phone] = phone
	}
	a := new(engine.Assessment)
	r.must(r.engine.Assess(context.Background(), ev, a))
	return a
}

// TestRotationOfAKeyring takes an engine through two rotations: the account limit holds, counts go on, and tokens of
// before stand for the same number.
func TestRotationOfAKeyring(t *testing.T) {
	r := &rotating{t: t, fs: vfs.NewMem(), now: time.Unix(1_800_000_000, 0)}
	ring, err := hashing.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), r.now)
	r.must(err)
	r.open(ring)
	number, err := hashing.Parse("+12025550143", "")
	r.must(err)
	first := r.signup(number, "", "a")
	for n := byte(2); n <= 3; n++ {
		ring, err = r.ring.Rotate(bytes.NewReader(bytes.Repeat([]byte{n}, 32)), r.now)
		r.must(err)
		r.open(ring)
		a := r.signup(number, "", "a")
		if a.Links.Count != 1 || a.FirstSeen != r.now.Unix() {
			t.Errorf("after rotation %d: %d links, first seen %d", n-1, a.Links.Count, a.FirstSeen)
		}
		if a.Phone == first.Phone || a.Phone.Key != hashing.KeyID(n) {
			t.Errorf("after rotation %d the number is known by key %d", n-1, a.Phone.Key)
		}
	}
	if a := r.signup(number, "", "b"); a.Links.Count != 2 {
		t.Errorf("%d links, want 2", a.Links.Count)
	}
	a := r.signup(hashing.Number{}, first.Phone.Token(), "c")
	if a.Links.Linked || a.Links.Count != 2 || a.Decision != scoring.Block {
		t.Errorf("a third account, by the oldest token: %+v, %v", a.Links, a.Decision)
	}
	if a.Phone.Key != 3 {
		t.Errorf("the answer has a token of key %d", a.Phone.Key)
	}
	o := &engine.Outcome{Event: first.ID, Kind: scoring.Abuse}
	r.must(r.engine.RecordOutcome(context.Background(), o))
	p, err := r.engine.Lookup(context.Background(), first.Phone)
	r.must(err)
	if p.Abuse != 1 || len(p.Timeline) != 5 || p.Links != 2 {
		t.Errorf("%d labels, %d events, %d links", p.Abuse, len(p.Timeline), p.Links)
	}
	r.must(verify(r.store))
	r.must(r.store.Close())
}

const rotatingPolicy = `
name: small
signals:
  signups_1h: {subject: phone, count: signup, window: 1h}
limits:
  accounts_per_phone: 2
score:
  - {code: MANY, signal: signups_1h, points: {50: 10}}
decisions: {block: 90}
`
