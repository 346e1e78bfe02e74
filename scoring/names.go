package scoring

import (
	"math"
	"slices"
	"time"
)

// The words of policies and answers: the position of each is the value that it stands for. But for typeNames, 0 is nothing.
var (
	subjectNames   = []string{"", "phone", "range", "account", "ip", "network", "device"}
	eventNames     = []string{"", "signup", "verification", "sign_in", "checkout", "recovery", "number_change", "verified", "abuse", "legitimate", "unverified"}
	memberNames    = []string{"", "account", "device", "network", "country", "phone"}
	aggregateNames = []string{"", "count", "distinct", "links", "labels"}
	decisionNames  = []string{"", "allow", "challenge", "review", "block"}

	// typeNames are the kinds of line a number can be; the position is the code.
	typeNames = []string{
		"fixed_line", "mobile", "fixed_line_or_mobile", "toll_free", "premium_rate", "shared_cost", "voip",
		"personal_number", "pager", "uan", "voicemail", "unknown",
	}
)

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return ""
}

// parseName returns the position of a name; ok is false for "" and what is not there.
func parseName(names []string, name string) (uint8, bool) {
	i := slices.Index(names, name)
	return uint8(max(i, 0)), i > 0 //nolint:gosec // a dozen names
}

// String returns the subject's name in a policy.
func (s Subject) String() string { return nameOf(subjectNames, uint8(s)) }

// String returns the event's name in a policy and in requests.
func (e Event) String() string { return nameOf(eventNames, uint8(e)) }

// ParseEvent is the inverse of Event.String.
func ParseEvent(name string) (Event, bool) {
	i, ok := parseName(eventNames, name)
	return Event(i), ok
}

// String returns the member's name in a policy.
func (m Member) String() string { return nameOf(memberNames, uint8(m)) }

// String returns the aggregate's name in a policy.
func (a Aggregate) String() string { return nameOf(aggregateNames, uint8(a)) }

// String returns the decision's name.
func (d Decision) String() string { return nameOf(decisionNames, uint8(d)) }

// RegionCode returns the slot value of a region: two letters, or "001" for
// none in particular; NaN for anything else.
func RegionCode(region string) float64 {
	if region == "001" {
		return 1
	}
	if len(region) != 2 || !upper(region[0]) || !upper(region[1]) {
		return math.NaN()
	}
	return float64(region[0])*256 + float64(region[1])
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// TypeCode returns the slot value of a kind of line, NaN for no kind.
func TypeCode(name string) float64 {
	if i := slices.Index(typeNames, name); i >= 0 {
		return float64(i)
	}
	return math.NaN()
}

// RegionName is the inverse of RegionCode, "" for an unknown value.
func RegionName(code float64) string {
	switch {
	case code == 1:
		return "001"
	case code >= 'A'*256+'A' && code <= 'Z'*256+'Z':
		return string([]byte{byte(int(code) / 256), byte(int(code) % 256)}) //nolint:gosec // two letters
	}
	return ""
}

// TypeName is the inverse of TypeCode, "" for an unknown value.
func TypeName(code float64) string {
	if code >= 0 && int(code) < len(typeNames) {
		return typeNames[int(code)]
	}
	return ""
}

// eventCode returns the slot value of an event; outcomes are none.
func eventCode(name string) float64 {
	if e, ok := ParseEvent(name); ok && !e.Outcome() {
		return float64(e)
	}
	return math.NaN()
}

// FormatWindow writes a window as policies do: "30s", "1h", "7d"; "" for 0.
func FormatWindow(d time.Duration) string {
	for _, u := range windowUnits {
		if d != 0 && d%u.unit == 0 {
			return itoa(int64(d/u.unit)) + u.name
		}
	}
	return ""
}

var windowUnits = []struct {
	name string
	unit time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
