package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/storetest"
	"github.com/ringfence/ringfence/hashing"
)

var testKeys = []hashing.KeyCheck{{Key: 1, Value: [16]byte{1}}}

// Bounds so tight that hundreds of events, or a handful of them, are flushed and evicted. Memtables hold some hundred
// events, or fifty, so that they are flushed, too; the log is given room for a whole one in advance.
var (
	small = Options{CacheBytes: shardCount, DirtyBytes: 256 << 10, MaxUnflushed: 1000, MemTableBytes: 64 << 10}
	tiny  = Options{CacheBytes: shardCount, DirtyBytes: 4 << 10, MaxUnflushed: 20, recoverAtOnce: 7, MemTableBytes: 16 << 10}
)

// opener opens stores on a file system, with the bounds of some options.
func opener(bounds Options, fs func() vfs.FS) storetest.Open {
	return func(t testing.TB) storetest.Opened {
		dir, err := os.MkdirTemp(t.TempDir(), "store")
		if err != nil {
			t.Fatal(err)
		}
		o := bounds
		o.Keys, o.Create, o.FS, o.Fatal = testKeys, true, fs(), func(err error) { panic(err) }
		clock := storetest.NewClock()
		o.Now, o.up = clock.Now, clock.Up
		open := func() engine.Store {
			s, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		return storetest.Opened{Store: open(), Reopen: open, Clock: clock, Verify: verify, Discard: func() { _ = os.RemoveAll(dir) }}
	}
}

func verify(s engine.Store) error {
	v, err := s.(*Store).Verify(context.Background())
	if err != nil && v != nil {
		err = fmt.Errorf("%w: %v", err, v.Damaged)
	}
	return err
}

func TestContractInMemory(t *testing.T) {
	open := opener(Options{}, func() vfs.FS { return vfs.NewMem() })
	storetest.Run(t, open)
	storetest.RunReopen(t, open)
}

func TestContractOnDisk(t *testing.T) {
	open := opener(small, func() vfs.FS { return vfs.Default })
	storetest.Run(t, open)
	storetest.RunReopen(t, open)
}

// TestContractAcrossPowerCuts takes the power away between operations, at any point of
// a flush that is under way, and keeps a random share of what was not synced.
func TestContractAcrossPowerCuts(t *testing.T) {
	storetest.RunRandom(t, func(t testing.TB) storetest.Opened { return openCrashable(t, tiny) })
}

func openCrashable(t testing.TB, bounds Options) storetest.Opened {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	o := bounds
	o.Keys, o.Create, o.FS, o.Fatal = testKeys, true, newPower(), func(err error) { panic(err) }
	clock := storetest.NewClock()
	o.Now, o.up = clock.Now, clock.Up
	var current *Store
	open := func() engine.Store {
		s, err := Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		current = s
		return s
	}
	crash := func() engine.Store {
		left := o.FS.(*power).cut(random.IntN(101), random)
		if err := current.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = left
		return open()
	}
	return storetest.Opened{Store: open(), Reopen: open, Crash: crash, Clock: clock, Verify: verify}
}

// TestLinksInAnyOrder has many calls on one number under way at the same time.
func TestLinksInAnyOrder(t *testing.T) {
	storetest.RunLinks(t, opener(small, func() vfs.FS { return vfs.NewMem() }), rounds(40, 200, 5000))
}

func TestAnotherKeyringIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("store", Options{Keys: testKeys, Create: true, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open("store", Options{Keys: testKeys, FS: fs}); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("store", Options{Keys: []hashing.KeyCheck{{Key: 1, Value: [16]byte{2}}}, FS: fs}); !errors.Is(err, engine.ErrWrongKeyring) {
		t.Errorf("another keyring: %v", err)
	}
	if _, err := Open("elsewhere", Options{Keys: testKeys, FS: fs}); !errors.Is(err, engine.ErrNotAStore) {
		t.Errorf("no store: %v", err)
	}
	s, err = Open("store", Options{Keys: testKeys, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set(keyFormat, []byte{0, 0, 0, format + 1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("store", Options{Keys: testKeys, FS: fs}); !errors.Is(err, engine.ErrNewerFormat) {
		t.Errorf("newer format: %v", err)
	}
}

func TestContractVolatile(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Opened {
		o := small
		o.Keys = testKeys
		clock := storetest.NewClock()
		o.Now, o.up = clock.Now, clock.Up
		s, err := OpenMemory(o)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Opened{Store: s, Clock: clock}
	})
}
