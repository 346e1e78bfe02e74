package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// Caller is a key that was shown, and what it has asked for.
type Caller struct {
	Key
	*Meter
}

// Ring holds the keys of a file and notices when the file is replaced. It is safe for
// concurrent use.
type Ring struct {
	path  string
	now   atomic.Pointer[table]
	mu    sync.Mutex        // one reload at a time
	meter map[string]*Meter // by id of the key, across reloads; guarded by mu
}

// table is one version of the file.
type table struct {
	info    os.FileInfo // nil: there is no file
	callers map[string]*Caller
	failed  os.FileInfo // a version that could not be read
}

// OpenRing reads the keys of a file. That there is none is no error: then nobody needs a key.
func OpenRing(path string) (*Ring, error) {
	r := &Ring{path: path, meter: map[string]*Meter{}}
	r.now.Store(&table{callers: map[string]*Caller{}})
	return r, r.Reload()
}

// Reload looks whether the file was replaced, and reads it then. It costs one look at the
// folder otherwise. When the new file is no good, the keys of before stay in force; the
// error comes once for each such file. So do they when the file is gone: that somebody could
// remove a file must not let everybody in.
func (r *Ring) Reload() error {
	info, err := os.Stat(r.path)
	t := r.now.Load()
	switch {
	case errors.Is(err, os.ErrNotExist):
		if t.info == nil || t.failed == gone {
			return nil
		}
		r.fail(gone)
		return errGone
	case err != nil:
		return err
	case same(info, t.info) || same(info, t.failed):
		return nil
	}
	return r.read(info)
}

var (
	gone    os.FileInfo = goneInfo{}
	errGone             = errors.New("the file of the keys for callers is gone; those it had stay in force until the server is started again")
)

// goneInfo stands for a file that is not there.
type goneInfo struct{ os.FileInfo }

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil || b == gone {
		return false
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (r *Ring) fail(info os.FileInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := *r.now.Load()
	t.failed = info
	r.now.Store(&t)
}

func (r *Ring) read(info os.FileInfo) error {
	keys, err := Load(r.path)
	if err != nil {
		r.fail(info)
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &table{info: info, callers: make(map[string]*Caller, len(keys))}
	for _, k := range keys {
		if r.meter[k.ID] == nil {
			r.meter[k.ID] = new(Meter)
		}
		t.callers[k.ID] = &Caller{k, r.meter[k.ID]}
	}
	r.now.Store(t)
	return nil
}

// Needed reports whether callers have to show a key: whether there is a file of keys, even if
// all of them are revoked.
func (r *Ring) Needed() bool { return r.now.Load().info != nil }

// Live returns how many keys are not revoked.
func (r *Ring) Live() int {
	n := 0
	for _, c := range r.now.Load().callers {
		if c.Live() {
			n++
		}
	}
	return n
}

// ErrDenied is a key that lets nobody in: an unknown one, one with another secret, or a
// revoked one. Which of them is nobody's business.
var ErrDenied = errors.New("no such key")

// dummy is compared with when an id is unknown.
var dummy [sha256.Size]byte

// Caller returns who shows a key. It is ErrMistyped for a text that is no key, and ErrDenied for a
// key that is not one of ours.
func (r *Ring) Caller(text string) (*Caller, error) {
	id, secret, err := split(text)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(secret[:])
	c := r.now.Load().callers[id]
	want := dummy[:]
	if c != nil {
		want = c.Hash
	}
	same := subtle.ConstantTimeCompare(hash[:], want) == 1
	if !same || c == nil || !c.Live() {
		return nil, ErrDenied
	}
	return c, nil
}
