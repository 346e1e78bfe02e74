package replay

import (
	"errors"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// item is a line that can be used, hashed: an event, an outcome, or a label of an event on
// another line. Its fields are exported for encoding/gob.
type item struct {
	Time int64 // unix microseconds; 0 of a label
	Line int
	ID   string // of an event; "" when none was given

	Event   *engine.Event // nil for an outcome and a label
	Invalid string        // why the event's number is not valid; "" where it is
	Label   scoring.Event // that stood on the event's own line, or that the line is; 0 for none

	Outcome scoring.Event
	For     string // the id of the event that the outcome or label is of

	// What other lines say of an event: see join.
	Labelled scoring.Event // the label on a line of its own; 0 for none
	Outcomes int           // how many lines are outcomes of it
	Twice    bool          // an event before it has the same id

	Content hashing.Digest   // of the whole line, under the key; only for an import
	Before  []hashing.Digest // the same under older keys that are readable, the newest first
}

// name is the id that ties the item to others, "" for none.
func (it *item) name() string {
	if it.Event != nil {
		return it.ID
	}
	return it.For
}

func (it *item) isLabel() bool { return it.Event == nil && it.Outcome == 0 }

// read makes an item of a row.
func read(h *hashing.Hasher, line int, r *row) (*item, error) {
	switch {
	case r.Outcome != "":
		return readOutcome(line, r)
	case r.Event == "" && r.Label != "":
		return readLabel(line, r)
	}
	return readEvent(h, line, r)
}

func readEvent(h *hashing.Hasher, line int, r *row) (*item, error) {
	var bad intake.Fields
	at, err := parseTime(r.OccurredAt)
	errors.As(err, &bad)
	if r.For != "" {
		bad = append(bad, api.FieldError{Pointer: "/for", Code: "unexpected", Hint: "only an outcome or a label is for another line"})
	}
	kind, labelled := labelOf(r.Label)
	if r.Label != "" && !labelled {
		bad = append(bad, wrongLabel)
	}
	ev, _, why, err := intake.Event(h, &r.AssessmentRequest)
	var more intake.Fields
	if errors.As(err, &more) {
		bad = append(bad, more...)
	}
	if len(bad) > 0 {
		return nil, bad
	}
	ev.Time = at.Unix()
	return &item{Time: at.UnixMicro(), Line: line, ID: r.ID, Event: ev, Invalid: hashing.Problem(why), Label: kind}, nil
}

func readOutcome(line int, r *row) (*item, error) {
	var bad intake.Fields
	at, err := parseTime(r.OccurredAt)
	errors.As(err, &bad)
	kind, ok := scoring.ParseEvent(r.Outcome)
	if !ok || !kind.Outcome() {
		bad = append(bad, api.FieldError{Pointer: "/outcome", Code: "unknown_value", Hint: "verified, unverified, abuse or legitimate"})
	}
	if r.For == "" {
		bad = append(bad, noFor)
	}
	if r.Event != "" || r.ID != "" {
		bad = append(bad, api.FieldError{Pointer: "/outcome", Code: "unexpected", Hint: "an outcome has a line of its own"})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return &item{Time: at.UnixMicro(), Line: line, Outcome: kind, For: r.For}, nil
}

func readLabel(line int, r *row) (*item, error) {
	kind, ok := labelOf(r.Label)
	switch {
	case !ok:
		return nil, intake.Fields{wrongLabel}
	case r.For == "":
		return nil, intake.Fields{noFor}
	}
	return &item{Line: line, Label: kind, For: r.For}, nil
}

var (
	wrongLabel = api.FieldError{Pointer: "/label", Code: "unknown_value", Hint: "abuse or legitimate"}
	noFor      = api.FieldError{Pointer: "/for", Code: "missing", Hint: "the id of the event it is about"}
)

func labelOf(name string) (scoring.Event, bool) {
	kind, _ := scoring.ParseEvent(name)
	return kind, kind == scoring.Abuse || kind == scoring.Legitimate
}

// Times that can be told apart from one another by the counters.
var (
	earliest = time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC)
)

// parseTime reads RFC 3339, or a date and a time of day in UTC. The error is
// intake.Fields.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, intake.Fields{{Pointer: "/occurred_at", Code: "missing", Hint: "when it happened"}}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse(time.DateTime, text)
	}
	if err != nil {
		return at, intake.Fields{{Pointer: "/occurred_at", Code: "format", Hint: "2026-01-02T03:04:05Z, or 2026-01-02 03:04:05 in UTC"}}
	}
	if at.Before(earliest) || !at.Before(latest) {
		return at, intake.Fields{{Pointer: "/occurred_at", Code: "out_of_range", Hint: "from 2020-01-02 to 2149"}}
	}
	return at, nil
}
