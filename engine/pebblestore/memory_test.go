package pebblestore

import (
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestSizesFollowTheMachine(t *testing.T) {
	for _, c := range []struct{ memory, blockCache, memTable int64 }{
		{1 << 20, 16 << 20, 8 << 20},
		{512 << 20, 16 << 20, 8 << 20},
		{2 << 30, 64 << 20, 16 << 20},
		{8 << 30, 256 << 20, 64 << 20},
		{1 << 40, 1 << 30, 64 << 20},
	} {
		if b, m := sizesFor(c.memory); b != c.blockCache || m != c.memTable {
			t.Errorf("%d MiB of memory: %d and %d MiB", c.memory>>20, b>>20, m>>20)
		}
	}
	for text, want := range map[string]int64{
		"MemFree: 1 kB\nMemTotal:       16384 kB\n": 16 << 20, "": math.MaxInt64, "MemTotal: many kB\n": math.MaxInt64 >> 10 << 10,
	} {
		if got := memTotal([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if m := machineMemory(); m < 16<<20 || m == math.MaxInt64 {
		t.Errorf("this machine has %d bytes", m)
	}
}

// TestSizesReachPebble holds that what Options say is what the store is opened with, and that the defaults are the machine's.
func TestSizesReachPebble(t *testing.T) {
	s := mustOpen(t, Options{
		Keys: testKeys, Create: true, FS: vfs.NewMem(), Fatal: func(err error) { panic(err) },
		BlockCacheBytes: 3 << 20, MemTableBytes: 1 << 20,
	})
	if o := s.pebbleOptions(nil); o.MemTableSize != 1<<20 || s.cacheSize() != 3<<20+memTables<<20 {
		t.Errorf("memtables of %d bytes and a cache of %d", o.MemTableSize, s.cacheSize())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, m := sizesFor(machineMemory())
	if o := (Options{}).withDefaults(); o.BlockCacheBytes != b || o.MemTableBytes != m {
		t.Errorf("by default %d and %d bytes", o.BlockCacheBytes, o.MemTableBytes)
	}
}
