// Package intake turns what somebody sent into what the engine takes. It is
// where a number, an account id, an address and a device id become pseudonyms: behind
// Event, nobody knows them any more. The server and the replay of files share it,
// so that both accept and refuse the same.
package intake

import (
	"math"
	"net/netip"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// maxID is the longest account or device id in bytes.
const maxID = 256

// Event checks a request and hashes it. The error is Fields; a number that is
// not valid is none: such an event is assessed too. why says why a given
// number is not valid, nil where it is. Behind a token only the phone is known: no
// range, and nothing of what a number tells.
func Event(h *hashing.Hasher, req *api.AssessmentRequest) (ev *engine.Event, number hashing.Number, why, err error) {
	kind, ip, bad := check(req)
	phone, wrong := token(h, req)
	if bad = append(bad, wrong...); len(bad) > 0 {
		return nil, hashing.Number{}, nil, bad
	}
	if req.PhoneNumber != "" {
		number, why = hashing.Parse(req.PhoneNumber, req.DefaultRegion)
	}
	ev = &engine.Event{Kind: kind, Country: req.IPCountry, Verified: req.Verified}
	ev.Number = engine.Number{
		Given: req.PhoneNumber != "", Valid: number.Given(), Region: number.Region(), Type: number.Type(),
	}
	ev.Subjects, ev.Link = h.Subjects(number, req.AccountID, req.DeviceID, ip)
	if phone.Given() {
		ev.Subjects[hashing.Phone] = phone
	}
	if h.Rotated() {
		ev.Older = h.Older(number, req.AccountID, req.DeviceID, ip)
		ev.Known = phone.Given()
	}
	return ev, number, why, nil
}

// token returns the phone that a token stands for, the zero Subject without one. The
// block around the number cannot be told from it, nor what the number is.
func token(h *hashing.Hasher, req *api.AssessmentRequest) (hashing.Subject, Fields) {
	if req.PhoneToken == "" {
		return hashing.Subject{}, nil
	}
	if req.PhoneNumber != "" {
		return hashing.Subject{}, Fields{{Pointer: "/phone_token", Code: "unexpected", Hint: "give either phone_number or phone_token"}}
	}
	phone, err := h.Token(req.PhoneToken)
	if err != nil || phone.Kind != hashing.Phone {
		return hashing.Subject{}, Fields{{Pointer: "/phone_token", Code: "format", Hint: "send it as it came in an answer"}}
	}
	return phone, nil
}

func check(req *api.AssessmentRequest) (kind scoring.Event, ip netip.Addr, bad Fields) {
	kind, ok := scoring.ParseEvent(req.Event)
	if !ok || kind.Outcome() {
		code := "unknown_value"
		if req.Event == "" {
			code = "missing"
		}
		bad = append(bad, api.FieldError{Pointer: "/event", Code: code, Hint: "signup, verification, sign_in, checkout, recovery or number_change"})
	}
	if req.IP != "" {
		var err error
		if ip, err = netip.ParseAddr(req.IP); err != nil {
			bad = append(bad, api.FieldError{Pointer: "/ip", Code: "format", Hint: "an IPv4 or IPv6 address"})
		}
	}
	if req.IPCountry != "" && math.IsNaN(scoring.RegionCode(req.IPCountry)) {
		bad = append(bad, api.FieldError{Pointer: "/ip_country", Code: "format", Hint: "two upper-case letters"})
	}
	bad = append(bad, ID("/account_id", req.AccountID)...)
	bad = append(bad, ID("/device_id", req.DeviceID)...)
	bad = append(bad, Region(req.DefaultRegion)...)
	nobody := req.PhoneNumber == "" && req.PhoneToken == ""
	switch {
	case nobody && kind == scoring.Verification:
		bad = append(bad, api.FieldError{Pointer: "/phone_number", Code: "missing", Hint: "a verification is of a number"})
	case req.Verified && (nobody || req.AccountID == ""):
		bad = append(bad, api.FieldError{Pointer: "/verified", Code: "needs_more", Hint: "give the number and the account that were verified"})
	}
	return kind, ip, bad
}

// ID checks an account or device id; "" is not given.
func ID(pointer, id string) Fields {
	if len(id) > maxID {
		return Fields{{Pointer: pointer, Code: "too_long", Hint: "at most 256 bytes"}}
	}
	return nil
}

// Region checks a default region; "" is not given.
func Region(region string) Fields {
	if region != "" && !hashing.KnownRegion(region) {
		return Fields{{Pointer: "/default_region", Code: "unknown_value", Hint: "two upper-case letters of a country with a numbering plan"}}
	}
	return nil
}
