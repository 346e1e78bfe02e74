package server

import (
	"math"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// maxID is the longest account or device id in bytes.
const maxID = 256

func (s *Server) assess(j *job, req *api.AssessmentRequest) (any, error) {
	ev, number, err := s.event(req)
	if err != nil {
		return nil, err
	}
	a := new(engine.Assessment)
	if req.Record != nil && !*req.Record {
		if err := s.cfg.Engine.Peek(j.ctx, ev, a); err != nil {
			return nil, err
		}
		return wireAssessment(a, number), nil
	}
	ev.Once = j.once
	j.remember(func() any { return wireAssessment(a, number) })
	if err := s.cfg.Engine.Assess(j.ctx, ev, a); err != nil {
		return nil, err
	}
	return wireAssessment(a, number), nil
}

// event checks a request and hashes it. After it, nobody knows the number.
func (s *Server) event(req *api.AssessmentRequest) (*engine.Event, hashing.Number, error) {
	var bad []api.FieldError
	kind, ok := scoring.ParseEvent(req.Event)
	if !ok || kind.Outcome() {
		bad = append(bad, api.FieldError{Pointer: "/event", Code: "unknown_value", Hint: "signup, verification, sign_in, checkout, recovery or number_change"})
	}
	var ip netip.Addr
	if req.IP != "" {
		var err error
		if ip, err = netip.ParseAddr(req.IP); err != nil {
			bad = append(bad, api.FieldError{Pointer: "/ip", Code: "format", Hint: "an IPv4 or IPv6 address"})
		}
	}
	if req.IPCountry != "" && math.IsNaN(scoring.RegionCode(req.IPCountry)) {
		bad = append(bad, api.FieldError{Pointer: "/ip_country", Code: "format", Hint: "two upper-case letters"})
	}
	bad = append(bad, checkID("/account_id", req.AccountID)...)
	bad = append(bad, checkID("/device_id", req.DeviceID)...)
	bad = append(bad, checkRegion(req.DefaultRegion)...)
	switch {
	case req.PhoneNumber == "" && kind == scoring.Verification:
		bad = append(bad, api.FieldError{Pointer: "/phone_number", Code: "missing", Hint: "a verification is of a number"})
	case req.Verified && (req.PhoneNumber == "" || req.AccountID == ""):
		bad = append(bad, api.FieldError{Pointer: "/verified", Code: "needs_more", Hint: "give the number and the account that were verified"})
	}
	if len(bad) > 0 {
		return nil, hashing.Number{}, invalid(bad...)
	}
	number, _ := hashing.Parse(req.PhoneNumber, req.DefaultRegion) // an invalid number is assessed too
	ev := &engine.Event{Kind: kind, Country: req.IPCountry, Verified: req.Verified}
	ev.Number = engine.Number{
		Given: req.PhoneNumber != "", Valid: number.Given(), Region: number.Region(), Type: number.Type(),
	}
	ev.Subjects, ev.Link = s.cfg.Hasher.Subjects(number, req.AccountID, req.DeviceID, ip)
	return ev, number, nil
}

func checkID(pointer, id string) []api.FieldError {
	if len(id) > maxID {
		return []api.FieldError{{Pointer: pointer, Code: "too_long", Hint: "at most 256 bytes"}}
	}
	return nil
}

func checkRegion(region string) []api.FieldError {
	if region != "" && !hashing.KnownRegion(region) {
		return []api.FieldError{{Pointer: "/default_region", Code: "unknown_value", Hint: "two upper-case letters of a country with a numbering plan"}}
	}
	return nil
}

func wireAssessment(a *engine.Assessment, number hashing.Number) *api.Assessment {
	out := &api.Assessment{
		PhoneToken: a.Phone.Token(), Decision: a.Decision.String(), Score: a.Score,
		Reasons: []api.Reason{}, PublicMessage: scoring.PublicMessage(a.Decision), Signals: map[string]float64{},
		FirstSeen: timeText(a.FirstSeen), Policy: api.Policy{Name: a.Policy.Name(), Version: a.Version},
		Holdout: a.Holdout, Degraded: append([]string{}, a.Degraded...),
	}
	if a.ID.Given() {
		out.AssessmentID = a.ID.String()
	}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, api.Reason{
			Code: r.Code, Points: r.Points, Observed: known64(r.Observed), Limit: known64(r.Limit), Window: scoring.FormatWindow(r.Window),
		})
	}
	for i, signal := range a.Policy.Signals() {
		if v := a.Values[scoring.SlotSignals+i]; !math.IsNaN(v) {
			out.Signals[signal.Name] = v
		}
	}
	if a.Number.Given {
		out.Number = &api.Number{Valid: a.Number.Valid, Region: a.Number.Region, Type: a.Number.Type, CanReceiveSMS: number.CanReceiveSMS()}
	}
	if a.Phone.Given() {
		accounts := wireAccounts(a.Links, a.MaxLinks)
		out.Accounts = &accounts
	}
	return out
}

// known64 leaves an unknown value out of an answer.
func known64(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func wireAccounts(l engine.Links, most int) api.Accounts {
	out := api.Accounts{Verified: l.Count, Linked: l.Linked}
	if most > 0 {
		left := max(most-l.Count, 0)
		out.Max, out.Remaining = &most, &left
	}
	return out
}

// timeText writes unix seconds, "" for 0.
func timeText(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}
