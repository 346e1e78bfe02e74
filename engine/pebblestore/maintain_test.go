package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// TestABackupHoldsWhatWasAnswered makes backups under many writers, also while records are flushed all the time, and opens them beside the store. Everything that was
// answered is in each, and everything that is logged is counted: a watermark that is newer than the tables beside it says that they hold what they do not.
func TestABackupHoldsWhatWasAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		o                Options
		writers, backups int
		between          int64 // events before each
	}{
		"as a server has it":         {Options{}, 8, 3, 1},
		"with a flush now and again": {Options{MaxUnflushed: 200}, 16, 20, 500},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.o.Keys, c.o.Create, c.o.Fatal = testKeys, true, func(err error) { panic(err) }
			s := mustOpenIn(t, filepath.Join(dir, "store"), c.o)
			var acknowledged atomic.Int64
			var stop atomic.Bool
			var wg sync.WaitGroup
			var looking sync.RWMutex // held while a backup is looked at, or there would be ever more to look at
			first := make(chan struct{}, 1)
			for range c.writers {
				wg.Go(func() {
					for !stop.Load() {
						looking.RLock()
						err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {})
						looking.RUnlock()
						if err != nil {
							t.Error(err)
							return
						}
						acknowledged.Add(1)
						select {
						case first <- struct{}{}:
						default:
						}
					}
				})
			}
			defer func() { // also after a Fatal
				stop.Store(true)
				wg.Wait()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			for i := range c.backups {
				for acknowledged.Load() < int64(i+1)*c.between {
					<-first
				}
				answered, folder := acknowledged.Load(), filepath.Join(dir, "backups", fmt.Sprint(i))
				if err := s.Backup(t.Context(), folder); err != nil {
					t.Fatal(err)
				}
				if err := s.Backup(t.Context(), folder); !errors.Is(err, os.ErrExist) {
					t.Errorf("a second backup at the same place: %v", err)
				}
				looking.Lock()
				holdsWhatWasAnswered(t, folder, answered)
				looking.Unlock()
			}
		})
	}
}

