package server

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// assessment writes itself as an api.Assessment: encoding/json takes ten times
// as long for it, which is most of what an answer costs. A test holds both equal.
type assessment struct {
	*engine.Assessment
	number  hashing.Number
	unasked bool // the store was not: there is nothing to tell of accounts
}

// shape is the form in which a caller gets an assessment: without the right to read, what is the same for a
// number that was seen and one that never was.
func shape(ctx context.Context, a assessment) appender {
	if mayRead(ctx) {
		return a
	}
	return outline{a}
}

// outline writes what a caller without the right to read is told.
type outline struct{ assessment }

func (o outline) appendJSON(b []byte) []byte {
	a := o.assessment
	b = a.appendHead(append(b, '{'))
	b = appendText(b, `"public_message":`, scoring.PublicMessage(a.Decision))
	b = a.appendDegraded(a.appendNumber(b))
	return append(b, '}')
}

func (a assessment) appendJSON(b []byte) []byte {
	b = a.appendHead(append(b, '{'))
	b = appendInt(b, `"score":`, a.Score)
	b = a.appendReasons(append(b, `"reasons":[`...))
	b = appendText(b, `"public_message":`, scoring.PublicMessage(a.Decision))
	b = a.appendNumber(b)
	b = a.appendSignals(append(b, `"signals":{`...))
	if a.Phone.Given() && !a.unasked {
		b = a.appendAccounts(b)
	}
	if a.FirstSeen != 0 {
		b = append(appendTime(append(b, `"first_seen":"`...), a.FirstSeen), `",`...)
	}
	b = appendText(append(b, `"policy":{`...), `"name":`, a.Policy.Name())
	b = appendInt(b, `"version":`, int(a.Version))
	b = append(closed(b, '}'), `"holdout":`...)
	b = append(strconv.AppendBool(b, a.Holdout), ',')
	return append(a.appendDegraded(a.appendLearnt(b)), '}')
}

func (a assessment) appendHead(b []byte) []byte {
	if a.ID.Given() {
		b = append(a.ID.AppendString(append(b, `"assessment_id":"`...)), `",`...)
	}
	if a.Phone.Given() {
		b = append(a.Phone.AppendToken(append(b, `"phone_token":"`...)), `",`...)
	}
	return appendText(b, `"decision":`, a.Decision.String())
}

// appendDegraded appends the last member, without a comma.
func (a assessment) appendDegraded(b []byte) []byte {
	b = append(b, `"degraded":[`...)
	for _, name := range a.Degraded {
		b = appendText(b, "", name)
	}
	b = closed(b, ']')
	return b[:len(b)-1]
}

// appendLearnt appends what there is only once somebody tunes.
func (a assessment) appendLearnt(b []byte) []byte {
	if a.CalibrationLabels > 0 {
		b = appendFloat(b, `"probability":`, a.Probability)
		b = append(strconv.AppendUint(append(b, `"calibration_labels":`...), a.CalibrationLabels, 10), ',')
	}
	if len(a.Shadows) == 0 {
		return b
	}
	b = append(b, `"shadow":[`...)
	for _, s := range a.Shadows {
		b = appendInt(append(b, '{'), `"version":`, int(s.Policy))
		b = appendInt(b, `"score":`, s.Score)
		b = closed(appendText(b, `"decision":`, s.Decision.String()), '}')
	}
	return closed(b, ']')
}

func (a assessment) appendReasons(b []byte) []byte {
	for _, r := range a.Reasons {
		b = appendText(append(b, '{'), `"code":`, r.Code)
		b = appendInt(b, `"points":`, r.Points)
		b = appendFloat(b, `"observed":`, r.Observed)
		b = appendFloat(b, `"limit":`, r.Limit)
		if r.Window != 0 {
			b = appendText(b, `"window":`, scoring.FormatWindow(r.Window))
		}
		b = closed(b, '}')
	}
	return closed(b, ']')
}

func (a assessment) appendNumber(b []byte) []byte {
	if !a.Number.Given {
		return b
	}
	b = append(b, `"number":{"valid":`...)
	b = append(strconv.AppendBool(b, a.Number.Valid), ',')
	if a.Number.Region != "" {
		b = appendText(b, `"region":`, a.Number.Region)
	}
	if a.Number.Type != "" {
		b = appendText(b, `"type":`, a.Number.Type)
	}
	b = strconv.AppendBool(append(b, `"can_receive_sms":`...), a.number.CanReceiveSMS())
	return append(b, "},"...)
}

func (a assessment) appendSignals(b []byte) []byte {
	for _, i := range a.Policy.SignalOrder() {
		name := a.Policy.Signals()[i].Name
		if v := a.Values[scoring.SlotSignals+i]; !math.IsNaN(v) {
			b = append(append(append(b, '"'), name...), `":`...)
			b = append(number(b, v), ',')
		}
	}
	return closed(b, '}')
}

func (a assessment) appendAccounts(b []byte) []byte {
	b = appendInt(append(b, `"accounts":{`...), `"verified":`, a.Links.Count)
	b = append(strconv.AppendBool(append(b, `"linked":`...), a.Links.Linked), ',')
	if a.MaxLinks > 0 {
		b = appendInt(b, `"max":`, a.MaxLinks)
		b = appendInt(b, `"remaining":`, max(a.MaxLinks-a.Links.Count, 0))
	}
	return closed(b, '}')
}

// closed ends an object or an array whose members each end with a comma, and
// adds a comma itself.
func closed(b []byte, end byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, end, ',')
}

// appendText appends a text and a comma.
func appendText(b []byte, name, text string) []byte {
	b = append(b, name...)
	for i := range len(text) {
		if !literal[text[i]] {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic("server: a text that is not JSON")
			}
			return append(append(b, quoted...), ',')
		}
	}
	b = append(append(append(b, '"'), text...), '"')
	return append(b, ',')
}

// literal are the bytes that stand for themselves in a text of encoding/json.
var literal = func() (all [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		all[c] = !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return all
}()

func appendInt(b []byte, name string, v int) []byte {
	return append(strconv.AppendInt(append(b, name...), int64(v), 10), ',')
}

// appendFloat appends nothing for an unknown value.
func appendFloat(b []byte, name string, v float64) []byte {
	if math.IsNaN(v) {
		return b
	}
	return append(number(append(b, name...), v), ',')
}

// number appends a value as encoding/json does; nearly all are whole.
func number(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	if size := math.Abs(v); size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic("server: a value that is not JSON")
	}
	return append(b, text...)
}
