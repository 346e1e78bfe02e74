package pebblestore

import (
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestSizesFollowTheMachine(t *testing.T) {
	for memory, want := range map[int64]sizes{
		1 << 20:   {16 << 20, 8 << 20, 64 << 20},
		512 << 20: {16 << 20, 8 << 20, 64 << 20},
		2 << 30:   {64 << 20, 16 << 20, 64 << 20},
		8 << 30:   {256 << 20, 64 << 20, 256 << 20},
		1 << 40:   {1 << 30, 64 << 20, 512 << 20},
	} {
		if got := sizesFor(memory); got != want {
			t.Errorf("%d MiB of memory: %+v", memory>>20, got)
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
	o := (Options{}).withDefaults()
	if got := (sizes{o.BlockCacheBytes, o.MemTableBytes, o.DirtyBytes}); got != sizesFor(machineMemory()) {
		t.Errorf("by default %+v", got)
	}
}
