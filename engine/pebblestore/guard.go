package pebblestore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/ringfence/ringfence/engine"
)

// guard notes how long the manifest is and what its checksum is, in a file beside it.
//
// The manifest says which tables belong to the store. Pebble takes the first line of it that does not match its checksum
// for its end: a flipped bit silently takes the tables behind it out of the store. The guard is renewed before the watermark rises, so that
// every table that the watermark speaks of is one that the guard speaks of, and when Pebble has written tables of its own.
// A store without a guard, or with one that is damaged itself or of an older manifest, opens unguarded.
type guard struct {
	fs  vfs.FS
	dir string

	wake chan struct{} // capacity 1: Pebble has written tables

	mu       sync.Mutex
	manifest string // that the rest speaks of; guarded by mu, as all of it
	size     int64
	sum      uint32
}

const guardName = "guard"

func newGuard(fs vfs.FS, dir string) *guard {
	return &guard{fs: fs, dir: dir, wake: make(chan struct{}, 1)}
}

func (g *guard) nudge() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// renew speaks of the manifest as it is now.
func (g *guard) renew() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, err := atomicfs.ReadMarker(g.fs, g.dir, "manifest")
	if err != nil {
		return err
	}
	if name != g.manifest {
		g.manifest, g.size, g.sum = name, 0, 0
	}
	before := g.size
	if err := g.extend(); err != nil {
		return err
	}
	if g.size == before {
		return nil
	}
	return g.write()
}

// extend takes what was added to the manifest into the checksum, once it is durable: a guard must not speak of more than a
// power cut leaves.
func (g *guard) extend() error {
	f, err := g.fs.Open(g.fs.PathJoin(g.dir, g.manifest))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	added := make([]byte, max(info.Size()-g.size, 0))
	if _, err := f.ReadAt(added, g.size); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	g.sum = crc32.Update(g.sum, castagnoli, added)
	g.size += int64(len(added))
	return nil
}

// write replaces the file in one step.
func (g *guard) write() error {
	path := g.fs.PathJoin(g.dir, guardName)
	f, err := g.fs.Create(path+".new", "ringfence-guard")
	if err != nil {
		return err
	}
	line := guardLine(g.manifest, g.size, g.sum)
	_, err = io.WriteString(f, line)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := g.fs.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(g.fs, g.dir)
}

// guardLine has a checksum of its own, so that a damaged guard is none.
func guardLine(manifest string, size int64, sum uint32) string {
	line := fmt.Sprintf("%s %d %08x", manifest, size, sum)
	return fmt.Sprintf("%s %08x\n", line, crc32.Checksum([]byte(line), castagnoli))
}

// check returns engine.ErrCorrupt when the manifest is not what the guard says. Nothing in the folder was touched then.
func (g *guard) check() error {
	said, err := readFile(g.fs, g.fs.PathJoin(g.dir, guardName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var name string
	var size int64
	var sum, own uint32
	if _, err := fmt.Sscanf(string(said), "%s %d %x %x", &name, &size, &sum, &own); err != nil || guardLine(name, size, sum) != string(said) {
		return nil
	}
	current, err := atomicfs.ReadMarker(g.fs, g.dir, "manifest")
	if err != nil || current != name {
		return err
	}
	manifest, err := readFile(g.fs, g.fs.PathJoin(g.dir, name))
	if err != nil {
		return err
	}
	if int64(len(manifest)) < size || crc32.Checksum(manifest[:size], castagnoli) != sum {
		return fmt.Errorf("%w: %s is not what was written", engine.ErrCorrupt, name)
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
