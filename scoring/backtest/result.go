package backtest

// Result is what a policy would have decided about a log, and how sure that is. Times are
// unix seconds. The same Digest means the same log, policy, configuration and decisions: of every event, when
// it was, of which phone, and what was decided and why.
type Result struct {
	Digest       string `json:"digest"`
	Mode         string `json:"mode"` // rescore or replay
	Policy       string `json:"policy"`
	PolicyDigest string `json:"policy_digest"`
	Seed         uint64 `json:"seed"`
	AsOf         int64  `json:"as_of"`
	Maturity     int64  `json:"maturity_seconds"`
	Stale        bool   `json:"stale"`           // what was tried, or what is live, was changed by somebody since the test was asked for
	First        string `json:"first,omitempty"` // ids of the first and last event
	Last         string `json:"last,omitempty"`
	FirstAt      int64  `json:"first_at"`
	LastAt       int64  `json:"last_at"`

	Events        uint64            `json:"events"`         // reported on
	States        map[string]uint64 `json:"states"`         // by State; they add up to Events
	NotReplayable map[string]uint64 `json:"not_replayable"` // events by what the policy reads and they did not record
	Crowd         Crowd             `json:"crowd"`          // of the events that were judged
	Abuse         uint64            `json:"abuse"`          // labels that count
	Legitimate    uint64            `json:"legitimate"`

	Decisions        []At         `json:"decisions"` // at the policy's own thresholds
	Curve            []Point      `json:"curve"`     // by threshold, 0 to 100
	AveragePrecision float64      `json:"average_precision"`
	Costs            *Costs       `json:"costs,omitempty"` // once Price was called
	Scores           []Score      `json:"scores"`          // by score, 0 to 100
	Calibration      []Calibrated `json:"calibration"`

	Moves    []Move      `json:"moves"` // decided so, and so; those that stay are among them
	Stricter Side        `json:"stricter"`
	Milder   Side        `json:"milder"`
	Reasons  []ReasonRow `json:"reasons"`
}

// At is a Point at the threshold of a decision.
type At struct {
	Decision string `json:"decision"`
	Point
}

// Point is how well acting at a score or above tells abuse from the rest. Of events about which
// no score decides, those denied are acted on at every threshold and those on the allow list
// at none. TP to TN are weighted.
type Point struct {
	Threshold int     `json:"threshold"`
	Events    uint64  `json:"events"` // acted on, whatever their label
	TP        float64 `json:"tp"`     // abuse, acted on
	FP        float64 `json:"fp"`     // legitimate, acted on
	FN        float64 `json:"fn"`     // abuse, let go
	TN        float64 `json:"tn"`     // legitimate, let go
	Precision Rate    `json:"precision"`
	Recall    Rate    `json:"recall"`
	FPR       Rate    `json:"fpr"`

	Loss *float64 `json:"cost,omitempty"` // what it costs, once Result.Price was called
}

// Cost is what is lost at the point when each legitimate event acted on costs fp, and
// each abuse let go costs fn.
func (p *Point) Cost(fp, fn float64) float64 { return p.FP*fp + p.FN*fn }

// Score counts the events of one score about which the score decides.
type Score struct {
	Score      int    `json:"score"`
	Events     uint64 `json:"events"`
	Abuse      uint64 `json:"abuse"`
	Legitimate uint64 `json:"legitimate"`
}

// Calibrated is the share of abuse among scores From to To, fitted so that it never falls as
// the score rises.
type Calibrated struct {
	From        int     `json:"from"`
	To          int     `json:"to"`
	Probability float64 `json:"probability"`
	Labels      uint64  `json:"labels"`
}

// Move counts events by what was decided and what would have been. Other is without a label that counts.
type Move struct {
	From       string `json:"from"`
	To         string `json:"to"`
	Abuse      uint64 `json:"abuse"`
	Legitimate uint64 `json:"legitimate"`
	Other      uint64 `json:"other"`
}

// Side is the flips in one direction.
type Side struct {
	Crowd
	Reasons  []Behind `json:"reasons"`  // most frequent first
	Examples []Flip   `json:"examples"` // drawn at random, in the order of the log
}

// Behind counts the flips at which a reason gave other points than before.
type Behind struct {
	Code   string `json:"code"`
	Events uint64 `json:"events"`
}

// Flip is one event that would have been decided otherwise.
type Flip struct {
	ID       string   `json:"assessment_id"`
	At       int64    `json:"at"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	OldScore int      `json:"old_score"`
	NewScore int      `json:"new_score"`
	Label    string   `json:"label,omitempty"`
	Reasons  []string `json:"reasons"` // "CODE +30 was +10"; where no points differ, all that make up the score: "CODE +30"
}

// ReasonRow is what one reason, at one step of its table, contributes.
type ReasonRow struct {
	Code       string   `json:"code"`
	Step       int      `json:"step"`
	From       *float64 `json:"from,omitempty"` // the least value; nil for a condition
	Points     int      `json:"points"`
	Hits       uint64   `json:"hits"`
	Abuse      uint64   `json:"abuse"`      // of the hits whose label counts
	Legitimate uint64   `json:"legitimate"` // likewise
	Precision  Rate     `json:"precision"`
	With       []Behind `json:"with"`    // reasons that fire together with it most often, at most three
	Without    []Change `json:"without"` // what its points decide alone: what would change at 0
	// Suggested is the points that the labels speak for, nil below 20 of them or when all are of one kind;
	// 0 means that the reason tells nothing. See MinLabels.
	Suggested *int `json:"suggested"`
}

// Change is how many more events would be acted on, at a decision or a stricter one; below zero
// fewer. Weighted.
type Change struct {
	Decision   string  `json:"decision"`
	Abuse      float64 `json:"abuse"`
	Legitimate float64 `json:"legitimate"`
}
