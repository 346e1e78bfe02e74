package engine

import (
	"context"

	"github.com/ringfence/ringfence/hashing"
)

// The two lists that decide by themselves. Any other name is a signal for policies.
const (
	DenyList  = "deny"
	AllowList = "allow"
)

// ListEntry puts one subject on one list.
type ListEntry struct {
	List    string // see CheckListName
	Subject hashing.Subject
	Reason  string // a short code: see CheckCode
	Added   int64  // unix seconds
	Expires int64  // unix seconds, the first second it is no longer in force; 0 is never
}

// CheckListName reports whether name can name a list: a lower-case letter, then up to
// 31 lower-case letters, digits and underscores, and at most four digits in
// all, so that no number fits into it.
func CheckListName(name string) bool {
	return len(name) <= 32 && checkWord(name, false)
}

// CheckCode reports whether s can be a reason or a source: "" or a lower-case letter, then up
// to 63 lower-case letters, digits, underscores, hyphens and dots, and at most four
// digits in all, so that no number fits into it.
func CheckCode(s string) bool {
	return s == "" || len(s) <= 64 && checkWord(s, true)
}

func checkWord(s string, code bool) bool {
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
		case i == 0:
			return false
		case c >= '0' && c <= '9':
			digits++
		case c == '_', code && (c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != "" && digits <= 4
}

// PutEntries adds entries to lists, or replaces them. Added is set to now where
// it is zero.
func (e *Engine) PutEntries(ctx context.Context, entries []ListEntry, once *Once) error {
	now := e.Now()
	for i := range entries {
		if entries[i].Added == 0 {
			entries[i].Added = now
		}
	}
	return e.cfg.Store.PutEntries(ctx, e.cfg.Domain, entries, once)
}

// RemoveEntry takes a subject off a list and reports whether it was on it.
func (e *Engine) RemoveEntry(ctx context.Context, list string, s hashing.Subject) (bool, error) {
	return e.cfg.Store.RemoveEntry(ctx, e.cfg.Domain, list, s, e.Now())
}

// Entries returns up to limit entries of a list that are in force, those after a subject (zero:
// from the start).
func (e *Engine) Entries(ctx context.Context, list string, after hashing.Subject, limit int) ([]ListEntry, error) {
	return e.cfg.Store.Entries(ctx, e.cfg.Domain, list, after, limit, e.Now())
}

// Lists returns the names of all lists, sorted.
func (e *Engine) Lists(ctx context.Context) ([]string, error) {
	return e.cfg.Store.Lists(ctx, e.cfg.Domain)
}
