package access

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Scope is a kind of question that a key may ask.
type Scope string

// The scopes. None includes another.
const (
	Assess  Scope = "assess"  // count events and get decisions
	Outcome Scope = "outcome" // say what became of them; unlink and release
	Read    Scope = "read"    // see why: scores, reasons, signals, profiles
	Tune    Scope = "tune"    // lists and policies
	Admin   Scope = "admin"   // erasure
)

// Scopes are all scopes, in the order of their list in help texts.
var Scopes = []Scope{Assess, Outcome, Read, Tune, Admin}

// Key is what is kept of a caller's key. It holds nothing that must stay secret, but
// whoever can write it can let themselves in.
type Key struct {
	ID            string    `json:"id"`
	Hash          []byte    `json:"hash"` // SHA-256 of the secret
	Scopes        []Scope   `json:"scopes"`
	Domain        string    `json:"domain"`
	Rate          Rate      `json:"rate"`               // requests
	DailySubjects int       `json:"daily_subjects"`     // different numbers a UTC day
	OnError       string    `json:"on_error,omitempty"` // the decision while the store cannot answer: "" (answer 503), allow or challenge
	Created       time.Time `json:"created"`
	Revoked       time.Time `json:"revoked,omitzero"`
}

// May reports whether the key has a scope.
func (k *Key) May(s Scope) bool { return slices.Contains(k.Scopes, s) }

// Live reports whether the key has not been revoked.
func (k *Key) Live() bool { return k.Revoked.IsZero() }

// Bounds of what a key may be given.
const (
	MaxDailySubjects = 5_000_000 // 20 bytes of memory each
	MaxKeys          = 1000
)

const (
	secretSize = 32
	idSize     = 5
	prefix     = "rf"
)

// letters encodes ids and secrets exactly one way, in lower case and without the
// underscore that parts a key.
var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Secret is the text of a key, that its owner keeps. It shows nothing of
// itself when formatted, logged or encoded: Reveal is the only way out.
type Secret struct{ p **string } // two pointers, since package fmt follows one

// Reveal returns the text.
func (s Secret) Reveal() string { return **s.p }

const redacted = "[key]"

// Format prints a fixed word for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a fixed word.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

func conceal(text string) Secret {
	p := &text
	return Secret{&p}
}

// New makes a key out of terms, whose ID, Hash and Created it sets. random is
// crypto/rand.Reader but in tests.
func New(terms Key, random io.Reader, now time.Time) (Key, Secret, error) {
	b := make([]byte, idSize+secretSize)
	if _, err := io.ReadFull(random, b); err != nil {
		return Key{}, Secret{}, fmt.Errorf("no randomness for a new key: %w", err)
	}
	k := terms
	k.ID = letters.EncodeToString(b[:idSize])
	hash := sha256.Sum256(b[idSize:])
	k.Hash = hash[:]
	k.Created, k.Revoked = now.UTC().Truncate(time.Second), time.Time{}
	if err := k.check(); err != nil {
		return Key{}, Secret{}, err
	}
	text := prefix + "_" + k.ID + "_" + letters.EncodeToString(b[idSize:])
	return k, conceal(text + checkOf(text)), nil
}

func checkOf(text string) string {
	return fmt.Sprintf("_%08x", crc32.ChecksumIEEE([]byte(text)))
}

// ErrMistyped is a text that is no key, whichever keys there are.
var ErrMistyped = errors.New("not a key, or one that was cut or mistyped; it looks like rf_..., and ends with a check")

// split takes a key apart. It accepts only what New writes.
func split(text string) (id string, secret [secretSize]byte, err error) {
	at := strings.LastIndexByte(text, '_')
	if at < 0 || len(text) > 128 || checkOf(text[:at]) != text[at:] {
		return "", secret, ErrMistyped
	}
	parts := strings.Split(text[:at], "_")
	if len(parts) != 3 || parts[0] != prefix || !validID(parts[1]) || len(parts[2]) != letters.EncodedLen(secretSize) {
		return "", secret, ErrMistyped
	}
	b, err := letters.DecodeString(parts[2])
	if err != nil || len(b) != secretSize || letters.EncodeToString(b) != parts[2] {
		return "", secret, ErrMistyped
	}
	return parts[1], [secretSize]byte(b), nil
}

func validID(id string) bool {
	b, err := letters.DecodeString(id)
	return err == nil && len(b) == idSize && letters.EncodeToString(b) == id
}

// TermsError says what is wrong with the terms of a key.
type TermsError struct{ Field, Cause, Hint string }

// Error returns field, cause and hint in one line.
func (e *TermsError) Error() string { return e.Field + ": " + e.Cause + "; " + e.Hint }

func (k *Key) check() error {
	switch {
	case !validID(k.ID):
		return &TermsError{"id", "not 8 letters and digits", "restore the file from its backup"}
	case len(k.Hash) != sha256.Size:
		return &TermsError{"hash", "not a SHA-256", "restore the file from its backup"}
	case k.Domain == "":
		return &TermsError{"domain", "missing", "name a domain of the keyring"}
	case k.DailySubjects < 1 || k.DailySubjects > MaxDailySubjects:
		return &TermsError{"daily_subjects", "out of bounds", fmt.Sprintf("1 to %d different numbers a day", MaxDailySubjects)}
	case k.OnError != "" && k.OnError != "allow" && k.OnError != "challenge":
		return &TermsError{"on_error", "no such decision", "allow or challenge, or leave it out for 503"}
	case k.Created.IsZero():
		return &TermsError{"created", "missing", "restore the file from its backup"}
	case len(k.Scopes) == 0:
		return &TermsError{"scope", "missing", "one or more of assess, outcome, read, tune, admin"}
	}
	for i, s := range k.Scopes {
		if !slices.Contains(Scopes, s) || slices.Contains(k.Scopes[:i], s) {
			return &TermsError{"scope", "unknown, or given twice", "one or more of assess, outcome, read, tune, admin"}
		}
	}
	return k.Rate.check()
}
