package pebblestore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// Options say how to open a store. The zero value of every field but Keys is
// its default.
type Options struct {
	// Keys are the check values of the keyring in use. A new store keeps them;
	// an older one refuses to open with any other keyring. Required.
	Keys []hashing.KeyCheck

	// Create makes a store where the folder holds none. Without it, that is
	// engine.ErrNotAStore.
	Create bool

	// Upgrade brings a store of an older format to the present one, after which older programs
	// cannot open it. Without it, that is engine.ErrOlderFormat.
	Upgrade bool

	// CacheBytes bounds the records kept in memory with what it takes to find them, but for what DirtyBytes
	// bounds. What records leave behind as they grow and go is given back when it is half as much again, so that the
	// process takes up to twice as much for them. Default 256 MiB.
	CacheBytes int64

	// DirtyBytes bounds the records in memory that the tables do not have yet, and
	// MaxUnflushed the changes that led to them: what has to be done again after a crash
	// before the store opens. Writers wait at either bound. Default: 1/32 of the memory that the process may have, from 64
	// to 512 MiB, and 1,000,000.
	DirtyBytes   int64
	MaxUnflushed int64

	// Retention says how long what is kept stays in force: see engine.Retention. Default: what it was when the store
	// was last opened with one.
	Retention engine.Retention

	// Now is the clock by which changes are numbered, and which bounds what expires: see
	// engine.Store. Default: time.Now.
	Now func() time.Time

	// Reserve is how many bytes have to be free on the disk for changes to be taken: looked at every second. Default 256
	// MiB; below zero it is not looked at.
	Reserve int64

	// Ballast is the size in bytes of a file in the folder that is deleted when a write finds no room, so that it does.
	// Default: none.
	Ballast int64

	// BlockCacheBytes is room for blocks of tables in memory, and MemTableBytes for each of up to four tables of recent log entries.
	// Blocks also take the room of those of the four that are not there: only the sum is a bound. Default: 1/32 of the
	// memory that the process may have, from 16 MiB to 1 GiB, and 1/128, from 8 to 64 MiB.
	BlockCacheBytes int64
	MemTableBytes   int64

	// Vouched makes Open refuse a folder, with engine.ErrCorrupt, where nothing says what it should hold: neither a list of sums, as a backup
	// has it, nor a guard of the manifest, as a store has it that was opened before.
	Vouched bool

	// FS is the file system. Default: the machine's.
	FS vfs.FS

	// Log gets what Pebble reports of errors. Default: discarded.
	Log *slog.Logger

	// Fatal is called when a write could not be made durable. The store cannot go
	// on, since it no longer knows what the disk holds; Fatal should end the
	// process and must not return. Default: os.Exit(1).
	Fatal func(error)

	// Damaged is called when a block that is read is not what was written. The error is engine.ErrCorrupt and
	// names the file. Whoever asked gets engine.ErrCorrupt, too. Default: Fatal, as a store that goes on with damaged tables
	// would stop somewhere else later.
	Damaged func(error)

	// Random fills the unguessable part of event ids, and with it decides who
	// is held out. Must be safe for concurrent use. Default: the system's.
	Random func() uint64

	volatile      bool                 // nothing has to survive: no write-ahead log, no sync
	recoverAtOnce int                  // changes that recovery holds in memory at a time
	up            func() time.Duration // time that went by, whatever Now says
}

// What Options are unless they say otherwise.
const (
	DefaultCacheBytes   = 256 << 20
	DefaultMaxUnflushed = 1_000_000
)

// memTables is how many tables of recent writes, which are those to the log, may wait to be sorted into the store.
const memTables = 4

