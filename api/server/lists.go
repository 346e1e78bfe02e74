package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

func (s *Server) lists(c *gin.Context) {
	names, err := s.space(c.Request.Context()).Engine.Lists(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(api.ListNames{Lists: append([]string{}, names...)}))
}

// addEntries takes one entry, or a stream of them.
func (s *Server) addEntries(c *gin.Context) {
	var err error
	switch {
	case !engine.CheckListName(c.Param("name")):
		err = refuseRoute
	case c.ContentType() == ndjson:
		err = s.importEntries(c)
	default:
		var raw []byte
		if raw, err = body(c); err == nil {
			err = serve(s, c, raw, s.readEntry, s.addEntry)
		}
	}
	if err != nil {
		s.refuse(c, err)
	}
}

func (s *Server) addEntry(j *job, e engine.ListEntry) (any, error) {
	answer := api.ListAnswer{Added: 1}
	j.remember(func() any { return answer })
	before, err := s.listed(j.ctx, e.List, e.Subject)
	if err == nil {
		err = s.space(j.ctx).Engine.PutEntries(j.ctx, []engine.ListEntry{e}, j.once)
	}
	if err != nil {
		return nil, err
	}
	after := "on list " + e.List
	if e.Reason != "" {
		after += ", reason " + e.Reason
	}
	if e.Expires != 0 {
		after += ", until " + timeText(e.Expires)
	}
	note(j.ctx, objectOf(e.Subject), before, after)
	return answer, nil
}

// listed says for the audit whether a subject is on a list.
func (s *Server) listed(ctx context.Context, list string, subject hashing.Subject) (string, error) {
	if visitOf(ctx) == nil || subject.Kind != hashing.Phone {
		return "", nil
	}
	p, err := s.space(ctx).Engine.Lookup(ctx, subject)
	if err != nil {
		return "", err
	}
	if slices.Contains(p.Lists, list) {
		return "on list " + list, nil
	}
	return "not on list " + list, nil
}

func (s *Server) readEntry(j *job, req *api.ListEntry) (e engine.ListEntry, err error) {
	e = engine.ListEntry{List: j.path, Reason: req.Reason}
	var bad intake.Fields
	var number hashing.Number
	if e.Subject, number, err = s.phone(j.ctx, req.PhoneNumber, req.DefaultRegion, req.PhoneToken); err != nil {
		bad = append(bad, explain(err).fields...)
	}
	switch {
	case req.Entry == "range" && number.Given():
		e.Subject = s.space(j.ctx).Hasher.Range(number)
	case req.Entry == "range" && req.PhoneNumber != "":
		// the number is wrong, and was said to be
	case req.Entry != "" && req.Entry != "number":
		bad = append(bad, api.FieldError{Pointer: "/entry", Code: "unknown_value", Hint: "number, or range with a phone_number"})
	}
	if !engine.CheckCode(req.Reason) {
		bad = append(bad, api.FieldError{Pointer: "/reason", Code: "format", Hint: "a short lower-case code"})
	}
	var wrong intake.Fields
	e.Added, wrong = readTime("/added_at", req.AddedAt)
	bad = append(bad, wrong...)
	e.Expires, wrong = readTime("/expires_at", req.ExpiresAt)
	if bad = append(bad, wrong...); len(bad) > 0 {
		return e, bad
	}
	return e, s.settle(j.ctx, s.space(j.ctx).Hasher.Phone(number), number, "")
}

// readTime returns unix seconds, 0 for "".
func readTime(pointer, text string) (int64, intake.Fields) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, intake.Fields{{Pointer: pointer, Code: "format", Hint: "RFC 3339, such as 2027-01-02T03:04:05Z"}}
	}
	return t.Unix(), nil
}

// Bounds of an import.
const (
	maxImport  = 1_000_000 // lines
	maxRefused = 1000      // lines that the answer names
)

