package hashing

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Rotate returns a keyring with a new primary key, in every domain. The key that was primary is readable from now on:
// what was stored under it is found, and moves to the new one when its number is next seen. random is
// crypto/rand.Reader but in tests.
func (k *Keyring) Rotate(random io.Reader, now time.Time) (*Keyring, error) {
	next := k.p.v.clone()
	fresh := ringKey{ID: 1, Scheme: SchemeHMAC, Created: now.UTC().Truncate(time.Second), State: Primary, Secret: make([]byte, keySize)}
	if _, err := io.ReadFull(random, fresh.Secret); err != nil {
		return nil, fmt.Errorf("no randomness for a new key: %w", err)
	}
	for i := range next.Keys {
		key := &next.Keys[i]
		fresh.ID = max(fresh.ID, key.ID+1)
		if key.State == Primary {
			key.State = Readable
		}
	}
	next.Keys = append(next.Keys, fresh)
	for i := range next.Domains {
		pair := ringPairing{ID: next.freeKeyID(), Key: fresh.ID} // higher than any before, so that subjects only ever move to a higher one
		next.Domains[i].SubjectKeys = append(next.Domains[i].SubjectKeys, pair)
	}
	if err := next.check(); err != nil { // also when ids have run out, since the next one is 0 then
		return nil, err
	}
	return &Keyring{hide(next)}, nil
}

// Destroy returns a keyring without the secret of an older key: what is stored under it cannot be read by anybody any more, and
// what moved to a newer key stays. The primary key is refused, and so is an id that no key has, one that was destroyed before, and one while an older key
// can be read: names and events of that one's days lead through this one to where they are now.
func (k *Keyring) Destroy(id int) (*Keyring, error) {
	next := k.p.v.clone()
	key := next.key(id)
	switch {
	case key == nil:
		return nil, &KeyringError{"/keys", "no key of that id", "see: ringfence keys ls"}
	case key.State == Primary:
		return nil, &KeyringError{"/keys", "the primary key", "make another one primary first: ringfence keys rotate"}
	case key.State == Destroyed:
		return nil, &KeyringError{"/keys", "a key that is destroyed already", "there is nothing to do"}
	case slices.ContainsFunc(next.Keys, func(k ringKey) bool { return k.ID < id && k.State == Readable }):
		return nil, &KeyringError{"/keys", "a key older than this one can still be read, and leads through it", "destroy that one first"}
	}
	clear(key.Secret)
	key.State, key.Secret = Destroyed, nil
	if err := next.check(); err != nil {
		return nil, err
	}
	return &Keyring{hide(next)}, nil
}

// Domain returns the hasher of a domain: it makes subjects under the primary key, and knows what they were under older keys that are
// readable, see Hasher.Older. Whoever names a subject to a store has to migrate it before: see engine.Store.Migrate.
func (k *Keyring) Domain(name string) (*Hasher, error) {
	for i, d := range k.p.v.Domains {
		if d.Name != name {
			continue
		}
		var primary *Hasher
		var older []*Hasher
		for _, p := range slices.Backward(d.SubjectKeys) {
			key := k.p.v.key(p.Key)
			switch key.State {
			case Primary:
				primary = newHasher(d.ID, d.Name, p.ID, key.Secret)
			case Readable:
				older = append(older, newHasher(d.ID, d.Name, p.ID, key.Secret))
			case Destroyed:
			}
		}
		if primary == nil {
			return nil, &KeyringError{fmt.Sprintf("/domains/%d/subject_keys", i), "no primary key in this domain", "restore the file from its backup"}
		}
		primary.p.v.older = older
		return primary, nil
	}
	return nil, &KeyringError{"/domains", "no domain of that name", "see: ringfence keys ls"}
}

// Version is who took part in an event, hashed under one key.
type Version struct {
	Subjects Subjects
	Link     LinkTag // that of the account; zero only without one
}

// Rotated reports whether there are older keys that are readable.
func (h *Hasher) Rotated() bool { return len(h.p.v.older) > 0 }

// Before returns the hashers of the older keys that are readable, the newest first; nil when there is none, as nearly always.
func (h *Hasher) Before() []*Hasher { return slices.Clone(h.p.v.older) }

// Older hashes all who took part in one event under the older keys that are readable, the newest first. It returns
// nil when there is none. See Subjects.
func (h *Hasher) Older(number Number, account, device string, ip netip.Addr) []Version {
	var all []Version
	for _, older := range h.p.v.older {
		var v Version
		v.Subjects, v.Link = older.Subjects(number, account, device, ip)
		all = append(all, v)
	}
	return all
}

// knows reports whether a subject key is one of this hasher's.
func (h *Hasher) knows(key KeyID) bool {
	return key == h.p.v.key || slices.ContainsFunc(h.p.v.older, func(older *Hasher) bool { return older.p.v.key == key })
}
