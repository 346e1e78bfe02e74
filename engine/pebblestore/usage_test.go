package pebblestore

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// TestUsage holds that records count by kind, that compacting loses none and leaves no more bytes than were there,
// and what a phone seen once may take.
func TestUsage(t *testing.T) {
	o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Fatal: func(err error) { panic(err) }}
	s := mustOpen(t, o)
	const phones = 5000
	ev := signup()
	for i := range uint64(phones) {
		// As good as random, as pseudonyms are.
		binary.BigEndian.PutUint64(ev.Subjects[hashing.Phone].ID[:], (i+1)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(ev.Subjects[hashing.Phone].ID[8:], (i+1)*0xc2b2ae3d27d4eb4f)
		if err := s.Assess(t.Context(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := u.Records[hashing.Phone] / phones; a < 10 || a > 120 {
		t.Errorf("a phone takes %d bytes", a)
	}
	if u.Records[hashing.Account] == 0 || u.Records[hashing.Account] > 20_000 || u.All < u.Records[hashing.Phone] {
		t.Errorf("one account takes %d bytes, everything %d", u.Records[hashing.Account], u.All)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Usage(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("usage of a closed store: %v", err)
	}
	if err := s.Compact(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("compacting a closed store: %v", err)
	}
	s = mustOpen(t, o)
	defer func() { _ = s.Close() }()
	ev.Kind = 0
	seen, err := s.Observe(t.Context(), ev)
	if err != nil || seen.Records[hashing.Phone].Newest() == 0 {
		t.Errorf("the last phone is gone: %v", err)
	}
}
