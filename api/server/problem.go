package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// refusal is an error that says how it is answered. Its texts are fixed.
type refusal struct {
	status int
	code   string
	title  string
	retry  string // seconds of Retry-After; "" for none
	detail string
	fields []api.FieldError
}

func (r *refusal) Error() string { return r.title }

// Everything that can be refused, and how.
var (
	refuseJSON        = &refusal{status: http.StatusBadRequest, code: "bad-json", title: "The body is not JSON"}
	refuseCut         = &refusal{status: http.StatusBadRequest, code: "bad-json", title: "The body ends early"}
	refuseTimeout     = &refusal{status: http.StatusRequestTimeout, code: "timeout", title: "The body, or the next line, did not come in time"}
	refuseLines       = &refusal{status: http.StatusRequestEntityTooLarge, code: "too-many-lines", title: "The stream has more lines than this call takes"}
	refuseDraining    = &refusal{status: http.StatusServiceUnavailable, code: "draining", title: "The server is stopping", retry: "1"}
	refuseTooLarge    = &refusal{status: http.StatusRequestEntityTooLarge, code: "too-large", title: "The body, or the line, is larger than 64 KiB"}
	refuseLargePolicy = &refusal{status: http.StatusRequestEntityTooLarge, code: "too-large", title: "The body is larger than 1 MiB"}
	refuseMedia       = &refusal{status: http.StatusUnsupportedMediaType, code: "media-type", title: "Send application/json"}
	refuseNotLines    = &refusal{status: http.StatusUnsupportedMediaType, code: "media-type", title: "Send application/x-ndjson"}
	refuseFields      = &refusal{status: http.StatusUnprocessableEntity, code: "invalid", title: "The request is not what this call takes"}
	refuseKey         = &refusal{status: http.StatusUnprocessableEntity, code: "idempotency-key", title: "Idempotency-Key has to be 1 to 255 visible ASCII characters"}
	refuseOneKey      = &refusal{status: http.StatusUnprocessableEntity, code: "idempotency-key", title: "A stream has no Idempotency-Key as a whole"}
	refuseRoute       = &refusal{status: http.StatusNotFound, code: "no-route", title: "There is no such call"}
	refuseMethod      = &refusal{status: http.StatusMethodNotAllowed, code: "method", title: "This call has another method"}
	refuseInternal    = &refusal{status: http.StatusInternalServerError, code: "internal", title: "Something went wrong here"}
	refuseBusy        = &refusal{status: http.StatusServiceUnavailable, code: "overloaded", title: "Too many requests are under way", retry: "1"}
	refuseFull        = &refusal{status: http.StatusServiceUnavailable, code: "store-full", title: "The disk is nearly full: nothing is counted until there is room", retry: "10"}
	refuseNoKey       = &refusal{status: http.StatusUnauthorized, code: "no-key", title: "Show a key: Authorization: Bearer rf_..."}
	refuseWrongKey    = &refusal{status: http.StatusUnauthorized, code: "wrong-key", title: "The key lets nobody in: it was mistyped, or revoked, or is of another server"}
	refuseCrossSite   = &refusal{status: http.StatusForbidden, code: "cross-site", title: "Without keys, only this machine may ask, by 127.0.0.1, [::1] or localhost, and no web page: make a key with ringfence apikeys create"}
	refuseScope       = &refusal{status: http.StatusForbidden, code: "scope", title: "The key may not make this call"}
	refuseDomain      = &refusal{status: http.StatusForbidden, code: "domain", title: "The key is of a domain that is not served here"}
	refuseRate        = &refusal{status: http.StatusTooManyRequests, code: "rate", title: "The key asks too often"}
	refuseSubjects    = &refusal{status: http.StatusTooManyRequests, code: "subjects", title: "The key has asked for all the different numbers it may ask for today"}
	refuseAudit       = &refusal{status: http.StatusServiceUnavailable, code: "audit", title: "What this call does cannot be written into the audit log"}
	refuseGone        = &refusal{status: 499, code: "store", title: "The store was not waited for"} // nobody reads it; the number is what others put into logs, too
	refuseStore       = &refusal{status: http.StatusServiceUnavailable, code: "store", title: "The store cannot answer", retry: "1"}
)

