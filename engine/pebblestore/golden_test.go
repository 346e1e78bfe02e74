package pebblestore

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// golden is the folder of the format that this package writes, with something in every table of it, and what a store that holds it
// answers. It is written once, by RINGFENCE_NEW_GOLDEN=store go test ./engine/pebblestore -run TestGoldenStore, when a format is new, and
// is kept as it is from then on, also when it is an earlier one.
var golden = filepath.Join("testdata", "format4")

var goldenNow = time.Unix(1_800_000_000, 0)

// TestGoldenStore opens what this version, or an earlier one, left on a disk, and asks it everything.
func TestGoldenStore(t *testing.T) {
	if os.Getenv("RINGFENCE_NEW_GOLDEN") == "store" {
		writeGolden(t)
	}
	ring, err := hashing.OpenKeyring(keyringCopy(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	if err := fs.MkdirAll("store", 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(golden, "store", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden store: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, fs, "store/"+filepath.Base(path), b)
	}
	want, err := os.ReadFile(filepath.Join(golden, "answers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} { // what was recovered is flushed by then
		s, err := Open("store", Options{Keys: ring.KeyChecks(), FS: fs, Now: func() time.Time { return goldenNow.Add(time.Minute) }, Fatal: func(err error) { panic(err) }})
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range statTables {
			it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table.id}, UpperBound: []byte{table.id + 1}})
			if err != nil {
				t.Fatal(err)
			}
			if found := it.First(); it.Close() != nil || !found && !again {
				t.Errorf("nothing in the table of %s", table.name)
			}
		}
		if s.watermark.Load() < s.lastSeq.Load() == again {
			t.Errorf("changes that the tables lack: %v, opened again: %v", !again, again)
		}
		if got := describe(t, s, ring); got != string(want) {
			t.Errorf("opened again: %v; it answers\n%s\nand not\n%s", again, got, want)
		}
		if v, err := s.Verify(t.Context()); err != nil || v.Links == 0 || v.Keys == 0 || v.Entries == 0 || v.Changes == 0 {
			t.Errorf("%+v: %v", v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// keyringCopy returns a copy of the golden keyring that nobody else may open.
func keyringCopy(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); errors.Join(err, f.Sync(), f.Close()) != nil {
		t.Fatal(err)
	}
}

// goldenNumbers are kept for fiction, as is the address.
var goldenNumbers = []string{"+12025550143", "+12025550144", "+12025550145", "+12025550146"}

var goldenIP = netip.MustParseAddr("203.0.113.7")

func goldenKey() hashing.Digest { return hashing.Digest{4, 2} }

// describe asks a store all that it can be asked about what writeGolden did.
func describe(t *testing.T, s *Store, ring *hashing.Keyring) string {
	t.Helper()
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := goldenNow.Unix()
	for _, h := range append([]*hashing.Hasher{h}, h.Before()...) {
		for i, text := range goldenNumbers {
			number, err := hashing.Parse(text, "")
			must(err)
			looking := &engine.Event{Domain: 1, Time: now, Now: now}
			looking.Subjects, looking.Link = h.Subjects(number, fmt.Sprint("u", i), fmt.Sprint("d", i), goldenIP)
			phone := looking.Subjects[hashing.Phone]
			o, err := s.Observe(t.Context(), looking)
			must(err)
			fmt.Fprintf(&b, "number %d, key %d: lists %q\n", i, h.Key(), o.Lists)
			for kind, r := range o.Records {
				if r == nil {
					continue
				}
				fmt.Fprintf(&b, "  %s: generation %d, first seen %d, links %d, events", hashing.Kind(kind), r.Generation(), r.FirstSeen(), r.Links())
				for event := scoring.Signup; event < scoring.Events; event++ {
					fmt.Fprintf(&b, " %d/%v/%d", r.Total(event), r.Count(event, record.TimeOf(now), 3600), r.Labels(event))
				}
				fmt.Fprintf(&b, ", accounts %v, phones %v\n", r.Distinct(scoring.Accounts, record.TimeOf(now), 86400), r.Distinct(scoring.Phones, record.TimeOf(now), 86400))
			}
			events, err := s.Timeline(t.Context(), 1, phone, 100)
			must(err)
			for _, e := range events {
				describeEntry(&b, e)
			}
		}
	}
	b.WriteString("log\n")
	must(s.Scan(t.Context(), 1, engine.EventID{}, func(e *record.Entry) error {
		describeEntry(&b, e)
		return nil
	}))
	lists, err := s.Lists(t.Context(), 1)
	must(err)
	for _, list := range lists {
		entries, err := s.Entries(t.Context(), 1, list, hashing.Subject{}, 100, now)
		must(err)
		for _, e := range entries {
			fmt.Fprintf(&b, "list %s: %s %q added %d expires %d\n", list, e.Subject.Token(), e.Reason, e.Added, e.Expires)
		}
	}
	r, err := s.Recall(t.Context(), 1, goldenKey(), now)
	must(err)
	fmt.Fprintf(&b, "key: %x expires %d answer %s\n", r.Fingerprint[:2], r.Expires, r.Answer)
	policies, err := s.Policies(t.Context(), 1, 0, 100)
	must(err)
	for _, p := range policies {
		c, err := s.Calibration(t.Context(), 1, p.Version)
		must(err)
		fmt.Fprintf(&b, "policy %d: %q added %d by %q %q of %d, calibrated %v\n", p.Version, p.Source, p.Added, p.Author, p.Note, p.Of, c != nil && c.Bands[0].Labels == 40)
	}
	rollouts, err := s.Rollouts(t.Context(), 1, 0, 100)
	must(err)
	for _, r := range rollouts {
		fmt.Fprintf(&b, "change %d: kind %d version %d replaces %d at %d by %q %q\n", r.Number, r.Kind, r.Version, r.Replaces, r.At, r.Author, r.Note)
	}
	state, err := s.PolicyState(t.Context(), 1)
	must(err)
	fmt.Fprintf(&b, "in force: %d, shadows %d\n", state.Live, state.Shadows)
	st, err := s.Stats(t.Context())
	must(err)
	fmt.Fprintf(&b, "subjects %v\n", st.Subjects)
	return b.String()
}

func describeEntry(b *strings.Builder, e *record.Entry) {
	fmt.Fprintf(b, "  event %s: kind %d verified %v claimed %v linked %v given %v valid %v at %d, %d in %q of %s, generation %d, before it %d, verdict %d score %d policy %d values %v outcomes",
		e.ID, e.Kind, e.Verified, e.Claimed, e.Linked, e.Given, e.Valid, e.Time, e.Now, e.Country, e.Subjects[hashing.Phone].Token(), e.Generation, e.Prev, e.Verdict, e.Score, e.Policy, e.Values)
	for _, o := range e.Outcomes() {
		fmt.Fprintf(b, " %d at %d from %q", o.Kind, o.Time, o.Source)
	}
	for _, s := range e.Shadows {
		fmt.Fprintf(b, " shadow %+v", s)
	}
	b.WriteString("\n")
}

// writeGolden makes the golden folder: something in every table, and changes that only the log and the journal hold.
func writeGolden(t *testing.T) {
	if _, err := os.Stat(golden); err == nil {
		t.Fatal("the golden store of a format never changes; name one for the new format")
	}
	r := &rotating{t: t, fs: vfs.NewMem(), now: goldenNow.Add(-2 * time.Hour)}
	ring, err := hashing.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{3}, 32)), r.now)
	r.must(err)
	r.open(ring)
	event := func(n int, kind scoring.Event, account int, once *engine.Once) *engine.Assessment {
		r.now = r.now.Add(time.Minute)
		number := r.number(goldenNumbers[n])
		ev := &engine.Event{Kind: kind, Verified: kind == scoring.Verification, Once: once, Country: "US", Number: engine.Number{Given: true, Valid: true}}
		account0, device := fmt.Sprint("u", account), fmt.Sprint("d", n)
		ev.Older = r.hasher.Older(number, account0, device, goldenIP)
		ev.Subjects, ev.Link = r.hasher.Subjects(number, account0, device, goldenIP)
		a := new(engine.Assessment)
		r.must(r.engine.Assess(t.Context(), ev, a))
		return a
	}
	outcome := func(a *engine.Assessment, kind scoring.Event) {
		r.must(r.store.RecordOutcome(t.Context(), &engine.Outcome{Domain: 1, Event: a.ID, Kind: kind, Source: "review", Time: r.now.Unix(), Now: r.now.Unix(), MaxLinks: 2}))
	}
	changes := func() { // of every kind
		at := r.now.Unix()
		for n := range goldenNumbers {
			for _, kind := range []scoring.Event{scoring.Signup, scoring.Verification, scoring.SignIn, scoring.Checkout, scoring.Recovery, scoring.NumberChange} {
				outcome(event(n, kind, n, nil), []scoring.Event{scoring.Verified, scoring.Abuse, scoring.Legitimate, scoring.Unverified}[n])
			}
			event(n, scoring.Verification, n+1, nil)
		}
		phone := func(n int) hashing.Subject { return r.hasher.Phone(r.number(goldenNumbers[n])) }
		r.must(r.store.Unlink(t.Context(), &engine.Unlink{Domain: 1, Phone: phone(0), Link: r.hasher.LinkTag(r.hasher.Account("u1")), Now: at}))
		r.must(r.store.Release(t.Context(), &engine.Release{Domain: 1, Phone: phone(1), Now: at}))
		event(1, scoring.Signup, 1, nil)
		r.must(r.store.Erase(t.Context(), &engine.Erasure{Domain: 1, Phones: []hashing.Subject{phone(2)}, Now: at}))
		r.must(r.store.PutEntries(t.Context(), 1, []engine.ListEntry{
			{List: "vip", Subject: phone(0), Reason: "known", Added: at}, {List: "watch", Subject: phone(3), Reason: "seen", Added: at, Expires: goldenNow.Unix() + 86400},
			{List: "gone", Subject: phone(3), Added: at},
		}, nil))
		_, err := r.store.RemoveEntry(t.Context(), 1, "gone", phone(3), at)
		r.must(err)
	}
	changes()
	event(3, scoring.Signup, 9, &engine.Once{
		Key: goldenKey(), Fingerprint: hashing.Digest{7, 8}, Expires: goldenNow.Unix() + 86400, Lasts: 86400,
		Render: func() []byte { return []byte("an answer") },
	})
	for _, p := range []string{"name: second\ndecisions: {block: 80}\n", "name: third\ndecisions: {block: 70}\n"} {
		r.must(r.store.AddPolicy(t.Context(), 1, &engine.PolicyVersion{Source: []byte(p), Added: r.now.Unix(), Author: "local", Note: "tried"}, nil))
	}
	r.must(r.store.RollOut(t.Context(), 1, &engine.Rollout{Kind: engine.ShadowBegins, Version: 2, At: r.now.Unix(), Author: "local", Note: "try"}))
	r.must(r.store.Calibrate(t.Context(), 1, 1, &engine.Calibration{Bands: []engine.CalibrationBand{{To: 100, Probability: 0.5, Labels: 40}}}, nil))
	r.must(errors.Join(r.store.flushAll(), r.store.db.Flush()))
	if ring, err = ring.Rotate(bytes.NewReader(bytes.Repeat([]byte{4}, 32)), r.now); err != nil {
		t.Fatal(err)
	}
	r.open(ring)
	r.must(r.store.flushAll())
	changes()
	r.must(r.store.db.Checkpoint("golden", pebble.WithFlushedWAL()))
	r.must(os.MkdirAll(filepath.Join(golden, "store"), 0o700))
	names, err := r.fs.List("golden")
	r.must(err)
	for _, name := range names {
		b, err := readFile(r.fs, "golden/"+name)
		r.must(err)
		r.must(os.WriteFile(filepath.Join(golden, "store", name), b, 0o600))
	}
	r.must(ring.WriteFile(filepath.Join(golden, "keyring.json")))
	r.must(os.WriteFile(filepath.Join(golden, "answers.txt"), []byte(describe(t, r.store, ring)), 0o600))
	r.must(r.store.Close())
}
