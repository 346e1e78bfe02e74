package server

import (
	"context"
	"fmt"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// phone returns the subject that a number or a token stands for.
func (s *Server) phone(ctx context.Context, number, region, token string) (hashing.Subject, hashing.Number, error) {
	if bad := intake.Region(region); bad != nil {
		return hashing.Subject{}, hashing.Number{}, bad
	}
	switch {
	case (number == "") == (token == ""):
		return hashing.Subject{}, hashing.Number{}, invalid(api.FieldError{Pointer: "/phone_number", Code: "missing", Hint: "give either phone_number or phone_token"})
	case token != "":
		subject, err := s.space(ctx).Hasher.Token(token)
		if err != nil {
			err = invalid(api.FieldError{Pointer: "/phone_token", Code: "format", Hint: "send it as it came in an answer"})
		}
		return subject, hashing.Number{}, err // the store knows itself where that is by now
	}
	n, err := hashing.Parse(number, region)
	if err != nil {
		return hashing.Subject{}, n, invalid(api.FieldError{Pointer: "/phone_number", Code: hashing.Problem(err), Hint: "a valid phone number, with + or default_region"})
	}
	return s.space(ctx).Hasher.Phone(n), n, nil
}

// named is a phone, and whether it has to be known: see engine.Event.Known.
type named struct {
	phone hashing.Subject
	known bool
}

// known reports whether a phone has to be, the zero Number being that of one that came as a token.
func (s *Server) known(ctx context.Context, number hashing.Number) bool {
	return !number.Given() && s.space(ctx).Hasher.Rotated()
}

// linking is the phone and the account of a request that needs both.
type linking struct {
	named
	account hashing.Subject
	tag     hashing.LinkTag
}

func (s *Server) readLink(j *job, req *api.PhoneRequest) (in linking, err error) {
	var bad []api.FieldError
	if req.AccountID == "" {
		bad = append(bad, api.FieldError{Pointer: "/account_id", Code: "missing", Hint: "1 to 256 bytes"})
	}
	bad = append(bad, intake.ID("/account_id", req.AccountID)...)
	var number hashing.Number
	if in.phone, number, err = s.phone(j.ctx, req.PhoneNumber, req.DefaultRegion, req.PhoneToken); err != nil {
		bad = append(bad, explain(err).fields...)
	}
	if len(bad) > 0 {
		return in, invalid(bad...)
	}
	in.account = s.space(j.ctx).Hasher.Account(req.AccountID)
	in.tag = s.space(j.ctx).Hasher.LinkTag(in.account)
	if err := s.spend(j.ctx, in.phone, number); err != nil {
		return in, err
	}
	in.known = s.known(j.ctx, number)
	return in, s.settle(j.ctx, in.phone, number, req.AccountID)
}

func (s *Server) readPhone(j *job, req *api.PhoneRequest) (in named, err error) {
	var number hashing.Number
	if in.phone, number, err = s.phone(j.ctx, req.PhoneNumber, req.DefaultRegion, req.PhoneToken); err != nil {
		return in, err
	}
	if err := s.spend(j.ctx, in.phone, number); err != nil {
		return in, err
	}
	in.known = s.known(j.ctx, number)
	return in, s.settle(j.ctx, in.phone, number, "")
}

func (s *Server) checkLink(j *job, in linking) (any, error) {
	state, err := s.space(j.ctx).Engine.CheckLink(j.ctx, in.phone, in.account, in.tag)
	if err != nil {
		return nil, err
	}
	return api.LinkAnswer{
		Accounts: wireAccounts(accounts(j.ctx, state.Links, state.MaxLinks)), Since: timeText(state.Since),
		NumberChanges: state.NumberChanges, Numbers: state.Numbers,
	}, nil
}

func (s *Server) unlink(j *job, in linking) (any, error) {
	u := &engine.Unlink{Phone: in.phone, Known: in.known, Link: in.tag, Once: j.once}
	answer := func() any { return api.UnlinkAnswer{Unlinked: u.Unlinked, Verified: u.Links.Count} }
	j.remember(answer)
	if err := s.space(j.ctx).Engine.Unlink(j.ctx, u); err != nil {
		return nil, err
	}
	if u.Unlinked {
		note(j.ctx, objectOf(in.phone), fmt.Sprintf("%d accounts linked", u.Links.Count+1), fmt.Sprintf("%d accounts linked", u.Links.Count))
	} else {
		note(j.ctx, objectOf(in.phone), "the account was not linked", "nothing changed")
	}
	return answer(), nil
}

func (s *Server) release(j *job, in named) (any, error) {
	r := &engine.Release{Phone: in.phone, Known: in.known, Once: j.once}
	answer := func() any { return api.ReleaseAnswer{Generation: r.Generation} }
	j.remember(answer)
	if err := s.space(j.ctx).Engine.Release(j.ctx, r); err != nil {
		return nil, err
	}
	note(j.ctx, objectOf(in.phone), fmt.Sprintf("generation %d", r.Generation-1), fmt.Sprintf("generation %d", r.Generation))
	return answer(), nil
}

func (s *Server) lookup(j *job, in named) (any, error) {
	p, err := s.space(j.ctx).Engine.Lookup(j.ctx, in.phone)
	if err != nil {
		return nil, err
	}
	out := &api.Profile{
		PhoneToken: in.phone.Token(), Known: p.Known, FirstSeen: timeText(p.FirstSeen), LastSeen: timeText(p.LastSeen),
		Verified: p.Verified, Accounts: wireAccounts(engine.Links{Count: p.Links}, p.MaxLinks), Generation: p.Generation,
		Abuse: p.Abuse, Legitimate: p.Legitimate, Lists: append([]string{}, p.Lists...),
		Velocity: []api.Velocity{}, Timeline: []api.Event{},
	}
	for _, v := range p.Velocity {
		out.Velocity = append(out.Velocity, api.Velocity{Event: v.Event.String(), Hour: v.Hour, Day: v.Day, Week: v.Week, Month: v.Month, Total: v.Total})
	}
	for _, e := range p.Timeline {
		line := api.Event{AssessmentID: e.ID.String(), OccurredAt: timeText(e.Time), Event: e.Kind.String(), Decision: e.Verdict.String(), Score: e.Score, Outcomes: []string{}}
		for _, o := range e.Outcomes() {
			line.Outcomes = append(line.Outcomes, o.Kind.String())
		}
		out.Timeline = append(out.Timeline, line)
	}
	return out, nil
}
