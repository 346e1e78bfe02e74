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

// linking is the phone and the account of a request that needs both.
type linking struct {
	phone, account hashing.Subject
	tag            hashing.LinkTag
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
	return in, s.settle(j.ctx, in.phone, number, req.AccountID)
}

func (s *Server) readPhone(j *job, req *api.PhoneRequest) (hashing.Subject, error) {
	phone, number, err := s.phone(j.ctx, req.PhoneNumber, req.DefaultRegion, req.PhoneToken)
	if err != nil {
		return phone, err
	}
	if err := s.spend(j.ctx, phone, number); err != nil {
		return phone, err
	}
	return phone, s.settle(j.ctx, phone, number, "")
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
	u := &engine.Unlink{Phone: in.phone, Link: in.tag, Once: j.once}
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

func (s *Server) release(j *job, phone hashing.Subject) (any, error) {
	r := &engine.Release{Phone: phone, Once: j.once}
	answer := func() any { return api.ReleaseAnswer{Generation: r.Generation} }
	j.remember(answer)
	if err := s.space(j.ctx).Engine.Release(j.ctx, r); err != nil {
		return nil, err
	}
	note(j.ctx, objectOf(phone), fmt.Sprintf("generation %d", r.Generation-1), fmt.Sprintf("generation %d", r.Generation))
	return answer(), nil
}

func (s *Server) lookup(j *job, phone hashing.Subject) (any, error) {
	p, err := s.space(j.ctx).Engine.Lookup(j.ctx, phone)
	if err != nil {
		return nil, err
	}
	out := &api.Profile{
		PhoneToken: phone.Token(), Known: p.Known, FirstSeen: timeText(p.FirstSeen), LastSeen: timeText(p.LastSeen),
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
