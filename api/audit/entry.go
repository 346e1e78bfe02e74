package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

// Entry is one line of the log. Its texts are words of ours, names that cannot hold a number, and
// counts; never anything that a caller made up.
type Entry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`               // whole seconds, UTC
	Who    string    `json:"who"`              // key:ID, user:UID of the command line, loopback, or log
	Did    string    `json:"did"`              // such as lists.add
	Object string    `json:"object,omitempty"` // see Object
	Before string    `json:"before,omitempty"`
	After  string    `json:"after,omitempty"`
}

// line is an Entry as it is written.
type line struct {
	Entry
	Prev string `json:"prev"`
	Key  int    `json:"key"`
}

// chain is the place behind a line, where the next one joins.
type chain struct {
	seq  uint64
	prev string
}

const (
	macMark   = `,"mac":"`
	linkSize  = 16
	objectLen = 4 // letters behind the dot: 24 bits, which thousands of numbers share
)

// Object returns what an entry may say of a token: its beginning.
func Object(token string) string {
	if dot := strings.IndexByte(token, '.'); dot >= 0 && len(token) > dot+1+objectLen {
		return token[:dot+1+objectLen]
	}
	return token
}

// next returns the line of an entry and the place behind it.
func (c chain) next(e Entry, keys *hashing.Auditor) ([]byte, chain, error) {
	e.Seq, e.At = c.seq+1, e.At.UTC().Truncate(time.Second)
	key, _ := keys.Sign("")
	b, err := json.Marshal(line{e, c.prev, key})
	if err != nil {
		return nil, c, err
	}
	b = b[:len(b)-1] // the brace
	_, mac := keys.Sign(string(b))
	b = append(b, macMark...)
	b = base64.RawStdEncoding.AppendEncode(b, mac[:])
	b = append(b, "\"}\n"...)
	return b, chain{e.Seq, link(b)}, nil
}

func link(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:linkSize])
}

var errLine = errors.New("not a line of this log")

// parse reads one line with its end.
func parse(b []byte) (l line, signed string, mac hashing.Digest, err error) {
	at := bytes.LastIndex(b, []byte(macMark))
	if at < 0 || len(b)-3 < at+len(macMark) || !bytes.HasSuffix(b, []byte("\"}\n")) {
		return l, "", mac, errLine
	}
	signed = string(b[:at])
	text := string(b[at+len(macMark) : len(b)-3])
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(mac) || base64.RawStdEncoding.EncodeToString(raw) != text {
		return l, "", mac, errLine
	}
	copy(mac[:], raw)
	d := json.NewDecoder(strings.NewReader(signed + "}"))
	d.DisallowUnknownFields()
	if d.Decode(&l) != nil {
		return l, "", mac, errLine
	}
	if again, err := json.Marshal(l); err != nil || string(again) != signed+"}" {
		return l, "", mac, errLine // there is one way to write a line
	}
	return l, signed, mac, nil
}

// dropped is the entry of segments that were dropped: up to is the number of their last entry.
func dropped(upTo uint64, now time.Time) Entry {
	return Entry{At: now, Who: "log", Did: didDrop, Before: fmt.Sprintf("entries up to %d", upTo), After: "dropped, older than they are kept"}
}

const didDrop = "audit.drop"
