package hashing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// State says what a key of a keyring is for.
type State string

// The states of a key. Exactly one key is primary.
const (
	Primary   State = "primary"   // new pseudonyms are made under it
	Readable  State = "readable"  // older pseudonyms are still looked up under it
	Destroyed State = "destroyed" // its secret is gone, and with it what was stored under it
)

// SchemeHMAC is the only scheme there is: HMAC-SHA-256, truncated to 16 bytes.
const SchemeHMAC = "hmac-sha256"

// DefaultDomain is the domain of a new keyring.
const DefaultDomain = "default"

const (
	keyringFormat  = "ringfence-keyring"
	keyringVersion = 1
	maxKeyringSize = 1 << 20
)

// ErrKeyring is what every error of a keyring's contents is to errors.Is.
var ErrKeyring = errors.New("keyring")

// KeyringError says what is wrong with a keyring, never with any of its
// contents.
type KeyringError struct {
	Place string // a JSON pointer, "" for the whole file
	Cause string
	Hint  string
}

// Error returns place, cause and hint in one line.
func (e *KeyringError) Error() string {
	place := "keyring"
	if e.Place != "" {
		place += " at " + e.Place
	}
	return place + ": " + e.Cause + "; " + e.Hint
}

// Is makes every KeyringError an ErrKeyring.
func (e *KeyringError) Is(target error) bool { return target == ErrKeyring }

// Keyring holds the secrets that pseudonyms are made with. It does not change
// and is safe for concurrent use. It shows nothing of itself when formatted,
// logged or encoded: its file is the only way out.
type Keyring struct{ p *hidden[keyring] }

type keyring struct {
	Format  string      `json:"format"`
	Version int         `json:"version"`
	Keys    []ringKey   `json:"keys"`
	Domains []ringSpace `json:"domains"`
}

type ringKey struct {
	ID      int       `json:"id"`
	Scheme  string    `json:"scheme"`
	Created time.Time `json:"created"`
	State   State     `json:"state"`
	Secret  []byte    `json:"secret,omitempty"`
}

// ringSpace is a domain, and the subject key id of each key in it.
type ringSpace struct {
	ID          DomainID      `json:"id"`
	Name        string        `json:"name"`
	SubjectKeys []ringPairing `json:"subject_keys"`
}

type ringPairing struct {
	ID  KeyID `json:"id"`
	Key int   `json:"key"`
}

// KeyInfo is what may be told of a key.
type KeyInfo struct {
	ID      int
	Scheme  string
	Created time.Time
	State   State
}

// KeyCheck lets a store recognise a key of a domain. It is derived from the key
// and tells nothing about any other subkey.
type KeyCheck struct {
	Key       KeyID
	Value     [IDSize]byte // zero for a key that is destroyed
	Destroyed bool
}

// NewKeyring returns a keyring with one new key and the domain "default".
// random is crypto/rand.Reader but in tests.
func NewKeyring(random io.Reader, now time.Time) (*Keyring, error) {
	secret := make([]byte, keySize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("no randomness for a new key: %w", err)
	}
	return &Keyring{hide(keyring{
		Format: keyringFormat, Version: keyringVersion,
		Keys:    []ringKey{{ID: 1, Scheme: SchemeHMAC, Created: now.UTC().Truncate(time.Second), State: Primary, Secret: secret}},
		Domains: []ringSpace{{ID: 1, Name: DefaultDomain, SubjectKeys: []ringPairing{{ID: 1, Key: 1}}}},
	})}, nil
}

