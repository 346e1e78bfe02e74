package pebblestore

import (
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// power is a file system in memory whose power can be cut between any two operations.
//
// vfs.MemFS promises that of itself, but takes two locks in one order in Sync and in the other in Link: a
// CrashClone that waits while both are under way waits for ever (Pebble v2.1.7). So each
// operation that changes something holds a gate, and a cut waits until none does.
type power struct {
	vfs.FS
	gate *sync.RWMutex
}

func newPower() *power { return &power{FS: vfs.NewCrashableMem(), gate: new(sync.RWMutex)} }

// cut returns what is left: what was synced, and a share in percent of what was not.
func (p *power) cut(keep int, random *rand.Rand) *power {
	p.gate.Lock()
	defer p.gate.Unlock()
	left := p.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: random})
	return &power{FS: left, gate: new(sync.RWMutex)}
}

func (p *power) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &poweredFile{f, p.gate}, nil
}

func (p *power) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.file(p.FS.Create(name, c))
}

func (p *power) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.file(p.FS.OpenReadWrite(name, c, opts...))
}

func (p *power) OpenDir(name string) (vfs.File, error) { return p.file(p.FS.OpenDir(name)) }

func (p *power) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.file(p.FS.ReuseForWrite(from, to, c))
}

func (p *power) Link(from, to string) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.Link(from, to)
}

func (p *power) Rename(from, to string) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.Rename(from, to)
}

func (p *power) Remove(name string) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.Remove(name)
}

func (p *power) RemoveAll(name string) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.RemoveAll(name)
}

func (p *power) MkdirAll(dir string, mode os.FileMode) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.MkdirAll(dir, mode)
}

func (p *power) Lock(name string) (io.Closer, error) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.FS.Lock(name)
}

// poweredFile is a file, or a folder, of a power.
type poweredFile struct {
	vfs.File
	gate *sync.RWMutex
}

func (f *poweredFile) Write(b []byte) (int, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.Write(b)
}

func (f *poweredFile) WriteAt(b []byte, at int64) (int, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.WriteAt(b, at)
}

func (f *poweredFile) Sync() error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.Sync()
}

func (f *poweredFile) SyncData() error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.SyncData()
}

func (f *poweredFile) SyncTo(length int64) (bool, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.SyncTo(length)
}
