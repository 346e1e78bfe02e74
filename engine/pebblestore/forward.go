package pebblestore

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// forwards knows which keys have subjects that were moved to another key, so that nobody looks for
// a forward where there can be none. The key ids of a chain of forwards only grow, so every chain ends.
type forwards struct {
	mu   sync.Mutex // held to add a key
	keys atomic.Pointer[map[hashing.KeyID]bool]
}

func (f *forwards) has(key hashing.KeyID) bool {
	keys := f.keys.Load()
	return keys != nil && (*keys)[key]
}

func (f *forwards) add(key hashing.KeyID) {
	if f.has(key) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := map[hashing.KeyID]bool{key: true}
	if keys := f.keys.Load(); keys != nil {
		maps.Copy(next, *keys)
	}
	f.keys.Store(&next)
}

func appendForwardKey(dst []byte, s hashing.Subject) []byte {
	return s.Append(append(dst, tableForward))
}

func appendBackKey(dst []byte, to, from hashing.Subject) []byte {
	return from.Append(to.Append(append(dst, tableBack)))
}

func appendForward(dst []byte, to hashing.Subject, link hashing.LinkTag) []byte {
	return append(to.Append(dst), link[:]...)
}

func parseForward(b []byte) (to hashing.Subject, link hashing.LinkTag, err error) {
	if len(b) != hashing.SubjectSize+len(link) {
		return to, link, fmt.Errorf("%w: forward", engine.ErrCorrupt)
	}
	to, ok := hashing.SubjectFromBytes(b[:hashing.SubjectSize])
	if !ok {
		return to, link, fmt.Errorf("%w: forward", engine.ErrCorrupt)
	}
	return to, hashing.LinkTag(b[hashing.SubjectSize:]), nil
}

// loadForwards finds out which keys have forwards: a look or two for each kind and key.
func (s *Store) loadForwards() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableForward}, UpperBound: []byte{tableForward + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		from, known := hashing.SubjectFromBytes(it.Key()[1:])
		if !known {
			return errors.Join(fmt.Errorf("%w: key of a forward", engine.ErrCorrupt), it.Close())
		}
		s.forwards.add(from.Key)
		ok = it.SeekGE(after(it.Key()[:1+1+2])) // table, kind, key id
	}
	return errors.Join(it.Error(), it.Close())
}

// follow makes of subjects what they are by now, and of the link tag of an account among them, if link is given, that of
// the account. It reports whether any had been moved. The answer holds as long as the caller has locked
// the subjects, as they are after the call that reports that none had.
func (s *Store) follow(subjects []hashing.Subject, link *hashing.LinkTag) (moved bool, err error) {
	if s.forwards.keys.Load() == nil {
		return false, nil
	}
	for i := range subjects {
		for {
			to, tag, err := s.forward(subjects[i])
			if err != nil {
				return moved, err
			}
			if !to.Given() {
				break
			}
			if link != nil && to.Kind == hashing.Account {
				*link = tag
			}
			subjects[i], moved = to, true
		}
	}
	return moved, nil
}

// forward returns where a subject was moved, and the link tag of an account there; the zero Subject when it was not.
func (s *Store) forward(from hashing.Subject) (to hashing.Subject, link hashing.LinkTag, err error) {
	if !from.Given() || !s.forwards.has(from.Key) {
		return to, link, nil
	}
	var key [1 + hashing.SubjectSize]byte
	b, err := s.get(appendForwardKey(key[:0], from))
	if err != nil || b == nil {
		return to, link, err
	}
	to, link, err = parseForward(b)
	if err != nil || to.Key <= from.Key {
		return hashing.Subject{}, link, errors.Join(fmt.Errorf("%w: forward", engine.ErrCorrupt), err)
	}
	return to, link, nil
}

// follow goes on with the step on the subjects that those given are by now. Nothing may be loaded yet, and nobody
// else locked.
func (t *tx) follow(subjects *hashing.Subjects, link *hashing.LinkTag) error {
	return t.followTo(subjects[:], link)
}

// followOne is follow for a step on one subject.
func (t *tx) followOne(s *hashing.Subject) error {
	if t.s.forwards.keys.Load() == nil {
		return nil
	}
	one := []hashing.Subject{*s}
	err := t.followTo(one, nil)
	*s = one[0]
	return err
}

func (t *tx) followTo(subjects []hashing.Subject, link *hashing.LinkTag) error {
	for {
		moved, err := t.s.follow(subjects, link)
		if err != nil || !moved {
			return err
		}
		t.unlock()
		t.lock(subjects)
	}
}

// followEntry names the subjects of an event as they are by now.
func (s *Store) followEntry(e *record.Entry) error {
	_, err := s.follow(e.Subjects[:], &e.Link)
	return err
}
