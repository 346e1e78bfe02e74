package pebblestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// DefaultReserve is what Options.Reserve is unless it says otherwise: room for what lies in memory to be
// written, and for a compaction of it.
const DefaultReserve = 256 << 20

// spaceEvery is how often the free space is looked at.
const spaceEvery = time.Second

// space keeps a store from filling its disk up. Below the reserve it takes no changes, since a write that finds no
// room has an unknown fate and ends the process. Others may fill the disk between two looks; then the ballast, a file that is
// there to be deleted, lets the writes under way succeed, and also lets a store open on a full disk so that
// its reads are answered.
type space struct {
	s       *Store
	path    string // of the ballast
	full    atomic.Bool
	free    atomic.Uint64 // bytes, as of the last look
	mu      sync.Mutex    // held while the ballast is made or deleted
	ballast bool          // it is there; guarded by mu
}

// watch looks at the free space until quit is closed.
func (p *space) watch(quit <-chan struct{}) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			p.look()
		}
	}
}

// look refuses or takes changes by the space that is free now. A file system that cannot tell has enough.
func (p *space) look() {
	usage, err := p.s.opts.FS.GetDiskUsage(p.s.dir)
	if err != nil {
		return
	}
	p.free.Store(usage.AvailBytes)
	full := usage.AvailBytes < uint64(max(p.s.opts.Reserve, 0))
	if p.full.Swap(full) != full {
		p.s.opts.Log.Warn("free space on the disk of the store", "enough", !full, "bytes", usage.AvailBytes)
	}
	if room := p.s.opts.Reserve + 2*p.s.opts.Ballast; usage.AvailBytes > uint64(max(room, 0)) {
		if err := p.load(); err != nil {
			p.s.opts.Log.Warn("the ballast cannot be written", "error", err)
		}
	}
}

// load makes the ballast, where there is to be one. Its bytes are random: file systems may keep others for nothing.
func (p *space) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ballast || p.s.opts.Ballast <= 0 {
		return nil
	}
	file, err := p.s.opts.FS.Create(p.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	chunk := make([]byte, 1<<20)
	for n := int64(0); n < p.s.opts.Ballast && err == nil; n += int64(len(chunk)) {
		_, _ = random.Read(chunk) // never fails
		_, err = file.Write(chunk)
	}
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, p.s.opts.FS.Remove(p.path))
	}
	p.ballast = true
	return nil
}

// drop deletes the ballast, when a write found no room, and takes no more changes. All writes wait meanwhile.
func (p *space) drop() {
	p.full.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.s.opts.FS.Remove(p.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.s.opts.Log.Error("the ballast cannot be deleted", "error", err)
	}
	p.s.opts.Log.Error("the disk of the store is full", "ballast", p.ballast && err == nil)
	p.ballast = false
}

// fs returns the file system for Pebble.
func (p *space) fs() vfs.FS {
	if p.s.opts.Ballast <= 0 {
		return p.s.opts.FS
	}
	return vfs.OnDiskFull(p.s.opts.FS, p.drop)
}

// begin finds out whether an earlier run left the ballast.
func (p *space) begin(dir string) {
	p.path = p.s.opts.FS.PathJoin(dir, "ballast")
	info, err := p.s.opts.FS.Stat(p.path)
	p.ballast = err == nil && info.Size() >= p.s.opts.Ballast
}

// check refuses a change while the disk is nearly full.
func (s *Store) checkSpace() error {
	if s.space.full.Load() {
		return engine.ErrFull
	}
	return nil
}

// Full reports whether changes are refused because the disk is nearly full.
func (s *Store) Full() bool { return s.space.full.Load() }

// FreeBytes returns how much space was free on the disk of the store a second ago; 0 when the file system cannot
// tell.
func (s *Store) FreeBytes() uint64 { return s.space.free.Load() }

// FreeBytes returns how much space is free on the disk of a folder.
func FreeBytes(dir string) (uint64, error) {
	usage, err := vfs.Default.GetDiskUsage(dir)
	if err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return usage.AvailBytes, nil
}
