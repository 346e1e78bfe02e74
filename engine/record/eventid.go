package record

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"time"
)

// EventID names one logged event. The first eight bytes, big-endian, are
// microseconds since 1970 and strictly increase within a store, across clock
// jumps and restarts, so that ids sort in the order in which events were
// applied. The last eight bytes are random, so that ids cannot be guessed. The
// time in an id is when the event was recorded; when it happened is a field of
// its own. The zero EventID means "none".
type EventID [16]byte

// Seq is the part of an EventID that orders events. It is unique within a
// store. Zero means "none".
type Seq uint64

// ErrEventID is the answer to text that is no event id.
var ErrEventID = errors.New("not an assessment id; it is 26 characters, as in an earlier answer")

// eventText is base32 with the extended hex alphabet in lower case: it sorts
// as the bytes do, and survives case folding and double-clicks.
var eventText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewEventID puts an id together.
func NewEventID(seq Seq, random uint64) EventID {
	var id EventID
	binary.BigEndian.PutUint64(id[:8], uint64(seq))
	binary.BigEndian.PutUint64(id[8:], random)
	return id
}

// ParseEventID reads the text form of an id. It returns ErrEventID for
// anything that String does not print.
func ParseEventID(s string) (EventID, error) {
	var id EventID
	if len(s) != eventText.EncodedLen(len(id)) {
		return EventID{}, ErrEventID
	}
	if _, err := eventText.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return EventID{}, ErrEventID
	}
	return id, nil
}

// String returns the 26 characters by which callers know the event.
func (id EventID) String() string { return eventText.EncodeToString(id[:]) }

// AppendString appends what String returns.
func (id EventID) AppendString(b []byte) []byte { return eventText.AppendEncode(b, id[:]) }

// Seq returns the part that orders events.
func (id EventID) Seq() Seq { return Seq(binary.BigEndian.Uint64(id[:8])) }

// Recorded returns when the event was recorded, give or take the clock's jumps.
func (id EventID) Recorded() time.Time { return time.UnixMicro(int64(id.Seq())).UTC() } //nolint:gosec // microseconds fit for 290,000 years

// Draw returns a number in [0, 1) that is fixed by the id and uniformly
// distributed: the event's lot in a holdout.
func (id EventID) Draw() float64 {
	return float64(binary.BigEndian.Uint64(id[8:])>>11) / (1 << 53)
}

// Given reports whether id names an event.
func (id EventID) Given() bool { return id != EventID{} }
