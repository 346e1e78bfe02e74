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
		if f.Line > 0 {
			fields = append(fields, fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, strings.TrimSpace(f.Cause+" "+hinted(f.Hint))))
			continue
		}
		fields = append(fields, strings.TrimSpace(strings.TrimPrefix(f.Pointer, "/")+" "+f.Code))
	}
	if len(fields) > 0 {
		text += ": " + strings.Join(fields, ", ")
	}
	return text
}

func hinted(hint string) string {
	if hint == "" {
		return ""
	}
	return "(" + hint + ")"
}

// Is compares the types of problems.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Type == e.Type
}

func problem(code string) error { return &Error{Problem: Problem{Type: ProblemType(code)}} }

// Err returns the problem of a line as an *Error, nil for one that has an assessment.
func (a *BatchAnswer) Err() error { return errorOf(a.Problem) }

// Err returns the problem of an outcome as an *Error, nil for one that was recorded.
func (r *OutcomeResult) Err() error { return errorOf(r.Problem) }

func errorOf(p *Problem) error {
	if p == nil {
		return nil
	}
	return &Error{Problem: *p}
}

// What a server answers besides success.
var (
	ErrInvalid           = problem("invalid")            // fields are wrong: see Problem.Errors
	ErrUnknownAssessment = problem("unknown-assessment") // the id is not in the log
	ErrIdempotencyKey    = problem("idempotency-key")    // the key is not usable
	ErrKeyReused         = problem("key-reused")         // the key came with another request before
	ErrInFlight          = problem("in-flight")          // a request with the same key is under way
	ErrTooManyLists      = problem("too-many-lists")     // there is no room for another list
	ErrBadJSON           = problem("bad-json")           // the body is not JSON
	ErrTooLarge          = problem("too-large")          // the body or the line is larger than 64 KiB
	ErrTooManyLines      = problem("too-many-lines")     // in a stream
	ErrTimeout           = problem("timeout")            // the body, or the next line of a stream, did not come in time
	ErrMediaType         = problem("media-type")         // the body is of another type than the call takes
	ErrNoRoute           = problem("no-route")           // there is no such call
	ErrMethod            = problem("method")             // the call has another method
	ErrStoreFull         = problem("store-full")         // the disk is nearly full; only reads are answered
	ErrOverloaded        = problem("overloaded")         // too many changes are under way; try again
	ErrStore             = problem("store")              // the server cannot read or write at the moment
	ErrNoKey             = problem("no-key")             // the server asks for a key: see Client.Key
	ErrWrongKey          = problem("wrong-key")          // the key lets nobody in
	ErrCrossSite         = problem("cross-site")         // a server without keys was asked by another name than this machine's, or by a web page
	ErrScope             = problem("scope")              // the key may not make this call
	ErrDomain            = problem("domain")             // the key is of another domain
	ErrRate              = problem("rate")               // the key asks too often: see Error.RetryAfter
	ErrSubjects          = problem("subjects")           // the key has no different numbers left today
	ErrAudit             = problem("audit")              // the server cannot write down what the call does
	ErrDraining          = problem("draining")           // the server is stopping
	ErrInternal          = problem("internal")           // a fault of the server
	ErrUnknownPolicy     = problem("unknown-policy")     // there is no such version
	ErrPolicyReplaced    = problem("policy-replaced")    // another version is live than the caller knows
	ErrIfMatch           = problem("if-match")           // IfLive is missing
	ErrShadowLive        = problem("shadow-live")        // what is live cannot run in shadow
	ErrTooManyShadows    = problem("too-many-shadows")   // as many policies run in shadow as can
	ErrFewLabels         = problem("few-labels")         // too few labels to tell probabilities from
	ErrUnknownBacktest   = problem("unknown-backtest")   // there is no such backtest, or none any more
	ErrOtherBacktest     = problem("other-backtest")     // the backtest is not done, or is of another policy
	ErrTooManyBacktests  = problem("too-many-backtests") // as many are waiting as can
	ErrTooManySubjects   = problem("too-many-subjects")  // a replay would take too much memory
	ErrReportBusy        = problem("report-busy")        // another report is being made
	ErrReportTooLong     = problem("report-too-long")    // a report has to be about less
)
