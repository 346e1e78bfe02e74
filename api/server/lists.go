package server

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

func (s *Server) lists(c *gin.Context) {
	names, err := s.cfg.Engine.Lists(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(api.ListNames{Lists: append([]string{}, names...)}))
}

func (s *Server) readEntry(j *job, req *api.ListEntry) (e engine.ListEntry, err error) {
	if !engine.CheckListName(j.path) {
		return e, refuseRoute
	}
	e = engine.ListEntry{List: j.path, Reason: req.Reason}
	var bad []api.FieldError
	var number hashing.Number
	if e.Subject, number, err = s.phone(req.PhoneNumber, req.DefaultRegion, req.PhoneToken); err != nil {
		bad = append(bad, explain(err).fields...)
	}
	switch {
	case req.Entry == "range" && number.Given():
		e.Subject = s.cfg.Hasher.Range(number)
	case req.Entry == "range" && req.PhoneNumber != "":
		// the number is wrong, and was said to be
	case req.Entry != "" && req.Entry != "number":
		bad = append(bad, api.FieldError{Pointer: "/entry", Code: "unknown_value", Hint: "number, or range with a phone_number"})
	}
	if !engine.CheckCode(req.Reason) {
		bad = append(bad, api.FieldError{Pointer: "/reason", Code: "format", Hint: "a short lower-case code"})
	}
	if req.ExpiresAt != "" {
		t, err := time.Parse(time.RFC3339, req.ExpiresAt)
		if err != nil {
			bad = append(bad, api.FieldError{Pointer: "/expires_at", Code: "format", Hint: "RFC 3339, such as 2027-01-02T03:04:05Z"})
		}
		e.Expires = t.Unix()
	}
	if len(bad) > 0 {
		return e, invalid(bad...)
	}
	return e, nil
}

func (s *Server) addEntry(j *job, e engine.ListEntry) (any, error) {
	answer := api.ListAnswer{Added: 1}
	j.remember(func() any { return answer })
	return answer, s.cfg.Engine.PutEntries(j.ctx, []engine.ListEntry{e}, j.once)
}

// pageSize is how many entries of a list a page has.
const pageSize = 500

func (s *Server) listEntries(c *gin.Context) {
	var after hashing.Subject
	if cursor := c.Query("cursor"); cursor != "" {
		var err error
		if after, err = s.cfg.Hasher.Token(cursor); err != nil {
			s.refuse(c, invalid(api.FieldError{Pointer: "/cursor", Code: "format", Hint: "send it as it came in the page before"}))
			return
		}
	}
	entries, err := s.cfg.Engine.Entries(c.Request.Context(), c.Param("name"), after, pageSize)
	if err != nil {
		s.refuse(c, err)
		return
	}
	page := api.ListPage{Entries: []api.ListEntry{}}
	for _, e := range entries {
		page.Entries = append(page.Entries, api.ListEntry{PhoneToken: e.Subject.Token(), Reason: e.Reason, ExpiresAt: timeText(e.Expires), AddedAt: timeText(e.Added)})
	}
	if len(entries) == pageSize {
		page.Cursor = page.Entries[pageSize-1].PhoneToken
	}
	c.Data(http.StatusOK, "application/json", encode(page))
}

func (s *Server) removeEntry(c *gin.Context) {
	subject, err := s.cfg.Hasher.Token(c.Query("token"))
	if err != nil {
		s.refuse(c, invalid(api.FieldError{Pointer: "/token", Code: "format", Hint: "the phone_token of the entry"}))
		return
	}
	removed, err := s.cfg.Engine.RemoveEntry(c.Request.Context(), c.Param("name"), subject)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(api.RemoveAnswer{Removed: removed}))
}
