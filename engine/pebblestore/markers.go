package pebblestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markerFS is a file system on which a marker never outlives a crash that the file it names does not.
//
// Pebble v2.1.7 makes a new manifest, makes the marker that points to it, and syncs the folder once for both. A power cut
// before that sync may leave either name: with the marker alone the store no longer opens. Here the folder
// is synced before a marker is made. Markers are made a few times per opening.
type markerFS struct{ vfs.FS }

// Create makes a file, a marker only behind everything else in its folder.
func (fs markerFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, c)
}

// Unwrap returns the file system beneath, as Pebble looks for it.
func (fs markerFS) Unwrap() vfs.FS { return fs.FS }
