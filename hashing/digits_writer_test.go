package hashing

import (
	"math/rand/v2"
	"slices"

	"github.com/nyaruka/phonenumbers/v2"
)

// writer writes numbers at random.
type writer struct {
	*rand.Rand
	codes   []string
	regions []string
}

func newWriter(seed uint64) *writer {
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 0)), codes: callingCodes(), regions: []string{"", "", "ZZ", "001", "us"}}
	for region := range phonenumbers.GetSupportedRegions() {
		w.regions = append(w.regions, region)
	}
	slices.Sort(w.regions)
	return w
}

func (w *writer) one(in int) bool { return w.IntN(in) == 0 }

// digits walks through the plan, mostly to where numbers are.
func (w *writer) digits() []byte {
	text := []byte(w.codes[w.IntN(len(w.codes))])
	for len(text) < 3 {
		text = append(text, byte('0'+w.IntN(10)))
	}
	state, _ := behind(100*int(text[0]-'0') + 10*int(text[1]-'0') + int(text[2]-'0'))
	for len(text) < maxPlanDigits {
		if answerOf(state) > notInUse && !w.one(6) {
			break
		}
		d := w.IntN(10)
		for range 20 {
			if after(state, d) > notInUse || w.one(40) {
				break
			}
			d = w.IntN(10)
		}
		state, text = after(state, d), append(text, byte('0'+d))
	}
	return text
}

// input returns what somebody may send as a number.
func (w *writer) input() (raw, region string) {
	text := w.digits()
	if w.one(8) {
		text = make([]byte, w.IntN(18))
		for i := range text {
			text[i] = byte('0' + w.IntN(10))
		}
	}
	for w.one(4) && len(text) > 0 {
		text = w.change(text)
	}
	out := []byte{'+'}
	often := 3 + w.IntN(30)
	for _, c := range text {
		for w.one(often) {
			out = append(out, " -./()"[w.IntN(6)])
		}
		out = append(out, c)
	}
	for w.one(10) {
		i := w.IntN(len(out) + 1)
		out = slices.Insert(out, i, []byte(odd[w.IntN(len(odd))])...)
	}
	if w.one(25) {
		out = out[1:]
	}
	return string(out), w.regions[w.IntN(len(w.regions))]
}

// odd is what has no business in a number, or only at some places of it.
var odd = []string{
	" ", "-", ".", "/", "(", ")", "+", "#", "*", ",", ";", "~", "x", "ext", "x5", "#7", " - 5#", ",,9", ";ext=3", "tel:", "a", "O", "\t", "\n", "\x00", "\xff",
	"\u00a0", "\u2010", "\uff0b", "\uff11", "\u0661", "[", "]", "\\", " ", "//", "--", "()", "( )", "0", "00",
}

// change makes another number of one: a digit more, fewer or another, or what is dialled before a number at home.
func (w *writer) change(text []byte) []byte {
	i := w.IntN(len(text))
	d := byte('0' + w.IntN(10))
	switch w.IntN(5) {
	case 0:
		return slices.Insert(text, i, d)
	case 1:
		return slices.Delete(text, i, i+1)
	case 2:
		text[i] = d
	case 3:
		at := min(len(text), 1+w.IntN(3))
		return slices.Insert(text, at, []byte([]string{"0", "00", "1", "8", "06", "90", "15", "01", "8"}[w.IntN(9)])...)
	case 4:
		text[i], text[len(text)-1] = text[len(text)-1], text[i]
	}
	return text
}
