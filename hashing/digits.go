package hashing

import (
	_ "embed"
	"strings"

	"github.com/nyaruka/phonenumbers/v2/metadata"
)

// What the library knows of numbers that begin with a plus sign, as one automaton over
// their digits: it tells in some tens of nanoseconds what the library finds out
// in tens of microseconds. It is made by the tests of this package, which also hold that
// it is what the library of go.mod would give.
//
//go:generate go test -run ^TestPlanIsUpToDate$ . -update

// plan is little-endian:
//
//	16 bytes   format and version of the metadata, filled up with zeros
//	1000 bytes for every three digits that a number begins with: one more than the index
//	           of its country, 0 for none
//	256 times  country: start state, where its regions are, digits of its calling code; 2 bytes each
//	768 bytes  regions, 3 bytes each, filled up with a zero
//	the rest   states, 22 bytes each: the answer if the number ends here, then the state after each digit
//
//go:embed digits.bin
var plan string

// Where the parts of plan begin, and how large their items are in bytes.
const (
	planVersion   = "digits1 " + metadata.Version
	countriesOf   = 16
	countries     = countriesOf + 1000
	countrySize   = 6
	regions       = countries + 256*countrySize
	regionSize    = 3
	states        = regions + 256*regionSize
	stateSize     = 2 + 10*2
	minPlanDigits = 7
	maxPlanDigits = 15
)

// Answers of the plan. Any other is the index of a region among those of its
// country, plus one, times 16, plus the index of the type in typeNames.
const (
	askLibrary = 0 // the library would rewrite the number, or might
	notInUse   = 1
)

// usable is false in a program that was linked with metadata which the plan was not made from.
var usable = strings.TrimRight(plan[:countriesOf], "\x00") == planVersion

// ignored are the separators that the library skips wherever they are behind
// the plus sign: they start no extension and no second number.
var ignored = [256]bool{' ': true, '-': true, '.': true, '/': true, '(': true, ')': true}

func planAt(at int) int { return int(plan[at]) | int(plan[at+1])<<8 }

// plain reads a number of 7 to 15 ASCII digits behind a plus sign into n, with
// separators anywhere. It reports false for whatever it takes the library to
// read, and may then have changed n.
func (n *number) plain(raw string) (ok bool, err error) {
	if raw[0] != '+' || !usable {
		return false, nil
	}
	count := 0
	for _, c := range []byte(raw[1:]) {
		switch {
		case c-'0' > 9:
			if !ignored[c] {
				return false, nil
			}
		case count == maxPlanDigits:
			return false, nil
		default:
			n.digits[count] = c
			count++
		}
	}
	if count < minPlanDigits {
		return false, nil
	}
	n.size = uint8(count)
	return n.look()
}

// look asks the plan about the digits of n.
func (n *number) look() (ok bool, err error) {
	d := &n.digits
	country := int(plan[countriesOf+100*int(d[0]-'0')+10*int(d[1]-'0')+int(d[2]-'0')])
	if country == 0 {
		return false, nil
	}
	at := countries + (country-1)*countrySize
	state := planAt(at)
	for _, c := range d[planAt(at+4):n.size] {
		state = planAt(states + state*stateSize + 2 + 2*int(c-'0'))
	}
	switch answer := planAt(states + state*stateSize); answer {
	case askLibrary:
		return false, nil
	case notInUse:
		return true, ErrNotInUse
	default:
		n.kind = uint8(answer & 15)
		n.region = region(planAt(at+2) + answer>>4 - 1)
		return true, nil
	}
}

// region returns the name of a region, a part of plan.
func region(i int) string {
	name := plan[regions+i*regionSize:][:regionSize]
	if name[2] == 0 {
		return name[:2]
	}
	return name
}
