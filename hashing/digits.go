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

// planFile is made of 32 bytes with its format and the version of the metadata, filled up
// with zeros, and of little-endian words of 2 bytes:
//
//	256 times 2   the names of regions, filled up with zeros: 3 bytes and one spare
//	1000 times 2  for every three digits that a number begins with: the state behind them, and
//	              one more than the index of their country's first region, 0 if no country has them
//	the rest      states of 12 words: the answer if the number ends here, the state behind each digit
//	              that may follow, and a spare one; a state's name is where it begins, in units of 4 words
//
//go:embed digits.bin
var planFile string

// plan is the words of planFile, regionNames its names.
var plan, regionNames = readPlan()

// Where the parts of plan begin, and how large their items are, in words.
const (
	planVersion = "digits2 " + metadata.Version
	planHead    = 32 // bytes

	regionsAt = 0
	startsAt  = regionsAt + 2*256
	statesAt  = startsAt + 2*1000
	stateSize = 12
	stateUnit = 4 // words
)

// How many digits the plan is about.
const (
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
var usable = strings.TrimRight(planFile[:planHead], "\x00") == planVersion

func readPlan() (words []uint16, names [256]string) {
	body := planFile[planHead:]
	words = make([]uint16, len(body)/2)
	for i := range words {
		words[i] = uint16(body[2*i]) | uint16(body[2*i+1])<<8
	}
	for i := range names {
		names[i] = strings.TrimRight(body[4*i:4*i+4], "\x00")
	}
	return words, names
}

// ignored are the separators that the library skips wherever they are behind
// the plus sign: they start no extension and no second number.
var ignored = [256]bool{' ': true, '-': true, '.': true, '/': true, '(': true, ')': true}

// plain reads a number of 7 to 15 ASCII digits behind a plus sign into n, with
// separators anywhere. It reports false for whatever it leaves to the library,
// and may then have changed n.
func (n *number) plain(raw string) (ok bool, err error) {
	if raw[0] != '+' || !usable {
		return false, nil
	}
	words := plan
	count, state, region := 0, 0, 0
	for i := 1; i < len(raw); i++ {
		digit := int(raw[i]) - '0'
		if uint(digit) > 9 {
			if !ignored[raw[i]] {
				return false, nil
			}
			continue
		}
		if count == maxPlanDigits {
			return false, nil
		}
		n.digits[count] = raw[i]
		count++
		switch {
		case count > 3:
			state = int(words[statesAt+state*stateUnit+1+digit])
		case count == 3:
			d := n.digits[:3]
			start := startsAt + 2*(100*int(d[0]-'0')+10*int(d[1]-'0')+digit)
			state, region = int(words[start]), int(words[start+1])
		}
	}
	if count < minPlanDigits || region == 0 {
		return false, nil
	}
	switch answer := int(words[statesAt+state*stateUnit]); answer {
	case askLibrary:
		return false, nil
	case notInUse:
		return true, ErrNotInUse
	default:
		n.size, n.kind, n.region = uint8(count), uint8(answer&15), regionNames[region+answer>>4-2]
		return true, nil
	}
}