// Store is an engine.Store on Pebble. It is safe for concurrent use.
type Store struct {
	db            *pebble.DB
	lock          *pebble.Lock // on the folder; outlives db
	opts          Options
	tableOptions  sstable.WriterOptions
	readerOptions sstable.ReaderOptions
	fs            vfs.FS // Options.FS, which gives the ballast up when it is full
	dir           string
	aside         string // folder of tables on their way into the store
	guard         *guard

	shards    [shardCount]shard
	guesses   [hashing.Kinds]guess // of records that are not in memory
	flush     *flusher
	txs       sync.Pool // of *tx
	lastSeq   atomic.Uint64
	late      atomic.Uint64
	stalls    atomic.Uint64 // writers that had to wait for a flush
	waits     waits         // for syncs
	manners   manners       // of flushes and compactions
	logged    progress
	syncs     pulse         // of waits
	applies   pulse         // of logged
	journaled atomic.Uint64 // number of the newest effect in the journal, 0 for none
	watermark atomic.Uint64 // as it is on the disk, or was before the flush under way
	upgraded  uint32        // the format that Open replaced, 0 for none
	unlinked  uint64        // events up to this one may not all be linked: see eraseEvents; set by Open

	clock   clock
	numbers clock        // of changes: believes a clock that went ahead while the store was closed, up to longestStop
	trims   sync.RWMutex // held for reading while an event is read and written anew, for writing while the log is trimmed
	once    sync.RWMutex // held for reading while an idempotency entry is committed, for writing while some are swept
	sweeper sweeper
	space   space
	quit    chan struct{} // closed: stop what goes on beside
	beside  sync.WaitGroup

	calls calls

	lists    listNames
	forwards forwards

	policies sync.Mutex    // held while a policy is adopted
	backups  chan struct{} // holds one during a backup
}

var _ engine.Store = (*Store)(nil)

// Open opens the store in a folder. Besides errors of the file system it
// returns engine.ErrNotAStore, ErrLocked, ErrNewerFormat, ErrWrongKeyring and
// ErrCorrupt, wrapped.
func Open(dir string, opts Options) (*Store, error) {
	if len(opts.Keys) == 0 {
		return nil, errors.New("pebblestore: Options.Keys is empty; pass the keyring's KeyChecks")
	}
	s := &Store{opts: opts.withDefaults(), calls: calls{last: make(chan struct{}, 1)}, backups: make(chan struct{}, 1)}
	s.clock.wall, s.clock.up = s.opts.Now, s.opts.up
	s.numbers.wall, s.numbers.up = s.opts.Now, s.opts.up
	s.space.s, s.quit = s, make(chan struct{})
	s.txs.New = func() any { return newTx(s) }
	s.flush = newFlusher(s)
	for i := range s.shards {
		s.shards[i].budget = s.opts.CacheBytes / shardCount
	}
	if err := s.openDB(dir); err != nil {
		return nil, err
	}
	if err := errors.Join(s.openMeta(), s.openAside(dir)); err != nil {
		return nil, errors.Join(err, s.closeDB())
	}
	if err := errors.Join(s.guard.renew(), s.resume()); err != nil {
		return nil, errors.Join(err, s.closeDB())
	}
	go s.flush.run()
	s.space.look()
	s.beside.Go(func() { s.space.watch(s.quit) })
	return s, nil
}

// OpenMemory opens a new store that lives in memory and is gone when closed.
func OpenMemory(opts Options) (*Store, error) {
	opts.FS, opts.Create, opts.volatile = vfs.NewMem(), true, true
	return Open("store", opts)
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MaxUnflushed == 0 {
		o.MaxUnflushed = DefaultMaxUnflushed
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.up == nil {
		opened := time.Now()
		o.up = func() time.Duration { return time.Since(opened) }
	}
	usual := sizesFor(machineMemory())
	if o.BlockCacheBytes == 0 {
		o.BlockCacheBytes = usual.blockCache
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = usual.memTable
	}
	if o.DirtyBytes == 0 {
		o.DirtyBytes = usual.dirty
	}
	if o.recoverAtOnce == 0 {
		o.recoverAtOnce = recoverAtOnce(o.DirtyBytes)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	o.FS = markerFS{o.FS}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		o.Fatal = func(error) { os.Exit(1) }
	}
	if o.Random == nil {
		o.Random = systemRandom
	}
	return o
}

func systemRandom() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends when the system has no randomness
	return binary.BigEndian.Uint64(b[:])
}

func (s *Store) openDB(dir string) error {
	var err error
	if s.lock, err = lockFolder(dir, &s.opts); err != nil {
		return err
	}
	s.dir = dir
	s.space.begin(dir)
	s.fs = politeFS{s.space.fs(), &s.manners}
	s.guard = newGuard(s.fs, dir)
	if err = errors.Join(s.vouched(), checkSums(s.fs, dir), s.guard.check(), checkLogs(s.fs, dir)); err == nil {
		err = dropSums(s.fs, dir)
	}
	if err != nil {
		return errors.Join(err, s.lock.Close())
	}
	cache := pebble.NewCache(s.cacheSize())
	defer cache.Unref()
	o := s.pebbleOptions(cache)
	if s.db, err = pebble.Open(dir, o); err != nil {
		return errors.Join(explainOpen(err), s.lock.Close())
	}
	o.EnsureDefaults()
	s.readerOptions = o.MakeReaderOptions()
	s.tableOptions = o.MakeWriterOptions(0, s.db.TableFormat())
	return nil
}

