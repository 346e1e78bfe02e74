package main

import (
	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

// memoryFlags bound what the store keeps in memory. Zero is the store's default.
type memoryFlags struct{ records, dirty, blocks, memTable int64 }

func (f *memoryFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	sizeSetting(fl, &f.records, "cache_bytes")
	sizeSetting(fl, &f.dirty, "dirty_bytes")
	sizeSetting(fl, &f.blocks, "block_cache_bytes")
	sizeSetting(fl, &f.memTable, "memtable_bytes")
}

// leastMemory is the smallest bound: with less, next to nothing would stay in memory.
const leastMemory = 1 << 20

func (f *memoryFlags) check() error {
	for _, n := range []int64{f.records, f.dirty, f.blocks, f.memTable} {
		if n != 0 && n < leastMemory {
			return usage("--cache-bytes, --dirty-bytes, --block-cache-bytes and --memtable-bytes are at least 1048576, or 0 for their defaults")
		}
	}
	return nil
}

// bound sets the options of the store.
func (f *memoryFlags) bound(o *pebblestore.Options) {
	o.CacheBytes, o.DirtyBytes, o.BlockCacheBytes, o.MemTableBytes = f.records, f.dirty, f.blocks, f.memTable
}

// holdingMeasures are the metrics of what the store holds of the machine.
func holdingMeasures(store *pebblestore.Store) []server.Measure {
	gauge := func(name, help string, read func(*pebblestore.Holdings) int64) server.Measure {
		return server.Measure{Name: name, Help: help, Read: func() float64 {
			h := store.Holdings()
			return float64(read(&h))
		}}
	}
	return []server.Measure{
		gauge("ringfence_record_cache_bytes", "Records in memory, with what it takes to find them; bounded by cache_bytes and, beyond that, by dirty_bytes for what is not flushed.",
			func(h *pebblestore.Holdings) int64 { return h.Records }),
		gauge("ringfence_record_spare_bytes", "What records in memory left behind, to be used again.", func(h *pebblestore.Holdings) int64 { return h.Spare }),
		gauge("ringfence_block_cache_bytes", "Blocks of tables in memory; with the memtables bounded by block_cache_bytes and four times memtable_bytes.", func(h *pebblestore.Holdings) int64 { return h.Blocks }),
		gauge("ringfence_memtable_bytes", "Recent log entries in memory; bounded by five times memtable_bytes.", func(h *pebblestore.Holdings) int64 { return h.MemTables }),
		gauge("ringfence_tables", "Tables of the store.", func(h *pebblestore.Holdings) int64 { return h.Tables }),
		gauge("ringfence_open_tables", "Tables that are open; each is an open file.", func(h *pebblestore.Holdings) int64 { return h.Files }),
		gauge("ringfence_zombie_tables", "Tables that are no longer part of the store and still read.", func(h *pebblestore.Holdings) int64 { return h.Zombie }),
		gauge("ringfence_table_reads", "Walks over tables that are under way.", func(h *pebblestore.Holdings) int64 { return h.Reads }),
	}
}
