package hashing

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
)

// Subjects are those who took part in one event, indexed by Kind. A zero
// Subject was not given.
type Subjects [Kinds]Subject

// Identity is what a caller knows of who took part in one event. Build it,
// hash it with Hasher.Subjects, and let it go. It shows nothing of itself when
// formatted, logged or encoded.
type Identity struct {
	Number  Number     // the zero Number was not given
	Account string     // the platform's id of the account; "" was not given
	Device  string     // the platform's id of the device; "" was not given
	IP      netip.Addr // the zero Addr was not given
}

// Subjects hashes everything given in id, and the account once more as a link
// tag. It does not allocate.
func (h *Hasher) Subjects(id *Identity) (Subjects, LinkTag) {
	s := Subjects{
		Phone:   h.Phone(id.Number),
		Range:   h.Range(id.Number),
		Account: h.Account(id.Account),
		IP:      h.IP(id.IP),
		Network: h.Network(id.IP),
		Device:  h.Device(id.Device),
	}
	if !s[Account].Given() {
		return s, LinkTag{}
	}
	return s, h.LinkTag(s[Account])
}

const redactedIdentity = "[identity]"

// Format prints a fixed word for every verb.
func (Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedIdentity) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Identity) MarshalText() ([]byte, error) { return []byte(redactedIdentity), nil }

// LogValue returns a fixed word.
func (Identity) LogValue() slog.Value { return slog.StringValue(redactedIdentity) }
