package pebblestore

import (
	"errors"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/storetest"
	"github.com/ringfence/ringfence/hashing"
)

var testKeys = []hashing.KeyCheck{{Key: 1, Value: [16]byte{1}}}

// opener opens stores on a file system.
func opener(fs func() vfs.FS) storetest.Open {
	return func(t testing.TB) storetest.Opened {
		dir, err := os.MkdirTemp(t.TempDir(), "store")
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Keys: testKeys, Create: true, FS: fs(), Fatal: func(err error) { panic(err) }}
		open := func() engine.Store {
			s, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		return storetest.Opened{Store: open(), Reopen: open, Discard: func() { _ = os.RemoveAll(dir) }}
	}
}

func TestContractInMemory(t *testing.T) {
	open := opener(func() vfs.FS { return vfs.NewMem() })
	storetest.Run(t, open)
	storetest.RunReopen(t, open)
}

func TestContractOnDisk(t *testing.T) {
	open := opener(func() vfs.FS { return vfs.Default })
	storetest.Run(t, open)
	storetest.RunReopen(t, open)
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
		s, err := OpenMemory(Options{Keys: testKeys})
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Opened{Store: s}
	})
}