// ParseKeyring reads a keyring file. Anything unknown, missing, twice or behind
// the end is a KeyringError.
func ParseKeyring(b []byte) (*Keyring, error) {
	if len(b) > maxKeyringSize {
		return nil, &KeyringError{"", "larger than 1 MiB", "is this the right file?"}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	k := new(keyring)
	if err := d.Decode(k); err != nil {
		return nil, explainJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &KeyringError{"", "more text after its end", "restore the file from its backup"}
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return &Keyring{hide(*k)}, nil
}

// explainJSON replaces errors of encoding/json, which quote the input.
func explainJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	const hint = "restore the file from its backup; a new one cannot read what was counted under this one"
	switch {
	case errors.As(err, &syntax):
		return &KeyringError{"", fmt.Sprintf("not JSON from byte %d on", syntax.Offset), hint}
	case errors.As(err, &kind):
		return &KeyringError{"", fmt.Sprintf("a value of the wrong type before byte %d", kind.Offset), hint}
	}
	return &KeyringError{"", "not a keyring: it ends early, or has fields or values that no keyring has", hint}
}

func (k *keyring) check() error {
	switch {
	case k.Format != keyringFormat:
		return &KeyringError{"/format", "not a ringfence keyring", "is this the right file?"}
	case k.Version != keyringVersion:
		return &KeyringError{"/version", "a version that this program does not know", "use the program that wrote it, or a newer one"}
	}
	if err := k.checkKeys(); err != nil {
		return err
	}
	return k.checkDomains()
}

func (k *keyring) checkKeys() error {
	seen := map[int]bool{}
	primaries := 0
	for i := range k.Keys {
		key := &k.Keys[i]
		place := fmt.Sprintf("/keys/%d", i)
		if key.ID < 1 || seen[key.ID] {
			return &KeyringError{place + "/id", "an id that is below 1 or taken", "every key needs an id of its own"}
		}
		seen[key.ID] = true
		if err := key.check(place); err != nil {
			return err
		}
		if key.State == Primary {
			primaries++
		}
	}
	if primaries != 1 {
		return &KeyringError{"/keys", fmt.Sprintf("%d primary keys", primaries), "exactly one key has to be primary"}
	}
	return nil
}

func (key *ringKey) check(place string) error {
	secret := keySize
	switch key.State {
	case Primary, Readable:
	case Destroyed:
		secret = 0
	default:
		return &KeyringError{place + "/state", "an unknown state", "it is primary, readable or destroyed"}
	}
	switch {
	case key.Scheme != SchemeHMAC:
		return &KeyringError{place + "/scheme", "an unknown scheme", "this program knows " + SchemeHMAC + "; a newer one may know more"}
	case key.Created.IsZero():
		return &KeyringError{place + "/created", "no time of creation", "restore the file from its backup"}
	case len(key.Secret) != secret:
		return &KeyringError{place + "/secret", fmt.Sprintf("not %d bytes", secret), "restore the file from its backup"}
	}
	return nil
}

func (k *keyring) checkDomains() error {
	if len(k.Domains) == 0 {
		return &KeyringError{"/domains", "no domain", "a keyring needs one"}
	}
	ids, names, keys := map[DomainID]bool{}, map[string]bool{}, map[KeyID]bool{}
	for i, d := range k.Domains {
		place := fmt.Sprintf("/domains/%d", i)
		switch {
		case d.ID == 0 || ids[d.ID]:
			return &KeyringError{place + "/id", "an id that is 0 or taken", "every domain needs an id of its own"}
		case !validDomain(d.Name) || names[d.Name]:
			return &KeyringError{place + "/name", "a name that is taken or not one", "use up to 32 lower-case letters, digits and hyphens"}
		}
		ids[d.ID], names[d.Name] = true, true
		for j, p := range d.SubjectKeys {
			place := fmt.Sprintf("%s/subject_keys/%d", place, j)
			switch {
			case p.ID == 0 || keys[p.ID]:
				return &KeyringError{place + "/id", "an id that is 0 or taken", "every pair of domain and key needs an id of its own"}
			case k.key(p.Key) == nil:
				return &KeyringError{place + "/key", "a key that is not there", "name one of /keys"}
			}
			keys[p.ID] = true
		}
	}
	return nil
}

func validDomain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 32
}

func (k *keyring) key(id int) *ringKey {
	for i := range k.Keys {
		if k.Keys[i].ID == id {
			return &k.Keys[i]
		}
	}
	return nil
}

// Keys returns what may be told of the keys, in the order of the file.
func (k *Keyring) Keys() []KeyInfo {
	infos := make([]KeyInfo, len(k.p.v.Keys))
	for i, key := range k.p.v.Keys {
		infos[i] = KeyInfo{ID: key.ID, Scheme: key.Scheme, Created: key.Created, State: key.State}
	}
	return infos
}

// KeyChecks returns the check value of every key in every domain.
func (k *Keyring) KeyChecks() []KeyCheck {
	var checks []KeyCheck
	for _, d := range k.p.v.Domains {
		for _, p := range d.SubjectKeys {
			key := k.p.v.key(p.Key)
			if key.State == Destroyed {
				checks = append(checks, KeyCheck{Key: p.ID, Destroyed: true})
				continue
			}
			value := subkey(key.Secret, d.Name, attrKeyCheck)
			checks = append(checks, KeyCheck{Key: p.ID, Value: [IDSize]byte(value)})
		}
	}
	return checks
}

const redactedKeyring = "[keyring]"

// Format prints a fixed word for every verb.
func (Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedKeyring) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Keyring) MarshalText() ([]byte, error) { return []byte(redactedKeyring), nil }

// LogValue returns a fixed word.
func (Keyring) LogValue() slog.Value { return slog.StringValue(redactedKeyring) }
