package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// checkKeys holds a keyring against the one the store was made with. A key
// that the store has not met yet is added, provided that it knows another one. A keyring without a key that
// the store has met is refused: it is a copy from before a rotation, and would begin from zero what has moved to that key since.
func (s *Store) checkKeys(keys []hashing.KeyCheck) error {
	if err := s.checkMet(keys); err != nil {
		return err
	}
	var unknown []hashing.KeyCheck
	live := 0
	for _, k := range keys {
		if k.Destroyed {
			continue
		}
		live++
		stored, err := s.get(appendCheckKey(nil, k.Key))
		switch {
		case err != nil:
			return err
		case stored == nil:
			unknown = append(unknown, k)
		case !bytes.Equal(stored, k.Value[:]):
			return engine.ErrWrongKeyring
		}
	}
	if len(unknown) == live {
		return engine.ErrWrongKeyring
	}
	for _, k := range unknown {
		if err := s.db.Set(appendCheckKey(nil, k.Key), k.Value[:], s.writeOptions()); err != nil {
			return err
		}
	}
	return nil
}

// checkMet reports engine.ErrWrongKeyring when a keyring has not heard of a key that the store has met.
func (s *Store) checkMet(keys []hashing.KeyCheck) error {
	prefix := appendCheckKey(nil, 0)
	prefix = prefix[:len(prefix)-2]
	return s.eachKey(context.Background(), prefix, func(key, _ []byte) error {
		id := key[len(prefix):]
		if len(id) != 2 {
			return fmt.Errorf("%w: key check", engine.ErrCorrupt)
		}
		met := hashing.KeyID(binary.BigEndian.Uint16(id))
		if !slices.ContainsFunc(keys, func(k hashing.KeyCheck) bool { return k.Key == met }) {
			return engine.ErrWrongKeyring
		}
		return nil
	})
}

// eachKey calls fn with every key of the tables that begins with a prefix, and its value, both only until fn returns.
func (s *Store) eachKey(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if err = ctx.Err(); err == nil {
			err = fn(it.Key(), it.Value())
		}
	}
	return errors.Join(err, explainRead(it.Error()), it.Close())
}

// isDestroyed reports whether the keyring says that a key is destroyed.
func (s *Store) isDestroyed(key hashing.KeyID) bool {
	return slices.ContainsFunc(s.opts.Keys, func(k hashing.KeyCheck) bool { return k.Destroyed && k.Key == key })
}

// withoutDestroyed leaves out subjects whose key is destroyed: an event still names them, but nobody may count for them any more.
func (s *Store) withoutDestroyed(subjects *hashing.Subjects) {
	for i := range subjects {
		if s.isDestroyed(subjects[i].Key) {
			subjects[i] = hashing.Subject{}
		}
	}
}

// Rekey makes the keys of a keyring known to a store that is open, as Open does: one that was rotated since. It returns
// engine.ErrWrongKeyring for any other. Whoever names subjects goes on with those under the new keys, and only
// when nobody works on one under the keys of before any longer: see Migrate.
func (s *Store) Rekey(ctx context.Context, keys []hashing.KeyCheck) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return s.checkKeys(keys)
}

// KeyUse returns how many subjects have a record under each key. It brings the records in memory to the tables, and reads
// all keys of theirs, which takes about a second for a few million.
func (s *Store) KeyUse(ctx context.Context) (map[hashing.KeyID]uint64, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.keyUse(ctx)
}

func (s *Store) keyUse(ctx context.Context) (map[hashing.KeyID]uint64, error) {
	if err := s.flushAll(); err != nil {
		return nil, err
	}
	use := map[hashing.KeyID]uint64{}
	return use, s.eachKey(ctx, []byte{tableSubject}, func(key, _ []byte) error {
		subject, ok := hashing.SubjectFromBytes(key[1:])
		if !ok {
			return fmt.Errorf("%w: key of a subject record", engine.ErrCorrupt)
		}
		use[subject.Key]++
		return nil
	})
}

// KeysInUse says that keys cannot be destroyed, since subjects have records under them.
type KeysInUse struct {
	Subjects uint64
}

// Error says what is to be done.
func (e *KeysInUse) Error() string {
	return fmt.Sprintf("%d subjects have not moved to a newer key", e.Subjects)
}

// Destroyed is what the destruction of keys took with it.
type Destroyed struct {
	Subjects uint64   `json:"subjects"` // records that had not moved to a newer key
	Lists    []string `json:"lists"`    // names of those that entries were deleted from: they have to be imported again
}

// Destroy deletes all that a store, which nobody has open, holds under some keys: records, entries on lists, and what leads
// from subjects of these keys to where they were moved. Events stay until they expire; nobody can tell any more of
// whom they are. Unless it is forced, a *KeysInUse is returned when there are records, and nothing
// is deleted. It may be stopped at any time, and begun again. See Rewrite for when the bytes are gone.
func Destroy(ctx context.Context, dir string, opts Options, keys []hashing.KeyID, force bool) (*Destroyed, error) {
	opts.Create = false
	s, err := Open(dir, opts)
	if err != nil {
		return nil, err
	}
	done, err := s.destroy(ctx, keys, force)
	return done, errors.Join(err, s.Close())
}

func (s *Store) destroy(ctx context.Context, keys []hashing.KeyID, force bool) (*Destroyed, error) {
	use, err := s.keyUse(ctx)
	if err != nil {
		return nil, err
	}
	done := &Destroyed{Lists: []string{}}
	for _, key := range keys {
		done.Subjects += use[key]
	}
	if done.Subjects > 0 && !force {
		return nil, &KeysInUse{done.Subjects}
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; there is nothing left to fail
	for _, key := range keys {
		for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
			for _, table := range []byte{tableSubject, tableForward, tableBack} {
				prefix := binary.BigEndian.AppendUint16([]byte{table, byte(kind)}, uint16(key))
				if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := errors.Join(s.destroyEntries(ctx, b, keys, done), s.destroyBacks(ctx, b, keys)); err != nil {
		return nil, err
	}
	return done, b.Commit(s.writeOptions())
}

// destroyEntries deletes the entries on lists of subjects under some keys.
func (s *Store) destroyEntries(ctx context.Context, b *pebble.Batch, keys []hashing.KeyID, done *Destroyed) error {
	return s.eachKey(ctx, []byte{tableEntries}, func(key, _ []byte) error {
		if len(key) < entriesPrefix {
			return fmt.Errorf("%w: list entry", engine.ErrCorrupt)
		}
		subject, ok := hashing.SubjectFromBytes(key[entriesPrefix:])
		if !ok || !slices.Contains(keys, subject.Key) {
			return nil
		}
		if name := s.lists.name(binary.BigEndian.Uint16(key[3:])); !slices.Contains(done.Lists, name) {
			done.Lists = append(done.Lists, name)
		}
		return b.Delete(bytes.Clone(key), nil)
	})
}

// destroyBacks deletes from newer names of phones what they were called under some keys.
func (s *Store) destroyBacks(ctx context.Context, b *pebble.Batch, keys []hashing.KeyID) error {
	return s.eachKey(ctx, []byte{tableBack}, func(key, _ []byte) error {
		from, ok := hashing.SubjectFromBytes(key[1+hashing.SubjectSize:])
		if !ok || !slices.Contains(keys, from.Key) {
			return nil
		}
		return b.Delete(bytes.Clone(key), nil)
	})
}
