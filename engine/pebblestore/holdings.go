package pebblestore

// Holdings is what an open store holds of the machine at present, apart from what calls under way use.
type Holdings struct {
	Records   int64 // bytes of records in memory, with what it takes to find them
	Spare     int64 // bytes that records left behind, to be used again or given back
	Blocks    int64 // bytes of blocks of tables in memory
	MemTables int64 // bytes of recent log entries in memory, those included that are only read any longer

	Tables int64 // on the disk, in the store
	Zombie int64 // tables and memtables that the store has no more, and a read under way does
	Files  int64 // tables that are open
	Reads  int64 // walks over tables that are under way
}

// Holdings returns what the store holds. It must not be closed meanwhile.
func (s *Store) Holdings() (h Holdings) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		h.Records += sh.held
		h.Spare += sh.spare()
		sh.mu.Unlock()
	}
	m := s.db.Metrics()
	h.Blocks = m.BlockCache.Size
	h.MemTables = int64(m.MemTable.Size + m.MemTable.ZombieSize) //nolint:gosec // a few of some MiB
	for i := range m.Levels {
		h.Tables += m.Levels[i].TablesCount
	}
	h.Zombie = m.Table.ZombieCount + m.MemTable.ZombieCount
	h.Files = m.FileCache.TableCount
	h.Reads = m.TableIters
	return h
}
