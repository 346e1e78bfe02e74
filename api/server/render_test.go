package server

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// wire is an assessment as its type says, for comparison.
func wire(a assessment) api.Assessment {
	out := api.Assessment{
		PhoneToken: a.Phone.Token(), Decision: a.Decision.String(), Score: a.Score,
		Reasons: []api.Reason{}, PublicMessage: scoring.PublicMessage(a.Decision), Signals: map[string]float64{},
		FirstSeen: timeText(a.FirstSeen), Policy: api.Policy{Name: a.Policy.Name(), Version: a.Version},
		Holdout: a.Holdout, Degraded: append([]string{}, a.Degraded...),
	}
	known := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	if a.CalibrationLabels > 0 {
		out.Probability, out.CalibrationLabels = &a.Probability, a.CalibrationLabels
	}
	for _, s := range a.Shadows {
		out.Shadow = append(out.Shadow, api.ShadowDecision{Version: s.Policy, Score: s.Score, Decision: s.Decision.String()})
	}
	if a.ID.Given() {
		out.AssessmentID = a.ID.String()
	}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, api.Reason{
			Code: r.Code, Points: r.Points, Observed: known(r.Observed), Limit: known(r.Limit), Window: scoring.FormatWindow(r.Window),
		})
	}
	for i, signal := range a.Policy.Signals() {
		if v := a.Values[scoring.SlotSignals+i]; !math.IsNaN(v) {
			out.Signals[signal.Name] = v
		}
	}
	if a.Number.Given {
		out.Number = &api.Number{Valid: a.Number.Valid, Region: a.Number.Region, Type: a.Number.Type, CanReceiveSMS: a.number.CanReceiveSMS()}
	}
	if a.Phone.Given() {
		accounts := wireAccounts(a.Links, a.MaxLinks)
		out.Accounts = &accounts
	}
	return out
}

// TestAssessmentsAreWrittenAsTheirType compares what is written by hand with
// encoding/json, for assessments with and without everything.
func TestAssessmentsAreWrittenAsTheirType(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	some := func() bool { return random.IntN(2) == 0 }
	values := []float64{0, 1, 42, -3, 0.5, 1e-9, 123456.789, 1e15, 1e21, -1e300, math.NaN()}
	value := func() float64 { return values[random.IntN(len(values))] }
	policy := scoring.Default()
	for range 2000 {
		a := assessment{Assessment: &engine.Assessment{Policy: policy, Version: random.Uint32()}}
		a.Decision, a.Score = scoring.Decision(1+random.IntN(4)), random.IntN(101)
		for range policy.Slots() {
			a.Values = append(a.Values, value())
		}
		if some() {
			a.ID = record.NewEventID(record.Seq(random.Uint64()), random.Uint64())
		}
		if some() {
			a.Phone = hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [16]byte{1, byte(random.IntN(256))}}
			a.Links, a.MaxLinks, a.FirstSeen = engine.Links{Count: random.IntN(5), Linked: some()}, random.IntN(4), 1_700_000_000
		}
		if some() {
			a.Number = engine.Number{Given: true, Valid: some(), Region: "US", Type: "mobile"}
			a.number = number
		}
		for range random.IntN(3) {
			a.Reasons = append(a.Reasons, scoring.Reason{Code: `A"<\é`, Points: random.IntN(9) - 4, Observed: value(), Limit: value(), Window: time.Duration(random.IntN(2)) * time.Hour})
			a.Degraded = append(a.Degraded, "x")
		}
		a.Holdout = some()
		if some() {
			a.Probability, a.CalibrationLabels = float64(random.IntN(3))/2+random.Float64()*float64(random.IntN(2)), random.Uint64()
		}
		for range random.IntN(3) {
			a.Shadows = append(a.Shadows, record.Shadow{Policy: random.Uint32(), Score: random.IntN(101), Decision: scoring.Decision(1 + random.IntN(4))})
		}
		got := a.appendJSON(nil)
		want, err := json.Marshal(wire(a))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}
