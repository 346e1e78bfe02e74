package hashing

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"

	"github.com/nyaruka/phonenumbers/v2"
)

// MaxNumberSize is the most bytes that Parse looks at. The longest number has
// 15 digits; the rest is room for signs, spaces and an extension.
const MaxNumberSize = 64

// Number is a phone number that can exist, reduced to its canonical digits. The
// zero Number is "not given". It shows nothing of itself when formatted, logged
// or encoded, and no method tells its digits. It is comparable only with
// itself: two Numbers of the same digits are not ==.
type Number struct{ p *hidden[number] }

// number is what Parse learnt. It holds a copy of the digits, so that it keeps
// nothing else of the input alive.
type number struct {
	digits [maxDigits]byte // E.164 without the plus sign, without any extension
	size   uint8           // how many of them there are
	kind   uint8           // index of typeNames
	region string
}

// maxDigits is the most digits of a number: 3 of a calling code, and the 17 that
// the library takes behind it. E.164 has 15.
const maxDigits = 3 + 17

// text returns the digits. They are those of n, not a copy.
func (n *number) text() []byte { return n.digits[:n.size] }

// problem is why something is not a number. Its text is fixed.
type problem struct{ code, text string }

func (p *problem) Error() string { return p.text }

// Is makes every problem an ErrInvalidNumber.
func (p *problem) Is(target error) bool { return target == ErrInvalidNumber }

// Why Parse refuses an input. All of them are ErrInvalidNumber to errors.Is.
var (
	ErrInvalidNumber = errors.New("not a valid phone number")

	ErrEmpty     error = &problem{"empty", "no phone number; send the number, or leave the field out"}
	ErrTooLong   error = &problem{"too_long", "phone number of more than 64 bytes or 15 digits"}
	ErrTooShort  error = &problem{"too_short", "phone number with too few digits"}
	ErrLetters   error = &problem{"letters", "phone number with letters in it; send digits only, a letter O is no zero"}
	ErrNotDigits error = &problem{"not_digits", "no phone number in the text"}
	ErrNoRegion  error = &problem{"no_region", "phone number without a known country code; write it with + or give its default region"}
	ErrNotInUse  error = &problem{"not_in_use", "phone number that no numbering plan has"}
)

// Problem returns the short code of an error from Parse, such as "too_short",
// and "" for any other error. Codes are stable; use them to count refusals.
func Problem(err error) string {
	var p *problem
	if errors.As(err, &p) {
		return p.code
	}
	return ""
}

// typeNames are the library's types by its own constants.
var typeNames = [...]string{
	phonenumbers.FIXED_LINE:           "fixed_line",
	phonenumbers.MOBILE:               "mobile",
	phonenumbers.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
	phonenumbers.TOLL_FREE:            "toll_free",
	phonenumbers.PREMIUM_RATE:         "premium_rate",
	phonenumbers.SHARED_COST:          "shared_cost",
	phonenumbers.VOIP:                 "voip",
	phonenumbers.PERSONAL_NUMBER:      "personal_number",
	phonenumbers.PAGER:                "pager",
	phonenumbers.UAN:                  "uan",
	phonenumbers.VOICEMAIL:            "voicemail",
	phonenumbers.UNKNOWN:              "unknown",
}

// lettersInPlace accepts the letters that belong into a number: the scheme of a
// tel URI, an extension, and the context of a local tel URI. The library drops
// any others behind the digits in silence, and with them the digit that somebody mistyped.
var lettersInPlace = regexp.MustCompile(
	`^\s*(?i:tel:)?[^\p{L}]*` +
		`(?i:(?:;ext=|[\s,;]*(?:extension|extn|ext|x)[.:\s]*)\d{1,20}#?)?` +
		`(?i:;phone-context=\+[\d-]+)?\s*$`)

// Parse reads a phone number as a person would write it. defaultRegion is the
// country to assume, as two letters ("GB"), for a number without a country
// code; it may be "". An extension is understood and left out: it is not part
// of who the number belongs to.
//
// What can be no number in any numbering plan is refused with one of the
// errors above. So is a number with a letter among its digits.
//
// A number of 7 to 15 ASCII digits behind a plus sign, with or without
// separators, takes a small part of the time that others take; the result is the same.
func Parse(raw, defaultRegion string) (n Number, err error) {
	// Just short enough to be inlined, provided that fill is not: a Number that the caller does not
	// pass on is then not allocated at all. A test counts.
	var b box
	b.p.v = &b.n
	n.p, err = b.fill(raw, defaultRegion)
	return
}