// refusals maps the engine's errors.
var refusals = []struct {
	err error
	r   *refusal
}{
	{engine.ErrUnknownEvent, &refusal{status: http.StatusNotFound, code: "unknown-assessment", title: "There is no such assessment"}},
	{engine.ErrKeyReused, &refusal{status: http.StatusUnprocessableEntity, code: "key-reused", title: "The Idempotency-Key was used before with another request"}},
	{engine.ErrInFlight, &refusal{status: http.StatusConflict, code: "in-flight", title: "A request with this Idempotency-Key is under way", retry: "1"}},
	{engine.ErrNotAPhone, invalid(api.FieldError{Pointer: "/phone_token", Code: "format", Hint: "the token of a phone, not of a range"})},
	{engine.ErrStalePhone, invalid(api.FieldError{Pointer: "/phone_token", Code: "stale", Hint: "the key was changed since tokens were given out, and nothing that happened to this one is known: send phone_number"})},
	{engine.ErrTooManyLists, &refusal{status: http.StatusUnprocessableEntity, code: "too-many-lists", title: "There is no room for another list"}},
	{engine.ErrUnknownPolicy, &refusal{status: http.StatusNotFound, code: "unknown-policy", title: "There is no such version of the policy"}},
	{engine.ErrPolicyReplaced, &refusal{status: http.StatusPreconditionFailed, code: "policy-replaced", title: "Another version is live: look at it, and send it as If-Match"}},
	{engine.ErrShadowLive, &refusal{status: http.StatusConflict, code: "shadow-live", title: "What is live cannot run in shadow"}},
	{engine.ErrTooManyShadows, &refusal{status: http.StatusConflict, code: "too-many-shadows", title: "Four policies run in shadow already: end one"}},
	{engine.ErrFewLabels, &refusal{status: http.StatusConflict, code: "few-labels", title: "Probabilities need 20 labels of abuse and 20 legitimate ones that count"}},
	{engine.ErrNote, invalid(api.FieldError{Pointer: "/note", Code: "format", Hint: "1 to 500 characters on one line, without phone numbers or other long numbers"})},
	{backtest.ErrTooManySubjects, &refusal{status: http.StatusConflict, code: "too-many-subjects", title: "A replay of this log takes more memory than a server gives it: run it offline"}},
	{engine.ErrFull, refuseFull},
	{engine.ErrClosed, refuseStore},
	{engine.ErrCorrupt, refuseStore},
	{context.Canceled, refuseStore},
	{context.DeadlineExceeded, refuseStore},
}

// explain returns how an error is answered.
func explain(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	var fields intake.Fields
	if errors.As(err, &fields) {
		return invalid(fields...)
	}
	var broken *intake.NotJSON
	if errors.As(err, &broken) {
		r := *refuseJSON
		r.detail = broken.Error()
		return &r
	}
	var policy *scoring.PolicyError
	if errors.As(err, &policy) {
		return invalid(policyFields(policy)...)
	}
	for _, e := range refusals {
		if errors.Is(err, e.err) {
			return e.r
		}
	}
	return refuseInternal
}

// policyFields says what is wrong with a policy, and where.
func policyFields(e *scoring.PolicyError) []api.FieldError {
	var fields []api.FieldError
	for _, p := range e.Problems {
		fields = append(fields, api.FieldError{Pointer: "/source", Code: "policy", Hint: p.Hint, Cause: p.Cause, Line: p.Line, Column: p.Column})
	}
	return fields
}

func invalid(fields ...api.FieldError) *refusal {
	r := *refuseFields
	r.fields = fields
	return &r
}

// problem is the body of a refusal.
func (r *refusal) problem(requestID string) api.Problem {
	return api.Problem{
		Type: api.ProblemType(r.code), Title: r.title, Status: r.status, Detail: r.detail, RequestID: requestID, Errors: r.fields,
	}
}
