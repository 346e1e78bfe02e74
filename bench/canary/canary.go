// Package canary looks for planted values wherever they must not turn up. A value may have been written in many
// ways: New lists them, and Find names those that are found. It is for tests, which plant values in
// everything that somebody may send, and search everything that is kept, logged or answered.
//
// A search that finds nothing proves something only if it would have found it: Control plants every form of
// a value, and says which ones Find overlooks.
package canary

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Canary is a value that was planted, in all its forms.
type Canary struct {
	name  string // what it is, for reports; never the value
	forms []form
}

// form is one way to write a value.
type form struct {
	name  string
	bytes []byte
}

// Text returns a canary of a text that nobody would write by chance: eight bytes or more.
func Text(name, value string) *Canary {
	c := &Canary{name: name}
	c.text("", value)
	return c
}

// Number returns a canary of a phone number's digits, country code included. It looks for the number within its
// country, too, and for both as integers and packed decimals.
func Number(name, digits, national string) *Canary {
	c := &Canary{name: name}
	c.text("", digits)
	c.text("national ", national)
	c.add("subscriber", []byte(digits[len(digits)-7:]))
	for what, d := range map[string]string{"": digits, "national ": national} {
		c.integers(what, d)
		c.packed(what, d)
	}
	return c
}

// Address returns a canary of an IP address.
func Address(name, address string) *Canary {
	c := &Canary{name: name}
	a := netip.MustParseAddr(address)
	c.text("", address)
	c.add("16 bytes", slices.Clone(a.AsSlice()))
	if a.Is4() {
		mapped := a.As16()
		c.add("16 bytes", mapped[:])
		c.add("hex of its bytes", []byte(hex.EncodeToString(a.AsSlice())))
		c.add("integer in decimal", strconv.AppendUint(nil, uint64(binary.BigEndian.Uint32(a.AsSlice())), 10))
	}
	return c
}

func (c *Canary) add(name string, b []byte) { c.forms = append(c.forms, form{name, b}) }

// text adds what may become of a text.
func (c *Canary) text(what, value string) {
	c.add(what+"ASCII", []byte(value))
	backwards := []byte(value)
	slices.Reverse(backwards)
	c.add(what+"backwards", backwards)
	c.add(what+"hex", []byte(hex.EncodeToString([]byte(value))))
	c.add(what+"HEX", []byte(strings.ToUpper(hex.EncodeToString([]byte(value)))))
	c.add(what+"percent", []byte("%"+strings.Join(split(hex.EncodeToString([]byte(value)), 2), "%")))
	c.add(what+"escaped in a query", []byte(url.QueryEscape(value)))
	c.add(what+"bytes in decimal", []byte(decimals(value)))
	c.bases(what, value)
	var little, big []byte
	for _, u := range utf16.Encode([]rune(value)) {
		little = binary.LittleEndian.AppendUint16(little, u)
		big = binary.BigEndian.AppendUint16(big, u)
	}
	c.add(what+"UTF-16LE", little[:len(little)-1]) // the two overlap but for an end
	c.add(what+"UTF-16BE", big)
}

// bases adds the forms that look different at every offset within a group.
func (c *Canary) bases(what, value string) {
	for shift := range 3 {
		padded := append(make([]byte, shift), value...)
		inner := len(value) - (3-shift)%3 // bytes of whole groups behind the first, which the shift is part of
		whole := inner / 3 * 3
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			start := (shift + (3-shift)%3) / 3 * 4
			c.add(what+name+" at "+strconv.Itoa(shift), []byte(text[start:start+whole/3*4]))
		}
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(value))
	c.add(what+"base32", []byte(text[:len(value)/5*8]))
}

func (c *Canary) integers(what, digits string) {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic("canary: not digits")
	}
	c.add(what+"uint64 big-endian", binary.BigEndian.AppendUint64(nil, n))
	c.add(what+"uint64 little-endian", binary.LittleEndian.AppendUint64(nil, n))
	c.add(what+"varint", binary.AppendUvarint(nil, n))
	c.add(what+"signed varint", binary.AppendVarint(nil, int64(n))) //nolint:gosec // a phone number
	for _, base := range []int{16, 36} {
		c.add(what+"integer in base "+strconv.Itoa(base), strconv.AppendUint(nil, n, base))
	}
	c.add(what+"integer in scientific notation", strconv.AppendFloat(nil, float64(n), 'e', -1, 64))
}

// packed adds two digits a byte, both ways around, from either end.
func (c *Canary) packed(what, digits string) {
	ends := []string{digits}
	if len(digits)%2 == 1 {
		ends = []string{"0" + digits, digits + "f"}
	}
	for i, even := range ends {
		b, err := hex.DecodeString(even)
		if err != nil {
			panic("canary: not digits")
		}
		swapped := make([]byte, len(b))
		for j, x := range b {
			swapped[j] = x<<4 | x>>4
		}
		c.add(what+"BCD "+strconv.Itoa(i), b)
		c.add(what+"BCD, nibbles swapped "+strconv.Itoa(i), swapped)
	}
}

func split(s string, n int) (parts []string) {
	for ; len(s) > 0; s = s[n:] {
		parts = append(parts, s[:n])
	}
	return parts
}

// decimals is how package fmt prints bytes with %v, without the brackets.
func decimals(value string) string {
	var parts []string
	for _, b := range []byte(value) {
		parts = append(parts, strconv.Itoa(int(b)))
	}
	return strings.Join(parts, " ")
}

// Find returns the names of the forms in which the value is in b, none of which is the value.
func (c *Canary) Find(b []byte) (found []string) {
	for _, f := range c.forms {
		if bytes.Contains(b, f.bytes) {
			found = append(found, c.name+" as "+f.name)
		}
	}
	return found
}

// Control returns what Find overlooks: it plants every form amid other bytes, and base64 at all offsets as an encoder
// would write it.
func (c *Canary) Control() (overlooked []string) {
	for _, f := range c.forms {
		junk := append(bytes.Repeat([]byte{0xa5}, 33), f.bytes...)
		if !slices.Contains(c.Find(append(junk, 0x5a)), c.name+" as "+f.name) {
			overlooked = append(overlooked, f.name)
		}
	}
	return overlooked
}
