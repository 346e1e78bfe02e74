// Package api is how Go programs talk to ringfence: a Client, and what travels over
// HTTP between it and a server: requests, answers and problems. It uses the standard
// library only.
//
// Request types hold phone numbers and ids as a person typed them. They do not
// show them when formatted or logged; encoding/json does encode them, since
// that is how they get to the server.
package api

import (
	_ "embed"
	"fmt"
	"io"
)

// AssessmentRequest asks what to make of an event. Event is required; what is
// not given is unknown and no penalty.
type AssessmentRequest struct {
	PhoneNumber   string `json:"phone_number,omitempty"`   // as typed; up to 64 bytes
	DefaultRegion string `json:"default_region,omitempty"` // two letters, for a number without country code
	PhoneToken    string `json:"phone_token,omitempty"`    // from an earlier answer, in place of the number; what only the number tells is unknown
	Event         string `json:"event,omitempty"`          // signup, verification, sign_in, checkout, recovery or number_change
	AccountID     string `json:"account_id,omitempty"`     // up to 256 bytes
	IP            string `json:"ip,omitempty"`             // IPv4 or IPv6
	DeviceID      string `json:"device_id,omitempty"`      // up to 256 bytes
	IPCountry     string `json:"ip_country,omitempty"`     // two upper-case letters
	Verified      bool   `json:"verified,omitempty"`       // the number was verified for this account
	Record        *bool  `json:"record,omitempty"`         // false: look only, count nothing
}

// Assessment is the answer to an AssessmentRequest.
type Assessment struct {
	AssessmentID  string             `json:"assessment_id,omitempty"` // "" when nothing was recorded
	PhoneToken    string             `json:"phone_token,omitempty"`
	Decision      string             `json:"decision"` // allow, challenge, review or block
	Score         int                `json:"score"`    // 0 to 100
	Reasons       []Reason           `json:"reasons"`
	PublicMessage string             `json:"public_message"`
	Number        *Number            `json:"number,omitempty"`
	Signals       map[string]float64 `json:"signals"`
	Accounts      *Accounts          `json:"accounts,omitempty"`
	FirstSeen     string             `json:"first_seen,omitempty"` // RFC 3339
	Policy        Policy             `json:"policy"`
	Holdout       bool               `json:"holdout"`

	// Probability of abuse at this score, and how many labels it rests on: only where the policy version is calibrated and the
	// score decided.
	Probability       *float64 `json:"probability,omitempty"`
	CalibrationLabels uint64   `json:"calibration_labels,omitempty"`

	Shadow   []ShadowDecision `json:"shadow,omitempty"` // what policies in shadow would have decided
	Degraded []string         `json:"degraded"`         // what a rule needed and nobody gave; store.unavailable when the store could not be asked
}

