package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// PolicyRequest brings a policy.
type PolicyRequest struct {
	Source string `json:"source"`         // YAML, up to 256 KiB
	Note   string `json:"note,omitempty"` // why it was made; required where it is kept
}

// PolicyCheck is what a policy that compiles is about.
type PolicyCheck struct {
	Name    string   `json:"name"`
	Digest  string   `json:"digest"` // SHA-256 of the source, in hex
	Signals []string `json:"signals"`
	Changes []string `json:"changes"` // what becomes different when it replaces the live one, in words
}

// PolicyVersion is a policy as the server keeps it. It never changes.
type PolicyVersion struct {
	Version uint32 `json:"version"`
	Name    string `json:"name"`
	Digest  string `json:"digest"` // SHA-256 of the source, in hex
	State   string `json:"state"`  // live, shadow or stored
	AddedAt string `json:"added_at"`
	Author  string `json:"author,omitempty"`
	Note    string `json:"note,omitempty"`
	EqualTo uint32 `json:"equal_to,omitempty"` // the version that a rollback made it equal to

	// Of a version that was asked for by itself.
	Source      string       `json:"source,omitempty"`
	Changes     []string     `json:"changes,omitempty"` // see PolicyCheck
	Calibration *Calibration `json:"calibration,omitempty"`
}

// PolicyPage is some versions, newest first, and which are in force.
type PolicyPage struct {
	Live     uint32          `json:"live"`
	Shadows  []uint32        `json:"shadows"`
	Versions []PolicyVersion `json:"versions"`
	History  []Rollout       `json:"history"` // the newest 100 changes of what is in force, newest first
	Cursor   string          `json:"cursor,omitempty"`
}

// Rollout is one change of which policies are in force.
type Rollout struct {
	Number   uint64 `json:"number"`
	Change   string `json:"change"` // adopted, published, rolled_back, shadow_begins or shadow_ends
	Version  uint32 `json:"version"`
	Replaces uint32 `json:"replaces,omitempty"`
	At       string `json:"at"`
	Author   string `json:"author"`
	Note     string `json:"note,omitempty"`
}

// RolloutRequest says why a version goes live.
type RolloutRequest struct {
	Note string `json:"note"`
}

// ShadowRequest begins or ends a shadow, and says why.
type ShadowRequest struct {
	Note string `json:"note"`
	End  bool   `json:"end,omitempty"`
}

// RolloutAnswer says which policies are in force now.
type RolloutAnswer struct {
	Version uint32   `json:"version"` // the one that the change is about: after a rollback, the new one
	Live    uint32   `json:"live"`
	Shadows []uint32 `json:"shadows"`
}

// CalibrationRequest takes probabilities from a backtest that is done.
type CalibrationRequest struct {
	Backtest string `json:"backtest"` // its id
}

// Calibration says how likely abuse is at each score of a policy version. A rollback takes that of the old version along as it is.
type Calibration struct {
	At     string            `json:"at"`
	Author string            `json:"author"`
	Digest string            `json:"digest"` // of the backtest
	Bands  []CalibrationBand `json:"bands"`
}

// CalibrationBand is the share of abuse among the scores From to To, both included.
type CalibrationBand struct {
	From        int     `json:"from"`
	To          int     `json:"to"`
	Probability float64 `json:"probability"`
	Labels      uint64  `json:"labels"` // how many it rests on
}

// BacktestRequest says what to try on which part of the log. Without Version and Source, the live policy is tried.
type BacktestRequest struct {
	Version  uint32 `json:"version,omitempty"`
	Source   string `json:"source,omitempty"`           // YAML of a policy that is not kept
	Mode     string `json:"mode,omitempty"`             // rescore (the default) or replay
	From     string `json:"from,omitempty"`             // RFC 3339: leave out events before
	To       string `json:"to,omitempty"`               // and from here on
	AsOf     string `json:"as_of,omitempty"`            // the time of the test; default: now
	Maturity int64  `json:"maturity_seconds,omitempty"` // how old an event has to be for its label to count
	Seed     uint64 `json:"seed,omitempty"`             // chooses the examples
	Examples int    `json:"examples,omitempty"`         // how many flips to show in each direction, up to 100

	// CostFP is what acting on a legitimate event costs, CostFN what letting abuse go does: both or neither, up to 1e12. With
	// them, every threshold has a cost.
	CostFP float64 `json:"cost_fp,omitempty"`
	CostFN float64 `json:"cost_fn,omitempty"`
}

