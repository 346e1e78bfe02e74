package pebblestore

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// spread is an event of the n-th phone, account and range. Their pseudonyms differ in every byte.
func spread(n int) *engine.Event {
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: 1_800_000_000, Now: 1_800_000_000, Verified: true}
	for kind := hashing.Phone; kind <= hashing.Account; kind++ {
		s := &ev.Subjects[kind]
		*s = hashing.Subject{Kind: kind, Key: 1}
		x := uint64(n)<<8 | uint64(kind)
		for i := 0; i < len(s.ID); i += 8 {
			x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
			x ^= x >> 31
			binary.BigEndian.PutUint64(s.ID[i:], x)
		}
	}
	binary.BigEndian.PutUint64(ev.Link[:], uint64(n+1)*0x9e3779b97f4a7c15)
	return ev
}

// holders returns the files below a folder that hold some bytes.
func holders(t *testing.T, dir string, wanted []byte) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) { // the store is open
			return nil
		}
		if bytes.Contains(b, wanted) {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// traces are the bytes by which an event could be found on a disk. A table leaves out what a key has in common with
// the one before, so the first bytes of keys are no use.
func traces(ev *engine.Event, id engine.EventID) map[string][]byte {
	phone := ev.Subjects[hashing.Phone].ID
	return map[string][]byte{"pseudonym": phone[3:11], "event id": id[8:], "link tag": ev.Link[:]}
}

// TestRewriteLeavesNoByteOfAnErasedPhone erases one phone that lies in tables of every age, in the log and
// in the journal, one that never reached a table, and the first and the last of all, which manifests name.
func TestRewriteLeavesNoByteOfAnErasedPhone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	o := Options{Keys: testKeys, Create: true, MaxUnflushed: 200, CacheBytes: shardCount}
	open := func() *Store {
		t.Helper()
		s, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	assess := func(s *Store, n int) engine.EventID {
		t.Helper()
		d := new(engine.Decision)
		err := s.Assess(t.Context(), spread(n), d, func(_ *engine.Observation, d *engine.Decision) { d.Claim = true })
		if err != nil {
			t.Fatal(err)
		}
		return d.ID
	}
	const phones = 400
	old, fresh := 7, phones+1
	erased := map[engine.EventID]*engine.Event{}
	s := open()
	for range 3 {
		for n := range phones {
			if id := assess(s, n); n == old || n < 2 {
				erased[id] = spread(n)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	first, last := extremes(phones)
	for _, n := range []int{old, 0, 1, first, last, fresh} {
		ev := spread(n)
		erased[assess(s, n)] = ev
		phone := ev.Subjects[hashing.Phone]
		if err := s.PutEntries(t.Context(), 1, []engine.ListEntry{{List: "vip", Subject: phone}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for id, ev := range erased {
		for what, b := range traces(ev, id) {
			if len(holders(t, dir, b)) == 0 {
				t.Errorf("the %s is nowhere before: the scan does not find what is there", what)
			}
		}
	}
	for _, n := range []int{old, 0, 1, first, last, fresh} {
		if err := s.Erase(t.Context(), &engine.Erasure{Domain: 1, Phones: []hashing.Subject{spread(n).Subjects[hashing.Phone]}, Now: 1_800_000_000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	for id, ev := range erased {
		for what, b := range traces(ev, id) {
			if names := holders(t, dir, b); len(names) > 0 {
				t.Errorf("the %s is still in %v", what, names)
			}
		}
	}
	checkOthers(t, open(), phones-5)
}

// TestErasureForgetsOlderNames erases a phone that was moved to another key twice, by a token of the oldest.
func TestErasureForgetsOlderNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	keys := []hashing.KeyCheck{{Key: 1, Value: [hashing.IDSize]byte{1}}, {Key: 2, Value: [hashing.IDSize]byte{2}}, {Key: 3, Value: [hashing.IDSize]byte{3}}}
	o := Options{Keys: keys, Create: true}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	names, other := []hashing.Subject{}, spread(99)
	ids := []engine.EventID{}
	ev := spread(5)
	for key := hashing.KeyID(1); key <= 3; key++ {
		for kind := range ev.Subjects {
			if next := spread(5 + 10*int(key)).Subjects[kind]; next.Given() {
				next.Key = key
				if key > 1 && kind == int(hashing.Phone) {
					from := []hashing.Version{{Subjects: onlyPhone(names[key-2])}}
					if err := s.Migrate(t.Context(), &engine.Migration{Domain: 1, Now: ev.Now, To: hashing.Version{Subjects: onlyPhone(next)}, From: from}); err != nil {
						t.Fatal(err)
					}
				}
				ev.Subjects[kind] = next
			}
		}
		names = append(names, ev.Subjects[hashing.Phone])
		for _, ev := range []*engine.Event{ev, other} {
			d := new(engine.Decision)
			if err := s.Assess(t.Context(), ev, d, func(_ *engine.Observation, d *engine.Decision) { d.Claim = true }); err != nil {
				t.Fatal(err)
			}
			if ev != other {
				ids = append(ids, d.ID)
			}
		}
	}
	for i, name := range names {
		if len(holders(t, dir, name.ID[3:11])) == 0 {
			t.Errorf("name %d is nowhere before: the scan does not find what is there", i)
		}
	}
	if err := s.Erase(t.Context(), &engine.Erasure{Domain: 1, Phones: names[:1], Now: ev.Now}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if in := holders(t, dir, name.ID[3:11]); len(in) > 0 {
			t.Errorf("name %d is still in %v", i, in)
		}
		if in := holders(t, dir, ids[i][8:]); len(in) > 0 {
			t.Errorf("event %d is still in %v", i, in)
		}
	}
	if s, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	if err := verify(s); err != nil {
		t.Error(err)
	}
	checkOthers(t, s, 1)
}

// extremes returns the phones with the first and the last pseudonym.
func extremes(phones int) (first, last int) {
	for n := range phones {
		id := spread(n).Subjects[hashing.Phone].ID
		if a := spread(first).Subjects[hashing.Phone].ID; bytes.Compare(id[:], a[:]) < 0 {
			first = n
		}
		if a := spread(last).Subjects[hashing.Phone].ID; bytes.Compare(id[:], a[:]) > 0 {
			last = n
		}
	}
	return first, last
}

// checkOthers holds that nobody else lost anything, and closes the store.
func checkOthers(t *testing.T, s *Store, phones int) {
	t.Helper()
	known := map[hashing.Subject]int{}
	if err := s.Scan(t.Context(), 1, engine.EventID{}, func(e *record.Entry) error {
		known[e.Subjects[hashing.Phone]]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(known) != phones {
		t.Errorf("%d phones are left in the log, want %d", len(known), phones)
	}
	for phone, events := range known {
		looking := &engine.Event{Domain: 1, Time: 1_800_000_000, Now: 1_800_000_000}
		looking.Subjects[hashing.Phone] = phone
		o, err := s.Observe(t.Context(), looking)
		if err != nil {
			t.Fatal(err)
		}
		if r := o.Records[hashing.Phone]; events != 3 || r.Total(scoring.Signup) != 3 || r.Links() != 1 {
			t.Fatalf("another phone has %d events, %d are counted, %d links", events, r.Total(scoring.Signup), r.Links())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRewriteLeavesNoLonelyDeletion erases the only phone of a store before it reached a table, so that
// nothing but its deletion does.
func TestRewriteLeavesNoLonelyDeletion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	o := Options{Keys: testKeys, Create: true}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ev, d := spread(1), new(engine.Decision)
	if err := s.Assess(t.Context(), ev, d, func(_ *engine.Observation, d *engine.Decision) { d.Claim = true }); err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), &engine.Erasure{Domain: 1, Phones: []hashing.Subject{ev.Subjects[hashing.Phone]}, Now: 1_800_000_000}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	phone := ev.Subjects[hashing.Phone].ID
	if len(holders(t, dir, phone[3:])) == 0 {
		t.Error("the pseudonym is nowhere before: the scan does not find what is there")
	}
	if err := Rewrite(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	if names := holders(t, dir, phone[3:]); len(names) > 0 {
		t.Errorf("the pseudonym is still in %v", names)
	}
}
