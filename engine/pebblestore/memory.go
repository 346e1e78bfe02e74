package pebblestore

import (
	"bytes"
	"math"
	"os"
	"strconv"
)

// What BlockCacheBytes, MemTableBytes and DirtyBytes are by default: a share of the machine's memory, within bounds. The largest memtable
// is the one that measured best: with larger ones, reads of recent entries miss the processor's caches. More that is dirty is written at once, so that
// what the tables hold already is sorted together with it less often, which takes more than half of what an event does where subjects seldom come again.
const (
	blockCacheShare = 32
	minBlockCache   = 16 << 20
	maxBlockCache   = 1 << 30

	memTableShare = 128
	minMemTable   = 8 << 20
	maxMemTable   = 64 << 20

	dirtyShare = 32
	minDirty   = 64 << 20
	maxDirty   = 512 << 20
)

// sizes are how much of something is kept in memory, in bytes.
type sizes struct{ blockCache, memTable, dirty int64 }

// sizesFor returns the sizes for a machine with so much memory.
func sizesFor(memory int64) sizes {
	return sizes{
		blockCache: min(max(memory/blockCacheShare, minBlockCache), maxBlockCache),
		memTable:   min(max(memory/memTableShare, minMemTable), maxMemTable),
		dirty:      min(max(memory/dirtyShare, minDirty), maxDirty),
	}
}

// unknownMemory is taken for the machine's memory where it does not say.
const unknownMemory = 4 << 30

// machineMemory returns how much memory the process may have: that of the machine, or of its control group if
// that is less. Where there is no /proc, unknownMemory.
func machineMemory() int64 {
	memory := int64(math.MaxInt64)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := os.ReadFile(path); err == nil { //nolint:gosec // two names of our own
			memory = min(memory, number(bytes.TrimSpace(b)))
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		memory = min(memory, memTotal(b))
	}
	if memory == math.MaxInt64 {
		return unknownMemory
	}
	return memory
}

// memTotal reads the machine's memory from what /proc/meminfo says.
func memTotal(meminfo []byte) int64 {
	for line := range bytes.Lines(meminfo) {
		if rest, ok := bytes.CutPrefix(line, []byte("MemTotal:")); ok {
			kib := number(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB"))))
			return min(kib, math.MaxInt64>>10) << 10
		}
	}
	return math.MaxInt64
}

// number reads a positive number; what is none, such as "max", is no bound.
func number(text []byte) int64 {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n > 0 {
		return n
	}
	return math.MaxInt64
}
