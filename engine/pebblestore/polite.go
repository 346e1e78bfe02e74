package pebblestore

import (
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// manners are those of work that lets others go first.
type manners struct{ until atomic.Pointer[time.Time] } // when it may give way again, nil for now

// longTurn is a turn of others that was no service to callers: dozens of them together take less, work that leaves a processor only when it
// has to takes 10 ms.
const longTurn = 5 * time.Millisecond

// giveWay calls turn, which lets others work. When that took long, it does not do so again for as long: where other work fills the processors, nothing
// would get done here.
func (m *manners) giveWay(turn func()) {
	start := time.Now()
	if until := m.until.Load(); until != nil && start.Before(*until) {
		return
	}
	turn()
	if took := time.Since(start); took > longTurn {
		until := start.Add(2 * took)
		m.until.Store(&until)
	}
}

// politeFS is a file system on which whoever writes a table gives way to others before each block.
//
// A flush or a compaction hands blocks to a goroutine that writes them. Two goroutines that wake each other in turns share one
// slice of time (Go 1.26), and keep a processor for 10 ms before anybody else in its queue gets a turn. With as many of these
// pairs as there are processors, all callers waited as long: for one slice after the other, as long as the tables took.
type politeFS struct {
	vfs.FS
	manners *manners
}

// Create makes a file, a polite one for a table.
func (fs politeFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".sst") {
		f = politeFile{f, fs.manners}
	}
	return f, err
}

// Unwrap returns the file system beneath, as Pebble looks for it.
func (fs politeFS) Unwrap() vfs.FS { return fs.FS }

type politeFile struct {
	vfs.File
	manners *manners
}

func (f politeFile) Write(p []byte) (int, error) {
	f.manners.giveWay(runtime.Gosched)
	return f.File.Write(p)
}
