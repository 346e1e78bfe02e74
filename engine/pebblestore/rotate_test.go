package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
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

func (r *rotating) options() Options {
	return Options{Keys: r.ring.KeyChecks(), Create: true, FS: r.fs, Now: func() time.Time { return r.now }}
}

// open opens the store with a keyring.
func (r *rotating) open(ring *hashing.Keyring) {
	r.t.Helper()
	if r.store != nil {
		r.must(r.store.Close())
	}
	var err error
	r.ring = ring
	r.hasher, err = ring.Domain(hashing.DefaultDomain)
	r.must(err)
	clock := func() time.Time { return r.now }
	r.store, err = Open("store", r.options())
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
	r := newRotating(t)
	number := r.number("+12025550143")
	first := r.signup(number, "", "a")
	for n := byte(2); n <= 3; n++ {
		ring, err := r.ring.Rotate(bytes.NewReader(bytes.Repeat([]byte{n}, 32)), r.now)
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

// newRotating returns an engine on a new store with one key.
func newRotating(t *testing.T) *rotating {
	t.Helper()
	r := &rotating{t: t, fs: vfs.NewMem(), now: time.Unix(1_800_000_000, 0)}
	ring, err := hashing.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), r.now)
	r.must(err)
	r.open(ring)
	return r
}

func (r *rotating) number(text string) hashing.Number {
	r.t.Helper()
	n, err := hashing.Parse(text, "")
	r.must(err)
	return n
}

// TestDestroy destroys the key of a number that moved and of one that did not.
func TestDestroy(t *testing.T) {
	r := newRotating(t)
	moved, left := r.number("+12025550143"), r.number("+12025550199")
	first, lost := r.signup(moved, "", "a"), r.signup(left, "", "b")
	r.must(r.store.PutEntries(t.Context(), 1, []engine.ListEntry{{List: "vip", Subject: lost.Phone}, {List: "known", Subject: first.Phone}}, nil))
	ring, err := r.ring.Rotate(bytes.NewReader(bytes.Repeat([]byte{2}, 32)), r.now)
	r.must(err)
	r.open(ring)
	r.signup(moved, "", "a")
	use, err := r.store.KeyUse(t.Context())
	r.must(err)
	if use[1] != 2 || use[2] != 6 { // the other number and its account; range, address, network and device are shared
		t.Errorf("subjects by key: %v", use)
	}
	r.must(r.store.Close())
	var inUse *KeysInUse
	if _, err := Destroy(t.Context(), "store", r.options(), []hashing.KeyID{1}, false); !errors.As(err, &inUse) || inUse.Subjects != 2 {
		t.Fatalf("destroyed what is in use: %v", err)
	}
	done, err := Destroy(t.Context(), "store", r.options(), []hashing.KeyID{1}, true)
	r.must(err)
	if done.Subjects != 2 || !slices.Equal(done.Lists, []string{"vip"}) {
		t.Errorf("destroyed %+v", done)
	}
	ring, err = ring.Destroy(1)
	r.must(err)
	r.store = nil
	r.open(ring)
	r.checkDestroyed(first, lost)
	if a := r.signup(moved, "", "a"); a.Links.Count != 1 || a.Phone.Key != 2 {
		t.Errorf("what had moved is not as it was: %+v", a.Links)
	}
	if a := r.signup(left, "", "c"); a.Links.Count != 1 || !a.Links.Linked {
		t.Errorf("what had not moved is still known: %+v", a.Links)
	}
	r.must(verify(r.store))
	r.must(r.store.Close())
}

// checkDestroyed looks for what was known of a number that had moved and one that had not.
func (r *rotating) checkDestroyed(moved, lost *engine.Assessment) {
	r.t.Helper()
	use, err := r.store.KeyUse(r.t.Context())
	r.must(err)
	if use[1] != 0 || use[2] != 6 {
		r.t.Errorf("subjects by key: %v", use)
	}
	for _, a := range []*engine.Assessment{moved, lost} {
		if _, err := r.hasher.Token(a.Phone.Token()); !errors.Is(err, hashing.ErrToken) {
			r.t.Errorf("a token of the destroyed key: %v", err)
		}
		o := &engine.Outcome{Event: a.ID, Kind: scoring.Verified} // the events are there until they expire
		r.must(r.engine.RecordOutcome(r.t.Context(), o))
		if o.Links.Count != 0 {
			r.t.Errorf("an outcome counted for a subject of the destroyed key: %+v", o.Links)
		}
	}
	if use, err = r.store.KeyUse(r.t.Context()); err != nil || use[1] != 0 {
		r.t.Errorf("subjects by key after an outcome: %v, %v", use, err)
	}
	it, err := r.store.db.NewIter(nil)
	r.must(err)
	for ok := it.First(); ok; ok = it.Next() {
		for _, id := range [][]byte{moved.Phone.ID[:], lost.Phone.ID[:]} {
			if key := it.Key(); key[0] != tableLog && (bytes.Contains(key, id) || key[0] != tableJournal && bytes.Contains(it.Value(), id)) {
				r.t.Errorf("a pseudonym of the destroyed key is in table %x", key[0])
			}
		}
	}
	r.must(it.Close())
}

// TestRekey rotates under a store that is open, and refuses a keyring of somebody else's.
func TestRekey(t *testing.T) {
	r := newRotating(t)
	number := r.number("+12025550143")
	r.signup(number, "", "a")
	other, err := hashing.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{9}, 32)), r.now)
	r.must(err)
	if err := r.store.Rekey(t.Context(), other.KeyChecks()); !errors.Is(err, engine.ErrWrongKeyring) {
		t.Errorf("another keyring: %v", err)
	}
	ring, err := r.ring.Rotate(bytes.NewReader(bytes.Repeat([]byte{2}, 32)), r.now)
	r.must(err)
	r.must(r.store.Rekey(t.Context(), ring.KeyChecks()))
	r.hasher, err = ring.Domain(hashing.DefaultDomain)
	r.must(err)
	if a := r.signup(number, "", "a"); a.Links.Count != 1 || a.Phone.Key != 2 {
		t.Errorf("after the rotation: %+v", a.Links)
	}
	r.must(r.store.Close())
	if _, err := Open("store", r.options()); !errors.Is(err, engine.ErrWrongKeyring) {
		t.Errorf("the keyring from before the rotation: %v", err)
	}
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