// Backtest is a test that was asked for. It is kept until 16 newer ones are done, or the server stops.
type Backtest struct {
	ID           string          `json:"id"`
	State        string          `json:"state"` // queued, running, done, failed or cancelled
	Mode         string          `json:"mode"`
	Version      uint32          `json:"version,omitempty"` // of the policy, unless it came as source
	PolicyDigest string          `json:"policy_digest"`
	Live         uint32          `json:"live"` // version that was live when the test was asked for
	CreatedAt    string          `json:"created_at"`
	FinishedAt   string          `json:"finished_at,omitempty"`
	Events       uint64          `json:"events"`            // read so far
	Result       json.RawMessage `json:"result,omitempty"`  // when it is done
	Problem      *Problem        `json:"problem,omitempty"` // why it failed
}

// ShadowReport says what policies in shadow would have decided otherwise.
type ShadowReport struct {
	From    string          `json:"from"`
	To      string          `json:"to"`
	Live    uint32          `json:"live"`
	Shadows json.RawMessage `json:"shadows"`
}

// PolicyReport is a part of a backtest of a version by itself.
type PolicyReport struct {
	From        string            `json:"from"`
	To          string            `json:"to"`
	Version     uint32            `json:"version"`
	Digest      string            `json:"digest"` // of the backtest
	Stale       bool              `json:"stale"`  // another version went live meanwhile
	Events      uint64            `json:"events"`
	States      map[string]uint64 `json:"states"`
	Abuse       uint64            `json:"abuse"` // labels that count
	Legitimate  uint64            `json:"legitimate"`
	Reasons     json.RawMessage   `json:"reasons,omitempty"`
	Calibration json.RawMessage   `json:"calibration,omitempty"` // fitted to these labels
	Stored      *Calibration      `json:"stored,omitempty"`      // what answers carry
}

// IfLive makes a publish or a rollback fail with ErrPolicyReplaced unless a version is the live one.
func IfLive(version uint32) Option {
	return func(r *request) { r.match = `"` + strconv.FormatUint(uint64(version), 10) + `"` }
}

func policyPath(version uint32, what string) string {
	return "/v1/policies/" + strconv.FormatUint(uint64(version), 10) + what
}

// Policies returns which policies are in force and up to 50 versions, newest first. cursor is that of the page before, or "".
func (c *Client) Policies(ctx context.Context, cursor string) (*PolicyPage, error) {
	return send[PolicyPage](ctx, c, http.MethodGet, "/v1/policies?cursor="+url.QueryEscape(cursor), nil, nil)
}

// Policy returns one version with its source, or ErrUnknownPolicy.
func (c *Client) Policy(ctx context.Context, version uint32) (*PolicyVersion, error) {
	return send[PolicyVersion](ctx, c, http.MethodGet, policyPath(version, ""), nil, nil)
}

// AddPolicy keeps a policy as a new version. It DOES NOT put it in force.
func (c *Client) AddPolicy(ctx context.Context, req PolicyRequest, opts ...Option) (*PolicyVersion, error) {
	return send[PolicyVersion](ctx, c, http.MethodPost, "/v1/policies", &req, opts)
}

// ValidatePolicy says what a policy is about. The error of one that is broken lists every problem.
func (c *Client) ValidatePolicy(ctx context.Context, req PolicyRequest) (*PolicyCheck, error) {
	return send[PolicyCheck](ctx, c, http.MethodPost, "/v1/policies/validate", &req, nil)
}

