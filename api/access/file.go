package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

// The file of keys is JSON, of which nothing unknown is accepted.
type file struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Keys    []Key  `json:"keys"`
}

const (
	fileFormat  = "ringfence-apikeys"
	fileVersion = 1
	maxFile     = 4 << 20
)

// FileError says what is wrong with a file of keys, never with any of its contents.
type FileError struct{ Path, Cause, Hint string }

// Error returns place, cause and hint in one line.
func (e *FileError) Error() string {
	return "keys of callers, " + e.Path + ": " + e.Cause + "; " + e.Hint
}

// Load reads a file of keys, which nobody but its owner may use. A missing file is os.ErrNotExist to
// errors.Is.
func Load(path string) ([]Key, error) {
	b, err := hashing.ReadSecret(path, maxFile)
	var secret *hashing.KeyringError
	if errors.As(err, &secret) {
		return nil, &FileError{path, secret.Cause, secret.Hint}
	}
	if err != nil {
		return nil, err
	}
	return parse(path, b)
}

func parse(path string, b []byte) ([]Key, error) {
	const restore = "restore it from its backup, or remove it and make new keys"
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f file
	err := d.Decode(&f)
	var terms *TermsError
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more behind its end")
		}
	}
	switch {
	case errors.As(err, &terms):
		return nil, &FileError{path, terms.Field + ": " + terms.Cause, terms.Hint}
	case err != nil:
		return nil, &FileError{path, "not a file of keys, or cut short", restore} // encoding/json quotes what it read
	case f.Format != fileFormat || f.Version != fileVersion:
		return nil, &FileError{path, "a format or version that this program does not know", "use the program that wrote it, or a newer one"}
	case len(f.Keys) > MaxKeys:
		return nil, &FileError{path, fmt.Sprintf("more than %d keys", MaxKeys), "remove revoked ones"}
	}
	seen := map[string]bool{}
	for i := range f.Keys {
		err := f.Keys[i].check()
		if errors.As(err, &terms) {
			return nil, &FileError{path, fmt.Sprintf("key %d: %s: %s", i, terms.Field, terms.Cause), terms.Hint}
		}
		if seen[f.Keys[i].ID] {
			return nil, &FileError{path, fmt.Sprintf("key %d: an id that is taken", i), restore}
		}
		seen[f.Keys[i].ID] = true
	}
	return f.Keys, nil
}

// Change replaces a file of keys, or begins one, with what change makes of its keys. Readers see the file of
// before or the new one, whole; it is on the disk when Change returns. Two changes at a time do
// not lose one another: the second is refused.
func Change(path string, change func([]Key) ([]Key, error)) error {
	err := hashing.ReplaceSecret(path, func() ([]byte, error) {
		keys, err := Load(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if keys, err = change(keys); err != nil {
			return nil, err
		}
		b, err := json.MarshalIndent(file{fileFormat, fileVersion, keys}, "", "  ")
		if err != nil {
			return nil, err
		}
		_, err = parse(path, b) // what is written can be read
		return append(b, '\n'), err
	})
	if errors.Is(err, hashing.ErrChanging) {
		return &FileError{path + ".new", "another command is changing the keys, or was stopped in the middle", "if none is running, remove this file"}
	}
	return err
}

// ErrNoKey is an id that no live key has.
var ErrNoKey = errors.New("no live key has this id; see: ringfence apikeys ls")

// Revoke marks a key as revoked. It stays in the file, so that the audit can name it.
func Revoke(path, id string, now time.Time) error {
	return Change(path, func(keys []Key) ([]Key, error) {
		for i := range keys {
			if keys[i].ID == id && keys[i].Live() {
				keys[i].Revoked = now.UTC().Truncate(time.Second)
				return keys, nil
			}
		}
		return nil, ErrNoKey
	})
}

// Add puts a key into the file.
func Add(path string, k Key) error {
	return Change(path, func(keys []Key) ([]Key, error) { return append(keys, k), nil })
}