// cacheSize is how large Pebble's cache has to be. Pebble takes the memory of memtables out
// of it: without room for them, no block would ever stay.
func (s *Store) cacheSize() int64 { return s.opts.BlockCacheBytes + memTables*s.opts.MemTableBytes }

func (s *Store) closeDB() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// lockFolder takes the folder for this process, and makes it first where the
// options say so.
func lockFolder(dir string, o *Options) (*pebble.Lock, error) {
	if o.Create {
		if err := o.FS.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	} else if _, err := o.FS.Stat(dir); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrNotAStore, err)
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		if os.IsPermission(err) {
			return nil, err
		}
		return nil, engine.ErrLocked
	}
	return lock, nil
}

func explainOpen(err error) error {
	switch {
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return engine.ErrNotAStore
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	return err
}

// pebbleOptions are sized for records of a hundred bytes, which come in sorted tables, and
// log entries of a few hundred.
func (s *Store) pebbleOptions(cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		Cache:                       cache,
		FS:                          s.fs,
		Lock:                        s.lock,
		ErrorIfNotExists:            !s.opts.Create,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                uint64(s.opts.MemTableBytes), //nolint:gosec // positive
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      pebbleLog{s},
		EventListener:               (&background{s: s}).listener(),
		DisableWAL:                  s.opts.volatile,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	return o
}

// damage reports a block that is not what was written.
func (s *Store) damage(info pebble.DataCorruptionInfo) {
	err := fmt.Errorf("%w: file %s", engine.ErrCorrupt, filepath.Base(info.Path))
	if s.opts.Damaged == nil {
		s.fail(err)
	}
	s.opts.Damaged(err)
}

// pebbleLog hands Pebble's errors to the log and makes its fatal ones ours.
// What it reports of ordinary work is dropped: it names keys.
type pebbleLog struct{ s *Store }

func (pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.s.opts.Log.Error("pebble", "error", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf(format, args...))
}

// fail ends the process: a write of unknown fate must not be answered, nor
// built upon.
func (s *Store) fail(err error) {
	s.opts.Log.Error("the store cannot write and stops the process", "error", err)
	s.opts.Fatal(err)
	panic("pebblestore: Options.Fatal returned")
}

// Close waits for calls under way, flushes, and unlocks the folder. A second
// Close returns engine.ErrClosed.
func (s *Store) Close() error {
	if !s.calls.close() {
		return engine.ErrClosed
	}
	s.flush.stop()
	close(s.quit)
	s.beside.Wait()
	var err error
	if !s.opts.volatile && s.flush.since.Load() > 0 {
		err = s.flush.flush(s.lastSeq.Load)
	}
	if !s.opts.volatile {
		err = errors.Join(err, (&sealer{s: s}).finish())
	}
	err = errors.Join(err, s.db.Close())
	if err == nil && !s.opts.volatile {
		err = s.guard.renew() // Pebble may have written tables since, until it was closed
	}
	return errors.Join(err, s.lock.Close())
}

// LateEvents returns how many events since opening were too old for any
// window and entered only the totals.
func (s *Store) LateEvents() uint64 { return s.late.Load() }

// Stalls returns how many calls since opening had to wait for a flush, because as much was
// unflushed as Options allow.
func (s *Store) Stalls() uint64 { return s.stalls.Load() }

// nextSeq numbers a change, whose subjects are locked. Numbers strictly increase, whatever
// the clock does, and are times no further ahead than it is believed: the log is given up by its numbers.
func (s *Store) nextSeq() record.Seq {
	now := uint64(max(s.numbers.bound(s.opts.Now().UnixMicro()), 1))
	for {
		last := s.lastSeq.Load()
		next := max(now, last+1)
		if s.lastSeq.CompareAndSwap(last, next) {
			return record.Seq(next)
		}
	}
}