// box is all that a Number points at, in one piece of memory.
type box struct {
	p hidden[number]
	n number
}

// fill returns what a Number of the box has to point at, nil with an error.
//
//go:noinline
func (b *box) fill(raw, defaultRegion string) (*hidden[number], error) {
	if err := b.n.read(raw, defaultRegion); err != nil {
		return nil, err
	}
	return &b.p, nil
}

// read is Parse into n: the plan of digits.go first, then the library.
func (n *number) read(raw, defaultRegion string) error {
	switch {
	case raw == "":
		return ErrEmpty
	case len(raw) > MaxNumberSize:
		return ErrTooLong
	}
	if ok, err := n.plain(raw); ok {
		return err
	}
	*n = number{}
	return n.readAny(raw, defaultRegion)
}

// readAny is read through the library alone.
func (n *number) readAny(raw, defaultRegion string) error {
	if hasLetters(raw) && !lettersInPlace.MatchString(raw) {
		return ErrLetters
	}
	parsed, err := phonenumbers.Parse(raw, defaultRegion)
	if err != nil {
		return translate(err)
	}
	// A number is valid for the library when it has a type: IsValidNumber would look for it twice more.
	kind := phonenumbers.GetNumberType(parsed)
	if kind == phonenumbers.UNKNOWN {
		return ErrNotInUse
	}
	n.size = uint8(copy(n.digits[:], phonenumbers.Format(parsed, phonenumbers.E164)[1:])) //nolint:gosec // at most maxDigits
	n.kind = uint8(kind)                                                                  //nolint:gosec // an index of typeNames
	n.region = phonenumbers.GetRegionCodeForNumber(parsed)
	return nil
}

// hasLetters reports whether lettersInPlace can say anything but yes.
func hasLetters(raw string) bool {
	for i := range len(raw) {
		if raw[i] >= 'A' { // ASCII letters, a few signs, and all of Unicode
			return true
		}
	}
	return false
}

// translate drops the library's error, which may hold the input.
func translate(err error) error {
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return ErrNoRegion
	case errors.Is(err, phonenumbers.ErrTooShortNSN), errors.Is(err, phonenumbers.ErrTooShortAfterIDD):
		return ErrTooShort
	case errors.Is(err, phonenumbers.ErrNumTooLong):
		return ErrTooLong
	}
	return ErrNotDigits
}

// KnownRegion reports whether a two-letter code in upper case has a numbering plan of
// its own, and so may be a default region.
func KnownRegion(code string) bool { return phonenumbers.GetSupportedRegions()[code] }

// Warm makes the library compile its patterns for every region, which it
// otherwise does at the first number of each that is left to it: that one then takes one or two
// milliseconds instead of some tens of microseconds. All of them take a tenth of a second.
func Warm() {
	for region := range phonenumbers.GetSupportedRegions() {
		n := phonenumbers.GetExampleNumber(region)
		if n == nil {
			continue
		}
		phonenumbers.IsValidNumber(n)
		_, _ = Parse(phonenumbers.Format(n, phonenumbers.NATIONAL), region)
	}
}

// Given reports whether there is a number at all.
func (n Number) Given() bool { return n.p != nil }

// Region returns the country as two letters ("GB"), "001" for a number that
// belongs to none, and "" for the zero Number.
func (n Number) Region() string {
	if n.p == nil {
		return ""
	}
	return n.p.v.region
}

// Type returns the kind of line, one of Types, and "" for the zero Number.
func (n Number) Type() string {
	if n.p == nil {
		return ""
	}
	return typeNames[n.p.v.kind]
}

// Types returns every kind of line, in a fixed order.
func Types() []string { return append([]string(nil), typeNames[:]...) }

// CanReceiveSMS reports whether a text message is likely to arrive. Where the
// plan does not tell fixed lines and mobiles apart, as in North America, it is.
func (n Number) CanReceiveSMS() bool {
	switch n.Type() {
	case "mobile", "fixed_line_or_mobile":
		return true
	}
	return false
}

const redactedNumber = "[number]"

// Format prints a fixed word for every verb.
func (Number) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedNumber) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Number) MarshalText() ([]byte, error) { return []byte(redactedNumber), nil }

// LogValue returns a fixed word.
func (Number) LogValue() slog.Value { return slog.StringValue(redactedNumber) }
