package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// flipped are bounds under which some records are in tables and some only in the log.
var flipped = Options{CacheBytes: shardCount, DirtyBytes: 64 << 10, MaxUnflushed: 200, recoverAtOnce: 50}

// truth is everything that a store answers of a witness's work, as bytes.
type truth struct {
	records map[hashing.Subject][]byte
	log     []logged // in order
	answers map[hashing.Digest][]byte
}

type logged struct {
	id    engine.EventID
	entry []byte
}

// learn asks a store everything.
func learn(s *Store, keys []hashing.Digest) (*truth, error) {
	v := &truth{records: map[hashing.Subject][]byte{}, answers: map[hashing.Digest][]byte{}}
	err := s.Scan(context.Background(), 1, engine.EventID{}, func(e *record.Entry) error {
		v.log = append(v.log, logged{e.ID, e.Append(nil)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if v.answers[key], err = recalled(s, key); err != nil {
			return nil, err
		}
	}
	for _, subject := range witnessSubjects() {
		if v.records[subject], err = observed(s, subject); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func witnessSubjects() []hashing.Subject {
	var all []hashing.Subject
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		for n := range max(witnessPhones, witnessOthers) {
			all = append(all, witnessSubject(kind, n))
		}
	}
	return all
}

func recalled(s *Store, key hashing.Digest) ([]byte, error) {
	r, err := s.Recall(context.Background(), 1, key, 0)
	if err != nil || r == nil {
		return nil, err
	}
	return r.Answer, nil
}

func observed(s *Store, subject hashing.Subject) ([]byte, error) {
	looking := &engine.Event{Domain: 1, Time: witnessTime, Now: witnessTime}
	looking.Subjects[subject.Kind] = subject
	o, err := s.Observe(context.Background(), looking)
	if err != nil {
		return nil, err
	}
	return o.Records[subject.Kind].Bytes(), nil
}

// compare asks a store everything again. It reports whether some question was answered with an error; the
// error is about answers that are not true.
func (v *truth) compare(s *Store) (detected bool, err error) {
	n := 0
	scanned := s.Scan(context.Background(), 1, engine.EventID{}, func(e *record.Entry) error {
		if n >= len(v.log) || e.ID != v.log[n].id || !bytes.Equal(e.Append(nil), v.log[n].entry) {
			err = errors.New("the log is not what it was")
		}
		n++
		return nil
	})
	if scanned != nil {
		detected = true
	} else if n != len(v.log) {
		err = fmt.Errorf("the log has %d entries and had %d", n, len(v.log))
	}
	ask := func(what string, got []byte, failed error, want []byte) {
		switch {
		case failed != nil:
			detected = true
		case !bytes.Equal(got, want):
			err = errors.New(what + " is not what it was")
		}
	}
	for _, l := range v.log {
		e, failed := s.Entry(context.Background(), 1, l.id)
		var got []byte
		if failed == nil {
			got = e.Append(nil)
		}
		if errors.Is(failed, engine.ErrUnknownEvent) {
			failed = nil // which is an answer, and not true
		}
		ask("an entry", got, failed, l.entry)
	}
	for key, want := range v.answers {
		got, failed := recalled(s, key)
		ask("a remembered answer", got, failed, want)
	}
	for subject, want := range v.records {
		got, failed := observed(s, subject)
		ask("a record", got, failed, want)
	}
	return detected, err
}

// busyStore is what a store left on its disk after some work, closed or with the power cut while nothing was under way, and what it answered.
func busyStore(seed uint64, closed bool) (vfs.FS, *truth, error) {
	fs := newPower()
	o := flipped
	o.Keys, o.Create, o.FS, o.Fatal = testKeys, true, fs, func(err error) { panic(err) }
	w := &witness{limit: 3}
	s, err := Open("store", o)
	if err != nil {
		return nil, nil, err
	}
	if err := w.work(s, 4, 120, seed); err != nil {
		return nil, nil, err
	}
	v, err := learn(s, w.keys)
	if err != nil {
		return nil, nil, err
	}
	if err := (&sealer{s: s}).finish(); err != nil { // as happens within a moment
		return nil, nil, err
	}
	left := fs.cut(0, nil)
	for covered, err := guardCovers(left); !covered; covered, err = guardCovers(left) { // and that too, unless Pebble is writing tables
		if err = errors.Join(err, s.guard.renew()); err != nil {
			return nil, nil, err
		}
		left = fs.cut(0, nil)
	}
	if err := s.Close(); err != nil {
		return nil, nil, err
	}
	if closed {
		left = fs.cut(0, nil)
	}
	return left.FS, v, nil
}

// guardCovers reports whether the guard of what is left of a disk speaks of the whole manifest.
func guardCovers(fs vfs.FS) (bool, error) {
	said, err := readFile(fs, "store/"+guardName)
	if err != nil {
		return false, err
	}
	var name string
	var size int
	if _, err := fmt.Sscanf(string(said), "%s %d", &name, &size); err != nil {
		return false, err
	}
	manifest, err := readFile(fs, "store/"+name)
	return len(manifest) == size, err
}

// TestTheGuardOfAClosedStoreCoversItsManifest has Pebble write a table when nothing but Close is left to guard it: what lies on a
// shelf is watched from its first byte to its last.
func TestTheGuardOfAClosedStoreCoversItsManifest(t *testing.T) {
	fs := newPower()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: fs, Fatal: func(err error) { panic(err) }})
	if err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.flush.flush(s.lastSeq.Load); err != nil {
		t.Fatal(err)
	}
	s.flush.stop()
	s.flush.quit = make(chan struct{}) // for Close to close; run has ended
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if covered, err := guardCovers(fs.cut(0, nil)); err != nil || !covered {
		t.Errorf("the guard speaks of a part of the manifest: %v", err)
	}
}

// kindOfFile sorts the files in which a bit may flip, "" for those that are empty or do not matter.
func kindOfFile(name string) string {
	switch {
	case strings.HasSuffix(name, ".sst"):
		return "table"
	case strings.HasSuffix(name, ".log"):
		return "log"
	case strings.HasPrefix(name, "MANIFEST"):
		return "manifest"
	}
	return ""
}

// flip returns a copy of a disk with one bit of one file of a kind flipped, and where it is.
func flip(disk vfs.FS, kind string, random *rand.Rand) (left vfs.FS, name string, at, size int64, err error) {
	left = vfs.NewMem()
	if _, err := vfs.Clone(disk, left, "store", "store"); err != nil {
		return nil, "", 0, 0, err
	}
	names, err := left.List("store")
	if err != nil {
		return nil, "", 0, 0, err
	}
	var some []string
	for _, n := range names {
		if info, err := left.Stat("store/" + n); err == nil && kindOfFile(n) == kind && info.Size() > 0 {
			some = append(some, n)
		}
	}
	if len(some) == 0 {
		return left, "", 0, 0, nil
	}
	name = some[random.IntN(len(some))]
	f, err := left.OpenReadWrite("store/"+name, "test")
	if err != nil {
		return nil, "", 0, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, "", 0, 0, err
	}
	b := make([]byte, 1)
	at = random.Int64N(info.Size())
	if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, "", 0, 0, err
	}
	b[0] ^= 1 << random.IntN(8)
	_, err = f.WriteAt(b, at)
	return left, name, at, info.Size(), errors.Join(err, f.Close())
}

// askDamaged opens a damaged disk and holds what it answers against the truth. It says how the damage showed, "" when
// it did not because an answer was wrong.
func askDamaged(disk vfs.FS, v *truth) (showed string, wrong error) {
	type result struct {
		showed string
		wrong  error
	}
	ends := make(chan result, 2)
	o := flipped
	o.Keys, o.FS = testKeys, disk
	o.Fatal = func(error) {
		ends <- result{"stopped the process", nil}
		select {} // the process has ended
	}
	go func() {
		s, err := Open("store", o)
		if err != nil {
			ends <- result{"refused to open", nil}
			return
		}
		detected, err := v.compare(s)
		closed := s.Close()
		switch {
		case err != nil:
			ends <- result{"", err}
		case detected:
			ends <- result{"some calls answered with an error", nil}
		case closed != nil:
			ends <- result{"Close answered with an error", nil}
		default:
			ends <- result{"nothing was damaged that matters: every answer was true", nil}
		}
	}()
	r := <-ends
	return r.showed, r.wrong
}

// TestBitFlips flips single bits of what a store left on its disk. The store refuses to open, or answers with errors, or
// stops; or every answer is true.
func TestBitFlips(t *testing.T) {
	n := rounds(60, 200, 10_000)
	ends := &places{seen: map[string]int{}}
	seed := rand.Uint64()
	var bases [8]struct {
		disk vfs.FS
		v    *truth
	}
	for i := range n {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		b := &bases[i%len(bases)]
		if i%500 < len(bases) { // new ones now and then
			var err error
			if b.disk, b.v, err = busyStore(random.Uint64(), i%2 == 0); err != nil {
				t.Fatal(err)
			}
		}
		kind := []string{"table", "log", "manifest"}[i/2%3]
		left, name, at, size, err := flip(b.disk, kind, random)
		if err != nil {
			t.Fatal(err)
		}
		showed, wrong := askDamaged(left, b.v)
		if wrong != nil {
			t.Errorf("seed %d, %d: closed %v, %s, byte %d of %d: %v", seed, i, i%2 == 0, name, at, size, wrong)
			showed = "SILENTLY WRONG"
		}
		ends.add(kind + ": " + showed)
	}
	ends.log(t)
}
