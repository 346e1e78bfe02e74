package hashing

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// ErrToken is the answer to text that is no token, or a token of another domain.
var ErrToken = errors.New("not a phone token; send one as it came in an earlier answer")

// tokenLetters are what tokens begin with, by kind; 0 for a kind that has none.
var tokenLetters = [Kinds]byte{Phone: 'k', Range: 'r'}

// maxToken is the length of the longest token: a letter, a key id, a dot and a pseudonym.
const maxToken = 1 + 5 + 1 + 22

// tokenBytes encodes exactly one way, so that a subject has one token.
var tokenBytes = base64.RawURLEncoding.Strict()

// Token returns the text form of a phone or range subject that callers may
// keep and send back: "k" or "r", the key id, a dot, and the pseudonym in
// unpadded URL-safe base64. It is "" for every other kind.
func (s Subject) Token() string { return string(s.AppendToken(make([]byte, 0, maxToken))) }

// AppendToken appends what Token returns.
func (s Subject) AppendToken(b []byte) []byte {
	if s.Kind >= Kinds || tokenLetters[s.Kind] == 0 {
		return b
	}
	b = append(strconv.AppendUint(append(b, tokenLetters[s.Kind]), uint64(s.Key), 10), '.')
	return tokenBytes.AppendEncode(b, s.ID[:])
}

// ParseToken is the inverse of Token. It returns ErrToken for anything that
// Token does not print.
func ParseToken(token string) (Subject, error) {
	head, text, ok := strings.Cut(token, ".")
	if !ok || len(head) < 2 || len(text) != tokenBytes.EncodedLen(IDSize) {
		return Subject{}, ErrToken
	}
	key, err := strconv.ParseUint(head[1:], 10, 16)
	if err != nil {
		return Subject{}, ErrToken
	}
	s := Subject{Kind: Kind(max(bytes.IndexByte(tokenLetters[:], head[0]), 0)), Key: KeyID(key)} //nolint:gosec // below Kinds
	if _, err := tokenBytes.Decode(s.ID[:], []byte(text)); err != nil || s.Token() != token {
		return Subject{}, ErrToken
	}
	return s, nil
}
