package hashing

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// ErrToken is the answer to text that is no token, or a token of another domain.
var ErrToken = errors.New("not a phone token; send one as it came in an earlier answer")

// tokenKinds are the letters that tokens begin with.
var tokenKinds = map[byte]Kind{'k': Phone, 'r': Range}

// tokenBytes encodes exactly one way, so that a subject has one token.
var tokenBytes = base64.RawURLEncoding.Strict()

// Token returns the text form of a phone or range subject that callers may
// keep and send back: "k" or "r", the key id, a dot, and the pseudonym in
// unpadded URL-safe base64. It is "" for every other kind.
func (s Subject) Token() string {
	for letter, kind := range tokenKinds {
		if s.Kind == kind {
			b := append(make([]byte, 0, 32), letter)
			b = append(strconv.AppendUint(b, uint64(s.Key), 10), '.')
			return string(tokenBytes.AppendEncode(b, s.ID[:]))
		}
	}
	return ""
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
	s := Subject{Kind: tokenKinds[head[0]], Key: KeyID(key)}
	if _, err := tokenBytes.Decode(s.ID[:], []byte(text)); err != nil || s.Token() != token {
		return Subject{}, ErrToken
	}
	return s, nil
}
