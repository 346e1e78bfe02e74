package hashing

import (
	"slices"
	"time"
)

// DomainInfo is what may be told of a domain.
type DomainInfo struct {
	ID   DomainID
	Name string
	Keys []DomainKey // in the order in which they came
}

// DomainKey is a key in a domain: subjects made under it carry its ID.
type DomainKey struct {
	ID      KeyID
	Key     int // see KeyInfo.ID
	State   State
	Created time.Time // of the key
}

// Domains returns what may be told of the domains, in the order of the file.
func (k *Keyring) Domains() []DomainInfo {
	infos := make([]DomainInfo, len(k.p.v.Domains))
	for i, d := range k.p.v.Domains {
		infos[i] = DomainInfo{ID: d.ID, Name: d.Name}
		for _, p := range d.SubjectKeys {
			key := k.p.v.key(p.Key)
			infos[i].Keys = append(infos[i].Keys, DomainKey{ID: p.ID, Key: p.Key, State: key.State, Created: key.Created})
		}
	}
	return infos
}

// WithDomain returns a keyring with one more domain. Pseudonyms of two domains have nothing in common. A name that
// is taken or not one is a KeyringError.
func (k *Keyring) WithDomain(name string) (*Keyring, error) {
	if !tellsNoNumber(name) {
		return nil, &KeyringError{"/domains", "a name with too many digits", "use at most four, so that no number can be one"}
	}
	next := k.p.v.clone()
	domain := ringSpace{ID: 1, Name: name}
	for _, d := range next.Domains {
		domain.ID = max(domain.ID, d.ID+1)
	}
	primary := slices.IndexFunc(next.Keys, func(key ringKey) bool { return key.State == Primary })
	domain.SubjectKeys = []ringPairing{{ID: next.freeKeyID(), Key: next.Keys[primary].ID}}
	next.Domains = append(next.Domains, domain)
	if err := next.check(); err != nil { // also when ids have run out, since then the next one is 0
		return nil, err
	}
	return &Keyring{hide(next)}, nil
}

// clone copies a keyring, so that the copy can be changed. They share nothing.
func (k *keyring) clone() keyring {
	c := *k
	c.Keys = slices.Clone(k.Keys)
	for i := range c.Keys {
		c.Keys[i].Secret = slices.Clone(c.Keys[i].Secret)
	}
	c.Domains = slices.Clone(k.Domains)
	for i := range c.Domains {
		c.Domains[i].SubjectKeys = slices.Clone(c.Domains[i].SubjectKeys)
	}
	return c
}

// freeKeyID returns an id that no pair of domain and key ever had, 0 when there is none left.
func (k *keyring) freeKeyID() KeyID {
	id := KeyID(1)
	for _, d := range k.Domains {
		for _, p := range d.SubjectKeys {
			id = max(id, p.ID+1)
			if p.ID == 1<<16-1 {
				return 0
			}
		}
	}
	return id
}

// tellsNoNumber keeps phone numbers out of names, which logs and lists show.
func tellsNoNumber(name string) bool {
	digits := 0
	for i := range len(name) {
		if name[i] >= '0' && name[i] <= '9' {
			digits++
		}
	}
	return digits <= 4
}
