package pebblestore

import (
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// power is a file system in memory whose power can be cut between any two operations.
//
// vfs.MemFS promises that of itself, but takes two locks in one order in Sync and in the other in Link: a
// CrashClone that waits while both are under way waits for ever (Pebble v2.1.7). So each
// operation that changes something holds a gate, and a cut waits until none does.
//
// A trap springs right before an operation of its choice, while no other is under way.
type power struct {
	vfs.FS
	gate  *sync.RWMutex
	trap  *atomic.Pointer[trap]
	lying *atomic.Bool // syncs do nothing and say they did: what the tests here have to notice
}

// trap waits for an operation.
type trap struct {
	skip   atomic.Int64               // how many of those that match pass by
	match  func(op, name string) bool // may keep state: it is called by one operation at a time
	sprung func()                     // with the gate closed: of the file system, only left may be called

	mu sync.Mutex // held by match
}

func newPower() *power { return powered(vfs.NewCrashableMem()) }

func powered(fs vfs.FS) *power {
	return &power{FS: fs, gate: new(sync.RWMutex), trap: new(atomic.Pointer[trap]), lying: new(atomic.Bool)}
}

// cut returns what is left: what was synced, and a share in percent of what was not.
func (p *power) cut(keep int, random *rand.Rand) *power {
	p.gate.Lock()
	defer p.gate.Unlock()
	return p.left(keep, random)
}

// left is cut for whoever holds the gate.
func (p *power) left(keep int, random *rand.Rand) *power {
	return powered(p.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: random}))
}

// step begins an operation; what it returns ends it.
func (p *power) step(op, name string) (done func()) {
	if t := p.trap.Load(); t != nil && t.matches(op, name) {
		p.gate.Lock()
		if p.trap.CompareAndSwap(t, nil) {
			t.sprung()
		}
		p.gate.Unlock()
	}
	p.gate.RLock()
	return p.gate.RUnlock
}

// matches reports whether a trap springs, which it does once.
func (t *trap) matches(op, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.match(op, name) && t.skip.Add(-1) == -1
}

func (p *power) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &poweredFile{f, p, name}, nil
}

func (p *power) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer p.step("create", name)()
	f, err := p.FS.Create(name, c)
	return p.file(name, f, err)
}

func (p *power) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	defer p.step("open", name)()
	f, err := p.FS.OpenReadWrite(name, c, opts...)
	return p.file(name, f, err)
}

func (p *power) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.Open(name, opts...)
	return p.file(name, f, err)
}

func (p *power) OpenDir(name string) (vfs.File, error) {
	f, err := p.FS.OpenDir(name)
	return p.file(name, f, err)
}

func (p *power) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer p.step("reuse", to)()
	f, err := p.FS.ReuseForWrite(from, to, c)
	return p.file(to, f, err)
}

func (p *power) Link(from, to string) error {
	defer p.step("link", to)()
	return p.FS.Link(from, to)
}

func (p *power) Rename(from, to string) error {
	defer p.step("rename", to)()
	return p.FS.Rename(from, to)
}

func (p *power) Remove(name string) error {
	defer p.step("remove", name)()
	return p.FS.Remove(name)
}

func (p *power) RemoveAll(name string) error {
	defer p.step("remove", name)()
	return p.FS.RemoveAll(name)
}

func (p *power) MkdirAll(dir string, mode os.FileMode) error {
	defer p.step("mkdir", dir)()
	return p.FS.MkdirAll(dir, mode)
}

func (p *power) Lock(name string) (io.Closer, error) {
	defer p.step("lock", name)()
	return p.FS.Lock(name)
}

// poweredFile is a file, or a folder, of a power.
type poweredFile struct {
	vfs.File
	p    *power
	name string
}

func (f *poweredFile) Write(b []byte) (int, error) {
	defer f.p.step("write", f.name)()
	return f.File.Write(b)
}

func (f *poweredFile) WriteAt(b []byte, at int64) (int, error) {
	defer f.p.step("write", f.name)()
	return f.File.WriteAt(b, at)
}

func (f *poweredFile) Sync() error {
	defer f.p.step("sync", f.name)()
	if f.p.lying.Load() {
		return nil
	}
	return f.File.Sync()
}

func (f *poweredFile) SyncData() error {
	defer f.p.step("sync", f.name)()
	if f.p.lying.Load() {
		return nil
	}
	return f.File.SyncData()
}

func (f *poweredFile) SyncTo(length int64) (bool, error) {
	defer f.p.step("sync", f.name)()
	if f.p.lying.Load() {
		return true, nil
	}
	return f.File.SyncTo(length)
}