// holdsWhatWasAnswered looks into a backup.
func holdsWhatWasAnswered(t *testing.T, folder string, answered int64) {
	t.Helper()
	copied := mustOpenIn(t, folder, Options{Keys: testKeys, Vouched: true})
	if _, err := copied.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	ev := signup()
	ev.Kind = 0
	seen, err := copied.Observe(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	st, err := copied.Stats(t.Context())
	if err != nil || int64(st.Events) < answered || st.Subjects["phone"] != 1 || st.Newest.Before(st.Oldest) {
		t.Errorf("%d events were answered, the backup holds %+v: %v", answered, st, err)
	}
	if counted := int(seen.Records[hashing.Phone].Total(scoring.Signup)); counted != st.Events {
		t.Errorf("%d events are counted, %d logged", counted, st.Events)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
}

func changeKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(appendTable(nil, tableRollouts, 1), number)
}

// TestVerifyFindsDamage damages one thing at a time behind the store's back.
func TestVerifyFindsDamage(t *testing.T) {
	phone := signup().Subjects[hashing.Phone]
	renamed := hashing.Subject{Kind: hashing.Phone, Key: 2, ID: [16]byte{7}}
	entry := engine.ListEntry{List: "vip", Subject: phone, Added: 1_800_000_000}
	listKey := phone.Append(appendEntriesPrefix(nil, 1, 0))
	for _, c := range []struct {
		name, says string
		damage     func(s *Store, events []engine.EventID) error
	}{
		{"nothing", "", func(*Store, []engine.EventID) error { return nil }},
		{"a record that is none", "it is no record", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendSubjectKey(nil, hashing.Subject{Kind: hashing.IP, Key: 1, ID: [16]byte{9}}), []byte("no record, just text"), pebble.Sync)
		}},
		{"the record of a number is gone", "does not hold it", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(appendSubjectKey(nil, phone), pebble.Sync)
		}},
		{"the record of an account is gone", "does not hold it", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(appendSubjectKey(nil, signup().Subjects[hashing.Account]), pebble.Sync)
		}},
		{"the record of an address is gone", "does not hold it", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(appendSubjectKey(nil, signup().Subjects[hashing.IP]), pebble.Sync)
		}},
		{"a record of an account that has links", "only a phone", func(s *Store, _ []engine.EventID) error {
			var r record.Record
			r.Link(hashing.LinkTag{1}, 5, 0)
			return s.db.Set(appendSubjectKey(nil, hashing.Subject{Kind: hashing.Account, Key: 1, ID: [16]byte{9}}), r.Bytes(), pebble.Sync)
		}},
		{"an event that is none", "it is no event", func(s *Store, events []engine.EventID) error {
			return s.db.Set(appendLogKey(nil, 1, events[0]), []byte{2, 1}, pebble.Sync)
		}},
		{"an event in the middle is gone", "the event of its number before it", func(s *Store, events []engine.EventID) error {
			return s.db.Delete(appendLogKey(nil, 1, events[1]), pebble.Sync)
		}},
		{"the newest event is gone", "its newest event is not in the log", func(s *Store, events []engine.EventID) error {
			return s.db.Delete(appendLogKey(nil, 1, events[2]), pebble.Sync)
		}},
		{"an older name leads nowhere", "the name leads nowhere", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendBackKey(nil, renamed, phone), nil, pebble.Sync)
		}},
		{"a new name does not know the older one", "does not know the name", func(s *Store, _ []engine.EventID) error {
			old := hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [16]byte{7}}
			return s.db.Set(appendForwardKey(nil, old), appendForward(nil, renamed, hashing.LinkTag{}), pebble.Sync)
		}},
		{"older names that are none", "its key names no two", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendBackKey(nil, phone, renamed), nil, pebble.Sync)
		}},
		{"an entry that the list lacks", "does not name it", func(s *Store, _ []engine.EventID) error { return s.db.Delete(listKey, pebble.Sync) }},
		{"an entry that the record lacks", "does not know of it", func(s *Store, _ []engine.EventID) error {
			other := hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [16]byte{8}}
			return s.db.Set(other.Append(appendEntriesPrefix(nil, 1, 0)), appendListing(nil, entry), pebble.Sync)
		}},
		{"an entry of a list that there is not", "a list that there is not", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(phone.Append(appendEntriesPrefix(nil, 1, 7)), appendListing(nil, entry), pebble.Sync)
		}},
		{"a missing policy", "a version before it is missing", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(appendPolicyKey(nil, 1, 1), pebble.Sync)
		}},
		{"a note on a policy that there is not", "it is about a version that there is not", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendVersionKey(nil, tablePolicyNote, 1, 3), []byte("{}"), pebble.Sync)
		}},
		{"a note that is none", "it is no note", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendVersionKey(nil, tablePolicyNote, 1, 2), []byte("{"), pebble.Sync)
		}},
		{"a missing change", "a change before it is missing", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(changeKey(1), pebble.Sync)
		}},
		{"the newest change is missing", "the change that led to it is missing", func(s *Store, _ []engine.EventID) error {
			return s.db.Delete(changeKey(3), pebble.Sync)
		}},
		{"a change that is none", "it is no change", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(changeKey(2), []byte(`{"kind":9,"version":1}`), pebble.Sync)
		}},
		{"a state behind its changes", "there are changes that it does not count", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendTable(nil, tableRolledOut, 1), []byte(`{"live":1,"rollouts":1}`), pebble.Sync)
		}},
		{"a state with a version that there is not", "a version that is in force is missing", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendTable(nil, tableRolledOut, 1), []byte(`{"live":2,"shadows":[7],"rollouts":3}`), pebble.Sync)
		}},
		{"a state that is none", "it cannot be read", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendTable(nil, tableRolledOut, 1), []byte(`x`), pebble.Sync)
		}},
		{"a calibration that is none", "it is no calibration", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendVersionKey(nil, tableRolledOut, 1, 1), []byte(`{}`), pebble.Sync)
		}},
		{"a calibration of a version that there is not", "it is of a version that there is not", func(s *Store, _ []engine.EventID) error {
			return s.db.Set(appendVersionKey(nil, tableRolledOut, 1, 9), []byte(`{"bands":[{"from":0}]}`), pebble.Sync)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), CacheBytes: 1, Fatal: func(err error) { panic(err) }})
			var events []engine.EventID
			for i := range 3 {
				events = append(events, assessAt(t, s, time.Unix(1_800_000_000+int64(i), 0)))
			}
			for _, p := range []string{"a", "b"} {
				if _, err := s.AdoptPolicy(t.Context(), 1, []byte(p), 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(
				s.RollOut(t.Context(), 1, &engine.Rollout{Kind: engine.ShadowBegins, Version: 1}),
				s.Calibrate(t.Context(), 1, 1, &engine.Calibration{Bands: []engine.CalibrationBand{{To: 100, Probability: 0.5, Labels: 40}}}, nil),
				s.PutEntries(t.Context(), 1, []engine.ListEntry{entry}, nil),
			); err != nil {
				t.Fatal(err)
			}
			if err := s.flushAll(); err != nil {
				t.Fatal(err)
			}
			for _, subject := range signup().Subjects { // what is in memory hides the tables
				sh := &s.shards[shardOf(subject)]
				if at, known := sh.index.find(sh.slots, &subject); known {
					sh.drop(at)
				}
			}
			if err := c.damage(s, events); err != nil {
				t.Fatal(err)
			}
			v, err := s.Verify(t.Context())
			if c.says == "" {
				if err != nil || v.Records != 6 || v.Events != 3 || v.Entries != 1 || v.Policies != 2 || v.Changes != 3 {
					t.Errorf("%+v: %v", v, err)
				}
			} else if !errors.Is(err, engine.ErrCorrupt) || !strings.Contains(strings.Join(v.Damaged, "\n"), c.says) {
				t.Errorf("%+v: %v", v, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestVerifyFindsAFlippedBit flips one bit in every hundredth byte of a table, one after the other.
func TestVerifyFindsAFlippedBit(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Keys: testKeys, Create: true, Fatal: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for range 50 {
		assessAt(t, s, time.Now())
	}
	if err := errors.Join(s.flushAll(), s.db.Flush()); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Verify(t.Context()); err != nil || v.Files == 0 {
		t.Fatalf("%+v: %v", v, err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(err)
	}
	for _, path := range tables {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 100 {
			broken := append([]byte(nil), whole...)
			broken[at] ^= 1 << (at / 100 % 8)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if s.checkFile(filepath.Base(path)) == nil {
				t.Errorf("byte %d of %d of %s", at, len(whole), filepath.Base(path))
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// noSums is a file system that has no room for lists of sums.
type noSums struct{ vfs.FS }

func (fs noSums) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if filepath.Base(name) == SumsName {
		return nil, syscall.ENOSPC
	}
	return fs.FS.Create(name, c)
}

// TestABackupThatIsCutOffLeavesNothing: what it left would keep the room of tables that are given up.
func TestABackupThatIsCutOffLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: noSums{fs}, Fatal: func(err error) { panic(err) }})
	assessAt(t, s, time.Now())
	if err := s.Backup(t.Context(), "backups/one"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a backup without room: %v", err)
	}
	if left, err := fs.List("backups"); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// fewLinks is a file system with links within some folders only, and a word when it copies.
type fewLinks struct {
	vfs.FS
	within string
	copies func()
}

func (fs *fewLinks) Link(from, to string) error {
	if !strings.HasPrefix(to, fs.within) {
		return syscall.EXDEV
	}
	return fs.FS.Link(from, to)
}

func (fs *fewLinks) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(name, "elsewhere") && strings.HasSuffix(name, ".sst") {
		fs.copies()
	}
	return fs.FS.Create(name, c)
}

// TestABackupToAnotherDisk copies what it cannot link, from links where the disk of the store has any. It can be stopped, and another one that waits for it, too.
func TestABackupToAnotherDisk(t *testing.T) {
	for name, within := range map[string]string{"from links": "store", "without any": "nowhere"} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			copies := func() {}
			s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: &fewLinks{fs, within, func() { copies() }}, Fatal: func(err error) { panic(err) }})
			assessAt(t, s, time.Now())
			left := func(what, folder string, want int) {
				t.Helper()
				if files, err := fs.List(folder); err != nil || len(files) != want {
					t.Errorf("%s: %s has %v, %v", what, folder, files, err)
				}
			}
			if err := s.Backup(t.Context(), "elsewhere/deep/one"); err != nil {
				t.Fatal(err)
			}
			left("a backup", "elsewhere/deep", 1)
			if counted, logged := recoveredFrom(t, fs, "elsewhere/deep/one"); counted != 1 || logged != 1 {
				t.Errorf("%d are counted, %d logged", counted, logged)
			}
			ctx, stop := context.WithCancel(t.Context())
			copies = func() {
				stop()
				if err := s.Backup(ctx, "elsewhere/deep/three"); !errors.Is(err, context.Canceled) { // while the second is under way
					t.Errorf("one that waits: %v", err)
				}
			}
			if err := s.Backup(ctx, "elsewhere/deep/two"); within == "store" && !errors.Is(err, context.Canceled) {
				t.Errorf("one that is stopped: %v", err)
			}
			left("a stopped backup", "store/flush", 0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPurgeTakesEventsAndNoCounts(t *testing.T) {
	m := newMachine()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }})
	old := assessAt(t, s, m.Now())
	m.pass(time.Minute)
	recent := assessAt(t, s, m.Now())
	for _, want := range []bool{true, false} {
		if purge, err := s.Purge(t.Context(), m.Now().Unix()); err != nil || purge != want {
			t.Errorf("purge: %v, %v", purge, err)
		}
	}
	if _, err := s.Entry(t.Context(), 1, old); !errors.Is(err, engine.ErrUnknownEvent) {
		t.Errorf("the old event: %v", err)
	}
	if _, err := s.Entry(t.Context(), 1, recent); err != nil {
		t.Errorf("the recent event: %v", err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if counted, logged := recovered(t, s.opts.FS); counted != 2 || logged != 1 {
		t.Errorf("%d are counted, %d are logged", counted, logged)
	}
}

// TestAnOutcomeBringsNoPurgedEventBack purges an event between the moment in which an outcome reads it and the one in which it writes it anew.
func TestAnOutcomeBringsNoPurgedEventBack(t *testing.T) {
	m := newMachine()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }})
	event := assessAt(t, s, m.Now())
	m.pass(time.Minute)
	before := m.Now().Unix()
	m.pass(time.Minute)
	assessAt(t, s, m.Now())
	if err := s.flushAll(); err != nil { // or Purge would, and wait for the step anyway
		t.Fatal(err)
	}
	step, err := s.begin(t.Context(), signup().Subjects[:]...)
	if err == nil {
		err = step.readEntry(1, event)
	}
	if err != nil {
		t.Fatal(err)
	}
	purged := make(chan error, 1)
	go func() {
		_, err := s.Purge(t.Context(), before)
		purged <- err
	}()
	for len(purged) == 0 && s.trims.TryRLock() { // until it is through, or waits for the step
		s.trims.RUnlock()
		runtime.Gosched()
	}
	step.entry.Report(record.Report{Outcome: record.Outcome{Kind: scoring.Abuse, Time: m.Now().Unix(), Source: "review"}, Seq: s.nextSeq(), Now: m.Now().Unix()})
	err = errors.Join(step.putEntry(1), step.commit(1, nil))
	step.end()
	if err := errors.Join(err, <-purged); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Entry(t.Context(), 1, event); !errors.Is(err, engine.ErrUnknownEvent) {
		t.Errorf("the event is back: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