// BatchLine is one line of a batch: an AssessmentRequest that may have an
// idempotency key of its own, 1 to 255 visible ASCII characters.
type BatchLine struct {
	AssessmentRequest
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// BatchAnswer is the answer to one line of a batch. Assessment is set when Status is
// 200, Problem otherwise.
type BatchAnswer struct {
	Line       int         `json:"line"`               // of the request, from 1; blank lines count and have no answer
	Status     int         `json:"status"`             // as POST /v1/assessments would answer
	Replayed   bool        `json:"replayed,omitempty"` // its idempotency key was used before: nothing was counted now
	Assessment *Assessment `json:"assessment,omitempty"`
	Problem    *Problem    `json:"problem,omitempty"`
}

// LoggedAssessment is an assessment as it was logged: what was seen and decided
// then, by the policy of then, and what became of it since.
type LoggedAssessment struct {
	AssessmentID  string             `json:"assessment_id"`
	Event         string             `json:"event"`
	OccurredAt    string             `json:"occurred_at"` // RFC 3339
	RecordedAt    string             `json:"recorded_at"` // RFC 3339; later than OccurredAt for what was imported
	PhoneToken    string             `json:"phone_token,omitempty"`
	Given         []string           `json:"given"`    // who took part: phone, range, account, ip, network, device
	Verified      bool               `json:"verified"` // the request said so
	Linked        bool               `json:"linked"`   // the account was linked to the phone then
	Decision      string             `json:"decision"`
	Score         int                `json:"score"`   // 0 to 100
	Reasons       []Step             `json:"reasons"` // the largest first
	PublicMessage string             `json:"public_message"`
	Number        *Number            `json:"number,omitempty"`
	Signals       map[string]float64 `json:"signals"`
	Policy        Policy             `json:"policy"`
	Holdout       bool               `json:"holdout"`
	Shadow        []ShadowDecision   `json:"shadow,omitempty"` // what policies in shadow would have decided then
	Degraded      []string           `json:"degraded"`
	Outcomes      []LoggedOutcome    `json:"outcomes"`
}

// Step is one reason of a waterfall.
type Step struct {
	Reason
	Total int `json:"total"` // of the points up to here, not bounded to 0..100 as the score is
}

// LoggedOutcome is what became of an event.
type LoggedOutcome struct {
	Outcome    string `json:"outcome"`
	Source     string `json:"source,omitempty"`
	OccurredAt string `json:"occurred_at"` // RFC 3339: when it became known
}

// ShadowDecision is what a policy in shadow would have decided.
type ShadowDecision struct {
	Version  uint32 `json:"version"`
	Score    int    `json:"score"`
	Decision string `json:"decision"`
}

// Reason is one part of a score.
type Reason struct {
	Code     string   `json:"code"`
	Points   int      `json:"points"`
	Observed *float64 `json:"observed,omitempty"`
	Limit    *float64 `json:"limit,omitempty"`
	Window   string   `json:"window,omitempty"`
}

// Number is what may be told of a number.
type Number struct {
	Valid         bool   `json:"valid"`
	Region        string `json:"region,omitempty"`
	Type          string `json:"type,omitempty"`
	CanReceiveSMS bool   `json:"can_receive_sms"`
}

// Accounts is the state of a phone's account limit. Max and Remaining are left
// out where there is no limit.
type Accounts struct {
	Verified  int  `json:"verified"`
	Linked    bool `json:"linked"`
	Max       *int `json:"max,omitempty"`
	Remaining *int `json:"remaining,omitempty"`
}

// Policy names the policy that decided.
type Policy struct {
	Name    string `json:"name"`
	Version uint32 `json:"version"`
}

// OutcomeRequest says what became of an assessed event.
type OutcomeRequest struct {
	AssessmentID string `json:"assessment_id"`
	Outcome      string `json:"outcome"`          // verified, unverified, abuse or legitimate
	Source       string `json:"source,omitempty"` // a short code, such as chargeback
}

// OutcomeAnswer says what an outcome changed.
type OutcomeAnswer struct {
	Changed bool `json:"changed"` // false when the event had this outcome already
	Linked  bool `json:"linked"`  // the account is linked to the phone
	Stale   bool `json:"stale"`   // the number was released since: no count changed
}

// OutcomeResult is the answer to one of several outcomes. Outcome is set when Status
// is 200, Problem otherwise.
type OutcomeResult struct {
	Status  int            `json:"status"`
	Outcome *OutcomeAnswer `json:"outcome,omitempty"`
	Problem *Problem       `json:"problem,omitempty"`
}

// PhoneRequest names a phone, and an account where one is needed.
type PhoneRequest struct {
	PhoneNumber   string `json:"phone_number,omitempty"`
	DefaultRegion string `json:"default_region,omitempty"`
	PhoneToken    string `json:"phone_token,omitempty"` // in place of the number
	AccountID     string `json:"account_id,omitempty"`
}

// LinkAnswer says how an account stands to a phone.
type LinkAnswer struct {
	Accounts      Accounts `json:"accounts"`
	Since         string   `json:"since,omitempty"` // RFC 3339
	NumberChanges int      `json:"number_changes"`  // of the account, in 180 days
	Numbers       int      `json:"numbers"`         // different ones of the account, in 180 days
}

// UnlinkAnswer says what unlinking changed.
type UnlinkAnswer struct {
	Unlinked bool `json:"unlinked"`
	Verified int  `json:"verified"` // accounts still linked
}

// ReleaseAnswer says which generation of the number begins.
type ReleaseAnswer struct {
	Generation uint32 `json:"generation"`
}

// Privacy says for how long a domain keeps what, and under which keys. Keys are those of the domain, in the order in which they came:
// after a rotation the last is primary, and Subjects of the others fall as their numbers are seen again.
type Privacy struct {
	Domain    string       `json:"domain"`
	Retention Retention    `json:"retention"`
	Keys      []SubjectKey `json:"keys"`
	CountedAt string       `json:"counted_at,omitempty"` // RFC 3339: when Subjects were counted
}

// Retention is how long things are kept.
type Retention struct {
	SubjectSeconds     int64 `json:"subject_seconds"` // since it was last seen; one with a linked account, or on a list, stays
	EventSeconds       int64 `json:"event_seconds"`
	EventBytes         int64 `json:"event_bytes"` // of the log on the disk, beyond which the oldest events go sooner
	IdempotencySeconds int64 `json:"idempotency_seconds"`
}

// SubjectKey is a key in a domain. ID is what its tokens begin with, behind the k.
type SubjectKey struct {
	ID        int     `json:"id"`
	State     string  `json:"state"`              // primary, readable or destroyed
	CreatedAt string  `json:"created_at"`         // RFC 3339
	Subjects  *uint64 `json:"subjects,omitempty"` // with a record under it; missing before they are counted
}

// EraseAnswer says that a number is forgotten, in the same words whether it was known or not.
type EraseAnswer struct {
	ErasedAt string `json:"erased_at"` // RFC 3339
	Receipt  string `json:"receipt"`   // of this number and time: only the keyring can make it
}

// Profile is what is known of a phone.
type Profile struct {
	PhoneToken string     `json:"phone_token"`
	Known      bool       `json:"known"`
	FirstSeen  string     `json:"first_seen,omitempty"`
	LastSeen   string     `json:"last_seen,omitempty"`
	Verified   bool       `json:"verified"`
	Accounts   Accounts   `json:"accounts"`
	Generation uint32     `json:"generation"`
	Abuse      int        `json:"abuse"`
	Legitimate int        `json:"legitimate"`
	Lists      []string   `json:"lists"`
	Velocity   []Velocity `json:"velocity"`
	Timeline   []Event    `json:"timeline"` // newest first, at most 50
}

// Velocity is how often something happened in windows that end now.
type Velocity struct {
	Event string  `json:"event"`
	Hour  float64 `json:"1h"`
	Day   float64 `json:"24h"`
	Week  float64 `json:"7d"`
	Month float64 `json:"30d"`
	Total uint64  `json:"total"`
}

// Event is one line of a timeline.
type Event struct {
	AssessmentID string   `json:"assessment_id"`
	OccurredAt   string   `json:"occurred_at"`
	Event        string   `json:"event"`
	Decision     string   `json:"decision"`
	Score        int      `json:"score"`
	Outcomes     []string `json:"outcomes"`
}

// ListEntry puts a phone, or the block of 10,000 numbers around it, on a list.
type ListEntry struct {
	PhoneNumber   string `json:"phone_number,omitempty"`
	DefaultRegion string `json:"default_region,omitempty"`
	PhoneToken    string `json:"phone_token,omitempty"`
	Entry         string `json:"entry,omitempty"`      // number (the default) or range
	Reason        string `json:"reason,omitempty"`     // a short code
	ExpiresAt     string `json:"expires_at,omitempty"` // RFC 3339; "" is never
	AddedAt       string `json:"added_at,omitempty"`   // RFC 3339; "" is now
}

// ListAnswer says how many entries were put on a list.
type ListAnswer struct {
	Added int `json:"added"`
}

// ImportAnswer says what became of a stream of entries.
type ImportAnswer struct {
	Read    int           `json:"read"`    // lines that were not blank
	Added   int           `json:"added"`   // entries put on the list, or replaced
	Refused int           `json:"refused"` // lines that are no entry
	Lines   []RefusedLine `json:"lines"`   // the first 1,000 of the refused
}

// RefusedLine says why a line is no entry, never what it held.
type RefusedLine struct {
	Line int `json:"line"` // from 1; blank lines count
	FieldError
}

// ListPage is a page of a list.
type ListPage struct {
	Entries []ListEntry `json:"entries"`
	Cursor  string      `json:"cursor,omitempty"` // ask for the next page with it; "" at the end
}

// ListNames are the names of all lists, sorted.
type ListNames struct {
	Lists []string `json:"lists"`
}

// RemoveAnswer says whether an entry was there.
type RemoveAnswer struct {
	Removed bool `json:"removed"`
}

// Problem is an answer that is no success, as RFC 9457 has it.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	RequestID string       `json:"request_id"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// FieldError says what is wrong with one field, never what it held.
type FieldError struct {
	Pointer string `json:"pointer"` // JSON Pointer
	Code    string `json:"code"`
	Hint    string `json:"hint,omitempty"`

	// Of a policy.
	Cause  string `json:"cause,omitempty"`
	Line   int    `json:"line,omitempty"` // from 1
	Column int    `json:"column,omitempty"`
}

const redacted = "[request]"

// Format prints a fixed word for every verb.
func (AssessmentRequest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format prints a fixed word for every verb.
func (PhoneRequest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format prints a fixed word for every verb.
func (ListEntry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of the API, OpenAPI 3.1 in YAML.
func OpenAPI() []byte { return openAPI }
