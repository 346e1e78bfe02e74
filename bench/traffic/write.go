package traffic

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/ringfence/ringfence/api"
)

// row is a line as replay reads it.
type row struct {
	api.AssessmentRequest
	ID         string `json:"id,omitempty"`
	OccurredAt string `json:"occurred_at,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	Label      string `json:"label,omitempty"`
	For        string `json:"for,omitempty"`
}

// timed is a row and when it happened.
type timed struct {
	at time.Time
	row
}

// Write writes the world as lines of JSON in the order of time: events, and outcomes when
// they become known, those before events of the same second. The labels come last.
func (w *World) Write(out io.Writer) error {
	var rows []timed
	for i := range w.Events {
		rows = w.Events[i].rows(rows)
	}
	slices.SortStableFunc(rows, func(a, b timed) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(b.Outcome, a.Outcome)) })
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for i := range rows {
		if err := enc.Encode(&rows[i].row); err != nil {
			return err
		}
	}
	for i := range w.Events {
		if e := &w.Events[i]; e.Labelled {
			if err := enc.Encode(row{For: e.ID, Label: e.label()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Event) label() string {
	if e.Abuse() {
		return "abuse"
	}
	return "legitimate"
}

func (e *Event) rows(all []timed) []timed {
	all = append(all, timed{e.At, row{ID: e.ID, OccurredAt: e.At.Format(time.RFC3339), AssessmentRequest: api.AssessmentRequest{
		Event: e.Kind, PhoneNumber: e.Number, AccountID: e.Account, DeviceID: e.Device, IP: e.IP, IPCountry: e.Country,
	}}})
	if !e.Verified.IsZero() {
		all = append(all, timed{e.Verified, row{For: e.ID, Outcome: "verified", OccurredAt: e.Verified.Format(time.RFC3339)}})
	}
	if !e.Reported.IsZero() {
		all = append(all, timed{e.Reported, row{For: e.ID, Outcome: "abuse", OccurredAt: e.Reported.Format(time.RFC3339)}})
	}
	return all
}
