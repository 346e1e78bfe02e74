package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

// job is work on a data folder that a running server can be asked to do, since a folder is open in one
// process at a time.
type job struct {
	Do     string `json:"do"`               // backup, verify, stats, compact, purge or keys; a server also knows rekey and labels
	Folder string `json:"folder,omitempty"` // of backup: a new data folder, absolute
	Before int64  `json:"before,omitempty"` // of purge: unix seconds
	Domain string `json:"domain,omitempty"` // of labels, which has a file behind it
	Source string `json:"source,omitempty"` // of labels
}

// errJob is a job that this version does not know.
var errJob = errors.New("the server does not know this job; it may be of another version")

// run does the job and returns what to print.
func (j job) run(ctx context.Context, s *pebblestore.Store) (any, error) {
	switch j.Do {
	case "backup":
		if !filepath.IsAbs(j.Folder) {
			return nil, errJob
		}
		return nil, s.Backup(ctx, filepath.Join(j.Folder, "store"))
	case "verify":
		v, err := s.Verify(ctx)
		if v == nil {
			return nil, err
		}
		return v, err
	case "stats":
		return s.Stats(ctx)
	case "compact":
		return nil, s.Compact(ctx)
	case "keys":
		return s.KeyUse(ctx)
	case "purge":
		found, err := s.Purge(ctx, j.Before)
		return purged{Purged: found}, err
	}
	return nil, errJob
}

// purged is what purge answers.
type purged struct {
	Purged bool `json:"purged"` // there was something to purge
}

// do does a job on the data folder: here, or in the server that has it open.
func (f *dataFlags) do(ctx context.Context, j job) (any, error) {
	if j.Do == "rewrite" {
		return nil, f.rewrite(ctx)
	}
	f.tolerant = j.Do == "verify"
	store, _, err := f.open(false, slog.New(slog.DiscardHandler))
	if errors.Is(err, engine.ErrLocked) {
		return f.askServer(ctx, j, nil)
	}
	if err != nil {
		return nil, err
	}
	answer, err := j.run(ctx, store)
	return answer, errors.Join(err, store.Close())
}

// askServer has the server that has the data folder open do a job, with a file behind it where the job takes one.
func (f *dataFlags) askServer(ctx context.Context, j job, file io.Reader) (any, error) {
	answer, err := askAdmin(ctx, f.data, j, file)
	if errors.Is(err, errNoAdmin) {
		return nil, fmt.Errorf("%w, and it takes no jobs: %w", engine.ErrLocked, err)
	}
	return answer, err
}