// Publish makes a version the live one. It needs IfLive.
func (c *Client) Publish(ctx context.Context, version uint32, req RolloutRequest, opts ...Option) (*RolloutAnswer, error) {
	return send[RolloutAnswer](ctx, c, http.MethodPost, policyPath(version, "/publish"), &req, opts)
}

// RollBack makes a new version, equal to an old one and with its calibration, the live one. It needs IfLive.
func (c *Client) RollBack(ctx context.Context, version uint32, req RolloutRequest, opts ...Option) (*RolloutAnswer, error) {
	return send[RolloutAnswer](ctx, c, http.MethodPost, policyPath(version, "/rollback"), &req, opts)
}

// Shadow has a version judge beside the live one, or no longer.
func (c *Client) Shadow(ctx context.Context, version uint32, req ShadowRequest, opts ...Option) (*RolloutAnswer, error) {
	return send[RolloutAnswer](ctx, c, http.MethodPost, policyPath(version, "/shadow"), &req, opts)
}

// Calibrate has answers by a version carry the probabilities that a backtest of it found.
func (c *Client) Calibrate(ctx context.Context, version uint32, req CalibrationRequest, opts ...Option) (*Calibration, error) {
	return send[Calibration](ctx, c, http.MethodPost, policyPath(version, "/calibration"), &req, opts)
}

// StartBacktest asks for a test, which runs on the server.
func (c *Client) StartBacktest(ctx context.Context, req BacktestRequest, opts ...Option) (*Backtest, error) {
	return send[Backtest](ctx, c, http.MethodPost, "/v1/backtests", &req, opts)
}

// Backtest returns how far a test is, with its result when it is done. ErrUnknownBacktest when it is not kept any more.
func (c *Client) Backtest(ctx context.Context, id string) (*Backtest, error) {
	return send[Backtest](ctx, c, http.MethodGet, "/v1/backtests/"+url.PathEscape(id), nil, nil)
}

// CancelBacktest stops a test. What is done stays done.
func (c *Client) CancelBacktest(ctx context.Context, id string) (*Backtest, error) {
	return send[Backtest](ctx, c, http.MethodDelete, "/v1/backtests/"+url.PathEscape(id), nil, nil)
}

// ReportQuery bounds a report. What is zero has its default.
type ReportQuery struct {
	Version  uint32 // default: the live one; of shadows, all that run
	From, To string // RFC 3339; default: the last 30 days
	Maturity int64  // seconds
}

func (q *ReportQuery) encode() string {
	v := url.Values{}
	if q.Version != 0 {
		v.Set("version", strconv.FormatUint(uint64(q.Version), 10))
	}
	if q.From != "" {
		v.Set("from", q.From)
	}
	if q.To != "" {
		v.Set("to", q.To)
	}
	if q.Maturity != 0 {
		v.Set("maturity_seconds", strconv.FormatInt(q.Maturity, 10))
	}
	return "?" + v.Encode()
}

// ShadowReport says what policies in shadow would have decided otherwise.
func (c *Client) ShadowReport(ctx context.Context, q ReportQuery) (*ShadowReport, error) {
	return send[ShadowReport](ctx, c, http.MethodGet, "/v1/reports/shadow"+q.encode(), nil, nil)
}

// ReasonsReport says what each reason of a version contributes.
func (c *Client) ReasonsReport(ctx context.Context, q ReportQuery) (*PolicyReport, error) {
	return send[PolicyReport](ctx, c, http.MethodGet, "/v1/reports/reasons"+q.encode(), nil, nil)
}

// CalibrationReport fits the probability of abuse to each score of a version.
func (c *Client) CalibrationReport(ctx context.Context, q ReportQuery) (*PolicyReport, error) {
	return send[PolicyReport](ctx, c, http.MethodGet, "/v1/reports/calibration"+q.encode(), nil, nil)
}
