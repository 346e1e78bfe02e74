package pebblestore

import (
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// politeFS is a file system on which whoever writes a table lets others work before each block.
//
// A flush or a compaction hands blocks to a goroutine that writes them. Two goroutines that wake each other in turns share one
// slice of time (Go 1.26), and keep a processor for 10 ms before anybody else in its queue gets a turn. With as many of these
// pairs as there are processors, all callers waited as long: for one slice after the other, as long as the tables took.
type politeFS struct{ vfs.FS }

// Create makes a file, a polite one for a table.
func (fs politeFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".sst") {
		f = politeFile{f}
	}
	return f, err
}

// Unwrap returns the file system beneath, as Pebble looks for it.
func (fs politeFS) Unwrap() vfs.FS { return fs.FS }

type politeFile struct{ vfs.File }

func (f politeFile) Write(p []byte) (int, error) {
	runtime.Gosched()
	return f.File.Write(p)
}
