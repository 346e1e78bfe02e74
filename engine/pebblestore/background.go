package pebblestore

import (
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// maxBackgroundErrors is how often in a row Pebble's own flushes and compactions may fail. Pebble tries again at once and for
// ever: on a disk that takes nothing more, opening a store would never end.
const maxBackgroundErrors = 100

// background counts the failures of Pebble's work in the background, and stops the process when nothing succeeds any more.
type background struct {
	s      *Store
	failed atomic.Int64 // in a row
}

func (b *background) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: b.failure,
		DataCorruption:  b.s.damage,
		FlushEnd:        func(info pebble.FlushInfo) { b.ended(info.Err) },
		CompactionEnd:   func(info pebble.CompactionInfo) { b.ended(info.Err) },
	}
}

func (b *background) ended(err error) {
	if err == nil {
		b.failed.Store(0)
		b.s.guard.nudge()
	}
}

func (b *background) failure(err error) {
	if b.s.opts.Damaged != nil && pebble.IsCorruptionError(err) {
		return // somebody looks for all the damage there is, and was told
	}
	n := b.failed.Add(1)
	if n == 1 {
		b.s.opts.Log.Error("pebble", "error", err)
	}
	if n > maxBackgroundErrors {
		b.s.fail(fmt.Errorf("flushes and compactions failed %d times in a row: %w", n, err))
	}
}
