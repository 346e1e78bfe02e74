package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

// Rekey goes on with the hashers of a keyring that was rotated, by name of the domain; every domain that is served needs one. It
// waits until nobody works on a subject that was made before, and requests wait meanwhile: or one of them could count under the old key what
// another has just moved to the new one. The store has to know the keys already. The engines stay.
func (s *Server) Rekey(spaces map[string]Space) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	next := map[string]*Space{}
	for name, old := range *s.spaces.Load() {
		space := spaces[name]
		if space.Hasher == nil || space.Hasher.Domain() != old.Hasher.Domain() {
			return errors.New("server: a domain that is served is not in the keyring")
		}
		next[name] = &Space{old.Engine, space.Hasher, space.Keys}
	}
	s.spaces.Store(&next)
	return nil
}

// settle moves what older keys hold of a number, or its token, and of an account to the present key. It comes before they
// are named to the engine, which does so itself for events. The zero Number and "" are not given.
func (s *Server) settle(ctx context.Context, phone hashing.Subject, number hashing.Number, account string) error {
	space := s.space(ctx)
	if !space.Hasher.Rotated() {
		return nil
	}
	var to hashing.Version
	to.Subjects, to.Link = space.Hasher.Subjects(number, account, "", netip.Addr{})
	to.Subjects[hashing.Phone] = phone
	return space.Engine.Migrate(ctx, to, space.Hasher.Older(number, account, "", netip.Addr{}))
}

// privacy says under which keys the caller's domain keeps subjects, and for how long.
func (s *Server) privacy(c *gin.Context) {
	space, r := s.space(c.Request.Context()), s.cfg.Retention
	answer := api.Privacy{
		Domain: s.cfg.Domain,
		Retention: api.Retention{
			SubjectSeconds: int64(r.Subjects.Seconds()), EventSeconds: int64(r.Log.Seconds()), EventBytes: r.LogBytes, IdempotencySeconds: engine.OnceFor,
		},
		Keys: []api.SubjectKey{},
	}
	if caller := callerOf(c.Request.Context()); caller != nil {
		answer.Domain = caller.Domain
	}
	var use map[hashing.KeyID]uint64
	if s.cfg.KeyUse != nil {
		counted, at := s.cfg.KeyUse()
		if use = counted; use != nil {
			answer.CountedAt = timeText(at.Unix())
		}
	}
	for _, k := range space.Keys {
		key := api.SubjectKey{ID: int(k.ID), State: string(k.State), CreatedAt: timeText(k.Created.Unix())}
		if use != nil {
			n := use[k.ID]
			key.Subjects = &n
		}
		answer.Keys = append(answer.Keys, key)
	}
	c.Data(http.StatusOK, "application/json", encode(answer))
}
