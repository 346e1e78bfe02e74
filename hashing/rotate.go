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

// DomainWithOlder is Domain with the older keys that are readable: see Hasher.Older. Whoever uses it has to migrate what
// it names to the primary key before anything else: see engine.Store.Migrate.
func (k *Keyring) DomainWithOlder(name string) (*Hasher, error) {
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
	Link     LinkTag
}

// Older hashes all who took part in one event under the older keys that are readable, the newest first. It returns
// nil when there is none, as nearly always. See Subjects.
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