// importEntries puts every line of a stream on a list that is an entry, and says which are
// not. Lines that come together are committed together. What an import that is cut short
// took stays; the same lines again replace it.
func (s *Server) importEntries(c *gin.Context) error {
	leave, err := s.openStream(c)
	if err != nil {
		return err
	}
	defer leave()
	answer := api.ImportAnswer{Lines: []api.RefusedLine{}}
	s.stream(c, maxImport, func(lines []line) error {
		return s.importLines(c, lines, &answer)
	}, func(last int, err error) {
		if answer.Added > 0 || err == nil {
			note(c.Request.Context(), "", "", fmt.Sprintf("on list %s: %d entries added or replaced, %d lines refused", c.Param("name"), answer.Added, answer.Refused))
		}
		if err != nil {
			r := *explain(err)
			r.detail = fmt.Sprintf("the lines up to %d were taken", last-1)
			s.refuse(c, &r)
		} else {
			tell(c, http.StatusOK, "application/json", encode(answer))
		}
		c.Writer.Flush()
	})
	return nil
}

func (s *Server) importLines(c *gin.Context, lines []line, answer *api.ImportAnswer) error {
	s.turn.RLock()
	defer s.turn.RUnlock()
	entries, errs := make([]engine.ListEntry, len(lines)), make([]error, len(lines))
	spread(len(lines), func(i int) {
		s.shielded(requestIDOf(c), &errs[i], func() (err error) {
			if lines[i].text == nil {
				return refuseTooLarge
			}
			entries[i], err = decode(&job{ctx: c.Request.Context(), path: c.Param("name")}, lines[i].text, s.readEntry)
			return err
		})
	})
	good := entries[:0]
	for i, err := range errs {
		if err == nil {
			good = append(good, entries[i])
		} else {
			refuseLine(answer, lines[i].n, err)
		}
	}
	if len(good) > 0 {
		if err := s.space(c.Request.Context()).Engine.PutEntries(c.Request.Context(), good, nil); err != nil {
			return err
		}
	}
	answer.Read += len(lines)
	answer.Added += len(good)
	s.lines.WithLabelValues(entriesRoute, "200").Add(float64(len(good)))
	s.lines.WithLabelValues(entriesRoute, "422").Add(float64(len(lines) - len(good)))
	return nil
}

const entriesRoute = "/v1/lists/:name/entries"

// refuseLine counts a line that is no entry, and names it while there is room.
func refuseLine(answer *api.ImportAnswer, n int, err error) {
	answer.Refused++
	if len(answer.Lines) >= maxRefused {
		return
	}
	r := explain(err)
	field := api.FieldError{Code: r.code, Hint: r.detail}
	if len(r.fields) > 0 {
		field = r.fields[0]
	}
	answer.Lines = append(answer.Lines, api.RefusedLine{Line: n, FieldError: field})
}

// pageSize is how many entries of a list a page has.
const pageSize = 500

func (s *Server) listEntries(c *gin.Context) {
	var after hashing.Subject
	if cursor := c.Query("cursor"); cursor != "" {
		var err error
		if after, err = s.space(c.Request.Context()).Hasher.Token(cursor); err != nil {
			s.refuse(c, invalid(api.FieldError{Pointer: "/cursor", Code: "format", Hint: "send it as it came in the page before"}))
			return
		}
	}
	entries, err := s.space(c.Request.Context()).Engine.Entries(c.Request.Context(), c.Param("name"), after, pageSize)
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
	subject, err := s.space(c.Request.Context()).Hasher.Token(c.Query("token"))
	if err != nil {
		s.refuse(c, invalid(api.FieldError{Pointer: "/token", Code: "format", Hint: "the phone_token of the entry"}))
		return
	}
	removed, err := s.space(c.Request.Context()).Engine.RemoveEntry(c.Request.Context(), c.Param("name"), subject)
	if err != nil {
		s.refuse(c, err)
		return
	}
	if name := c.Param("name"); engine.CheckListName(name) { // no other can have an entry, or be repeated
		before := map[bool]string{true: "on list ", false: "not on list "}[removed]
		note(c.Request.Context(), objectOf(subject), before+name, "not on list "+name)
	}
	c.Data(http.StatusOK, "application/json", encode(api.RemoveAnswer{Removed: removed}))
}
