package api

import (
	"fmt"
	"strings"
	"time"
)

const problemType = "urn:ringfence:problem:"

// ProblemType returns the type of a problem by its code, as Problem.Type has it.
func ProblemType(code string) string { return problemType + code }

// Error is an answer that is no success. Compare it with the errors below by
// errors.Is, or take it apart by errors.As.
type Error struct {
	Problem

	// RetryAfter is how long the server asks to wait; 0 when it does not say.
	RetryAfter time.Duration
}

// Error says what the server said. Nothing of the request is in it.
func (e *Error) Error() string {
	text := fmt.Sprintf("ringfence answers %d: %s", e.Status, e.Title)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	var fields []string
	for _, f := range e.Errors {
		fields = append(fields, strings.TrimSpace(strings.TrimPrefix(f.Pointer, "/")+" "+f.Code))
	}
	if len(fields) > 0 {
		text += ": " + strings.Join(fields, ", ")
	}
	return text
}

// Is compares the types of problems.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Type == e.Type
}

func problem(code string) error { return &Error{Problem: Problem{Type: ProblemType(code)}} }

// What a server may answer besides success. Not all of its problems have a
// name here.
var (
	ErrInvalid           = problem("invalid")            // fields are wrong: see Problem.Errors
	ErrUnknownAssessment = problem("unknown-assessment") // the id is not in the log
	ErrKeyReused         = problem("key-reused")         // the Idempotency-Key came with another request before
	ErrInFlight          = problem("in-flight")          // a request with the same key is under way
	ErrStore             = problem("store")              // the server cannot read or write at the moment
)
