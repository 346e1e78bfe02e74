package server

import (
	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// readErase returns a phone under every key, the primary first. A token stands for one of them; the store knows where that is by now, and
// what it was before.
func (s *Server) readErase(j *job, req *api.PhoneRequest) ([]hashing.Subject, error) {
	phone, number, err := s.phone(j.ctx, req.PhoneNumber, req.DefaultRegion, req.PhoneToken)
	if err != nil {
		return nil, err
	}
	phones := []hashing.Subject{phone}
	if number.Given() {
		phones = s.space(j.ctx).Hasher.PhoneVersions(number)
	}
	return phones, s.spend(j.ctx, phone, number)
}

// erase forgets a phone. Its answer depends on nothing but the number and the time.
func (s *Server) erase(j *job, phones []hashing.Subject) (any, error) {
	e := &engine.Erasure{Phones: phones, Once: j.once}
	answer := func() any {
		return api.EraseAnswer{ErasedAt: timeText(e.Now), Receipt: s.space(j.ctx).Hasher.Receipt(phones[0], e.Now)}
	}
	j.remember(answer)
	if err := s.space(j.ctx).Engine.Erase(j.ctx, e); err != nil {
		return nil, err
	}
	note(j.ctx, objectOf(phones[0]), "", "erased, receipt "+s.space(j.ctx).Hasher.Receipt(phones[0], e.Now))
	return answer(), nil
}
