package pebblestore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// SumsName is the file of a backup that lists the SHA-256 of every other one, as sha256sum writes and checks it.
//
// A backup does not change, so that all of it can be vouched for, tail of the log and manifest included. Open holds a folder with such a list
// against it before it touches anything; then it takes the list away, since the folder changes from there on, under a guard as every store.
const SumsName = "SHA256SUMS"

// writeSums lists the files of a folder, durably.
func writeSums(ctx context.Context, fs vfs.FS, dir string) error {
	names, err := summed(fs, dir)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, name := range names {
		sum, err := sumOf(ctx, fs, fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s  %s\n", sum, name)
	}
	f, err := fs.Create(fs.PathJoin(dir, SumsName), "ringfence-sums")
	if err != nil {
		return err
	}
	_, err = f.Write(list.Bytes())
	return errors.Join(err, f.Sync(), f.Close(), syncDir(fs, dir))
}

// checkSums returns engine.ErrCorrupt when a folder has a list of sums and is not what that says.
func checkSums(fs vfs.FS, dir string) error {
	list, err := readFile(fs, fs.PathJoin(dir, SumsName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := summed(fs, dir)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		want, name, _ := strings.Cut(lines.Text(), "  ")
		at, found := slices.BinarySearch(names, name)
		if !found {
			return fmt.Errorf("%w: %s lists a file that is not there", engine.ErrCorrupt, SumsName)
		}
		names = slices.Delete(names, at, at+1)
		sum, err := sumOf(context.Background(), fs, fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		if sum != want {
			return fmt.Errorf("%w: %s is not what %s says", engine.ErrCorrupt, name, SumsName)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s is not in %s", engine.ErrCorrupt, names[0], SumsName)
	}
	return nil
}

// vouched holds Options.Vouched.
func (s *Store) vouched() error {
	if !s.opts.Vouched {
		return nil
	}
	for _, name := range [...]string{SumsName, guardName} {
		if _, err := s.fs.Stat(s.fs.PathJoin(s.dir, name)); err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%w: it has neither %s nor a guard, so nothing says what it should hold", engine.ErrCorrupt, SumsName)
}

// dropSums takes the list away from a folder that is about to change.
func dropSums(fs vfs.FS, dir string) error {
	err := fs.Remove(fs.PathJoin(dir, SumsName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(fs, dir))
}

// summed returns the names of the files of a folder that a list of sums has, in order.
func summed(fs vfs.FS, dir string) (names []string, err error) {
	all, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, err
		}
		if !info.IsDir() && name != SumsName && name != "LOCK" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// sumOf returns the SHA-256 of a file in hexadecimal.
func sumOf(ctx context.Context, fs vfs.FS, path string) (string, error) {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.CopyN(h, f, 1<<20)
		}
	}
	if !errors.Is(err, io.EOF) {
		return "", errors.Join(err, f.Close())
	}
	return hex.EncodeToString(h.Sum(nil)), f.Close()
}
