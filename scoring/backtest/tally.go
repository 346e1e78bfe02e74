package backtest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"slices"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// tally adds up rows. Its size does not depend on how many there are.
type tally struct {
	cfg    *Config
	mode   string
	digest hash.Hash
	signed []byte // what the digest has yet to take

	first, last     record.EventID
	firstAt, lastAt int64 // the earliest and the latest time of any event
	states          [states]uint64
	unread          map[string]uint64

	levels  [Always + 2]level // by level, from Never on
	moves   [scoring.Block + 1][scoring.Block + 1]move
	people  *crowd
	reasons *reasons
	flips   [2]*flips // milder, stricter
}

// level is what is known of the events at one level.
type level struct {
	events            uint64
	abuse, legitimate mass
}

// move counts events by what was decided and what would have been.
type move struct{ abuse, legitimate, other uint64 }

func newTally(c *Config, mode string) *tally {
	t := &tally{cfg: c, mode: mode, digest: sha256.New(), unread: map[string]uint64{}, people: newCrowd(), reasons: newReasons(c.Policy)}
	t.firstAt, t.lastAt = math.MaxInt64, math.MinInt64
	for i := range t.flips {
		t.flips[i] = newFlips(c.Seed+uint64(i), c.Examples)
	}
	policy := c.Policy.Digest()
	t.digest.Write([]byte("ringfence backtest 2 " + mode + "\n"))
	t.digest.Write(policy[:])
	for _, v := range []int64{c.AsOf, int64(c.Maturity), c.From, c.To, int64(c.Seed), int64(c.Examples)} { //nolint:gosec // kept bit by bit
		t.digest.Write(binary.BigEndian.AppendUint64(nil, uint64(v))) //nolint:gosec // kept bit by bit
	}
	return t
}

// add counts one event.
func (t *tally) add(r *Row) {
	e := r.Entry
	if !t.first.Given() {
		t.first = e.ID
	}
	t.last = e.ID
	t.firstAt, t.lastAt = min(t.firstAt, e.Time), max(t.lastAt, e.Time)
	t.states[r.State]++
	t.sign(r)
	if !r.Judged() {
		for _, name := range r.writer.unread {
			t.unread[name]++
		}
		return
	}
	phone := e.Subjects[hashing.Phone]
	t.people.add(phone.ID, phone.Given())
	l := &t.levels[r.level+1]
	l.events++
	m := &t.moves[e.Verdict][r.New.Decision]
	switch {
	case r.State != Counted:
		m.other++
	case r.Label == scoring.Abuse:
		m.abuse++
		l.abuse.add(r.Weight)
	default:
		m.legitimate++
		l.legitimate.add(r.Weight)
	}
	t.reasons.add(r)
	if e.Verdict != r.New.Decision {
		side := 0
		if r.New.Decision > e.Verdict {
			side = 1
		}
		t.signReasons(t.flips[side].add(r))
	}
}

// signedRoom is from how many bytes on the digest takes them.
const signedRoom = 4096

// sign adds an event, and what was made of it, to the digest: all that the result depends on.
func (t *tally) sign(r *Row) {
	e, phone := r.Entry, &r.Entry.Subjects[hashing.Phone]
	b := append(t.signed, e.ID[:]...)
	b = append(b, phone.ID[:crowdBytes]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time)) //nolint:gosec // kept bit by bit
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Weight))
	b = append(b, byte(phone.Kind), byte(r.State), byte(r.Label), byte(e.Verdict), byte(e.Score)) //nolint:gosec // 0 to 100
	if r.Judged() {
		b = appendVerdict(b, r.New)
	} else {
		for _, name := range r.writer.unread {
			b = append(append(b, name...), 0)
		}
	}
	t.signed = b
	if len(b) >= signedRoom {
		t.flush()
	}
}

// appendVerdict leaves out points: the digest begins with the policy, which says them.
func appendVerdict(b []byte, v *scoring.Verdict) []byte {
	holdout := byte(0)
	if v.Holdout {
		holdout = 1
	}
	b = append(b, byte(v.Decision), byte(v.Score), byte(v.By), holdout, byte(len(v.Fired)>>8), byte(len(v.Fired))) //nolint:gosec // 0 to 100, and 256 rules
	for _, f := range v.Fired {
		b = append(b, byte(f.Rule), byte(f.Step>>8), byte(f.Step)) //nolint:gosec // no policy has room for more of either
	}
	return b
}

// signReasons adds what changed at a flip to the digest.
func (t *tally) signReasons(why []change) {
	for _, c := range why {
		t.signed = append(append(t.signed, c.code...), 0)
		t.signed = binary.AppendVarint(binary.AppendVarint(t.signed, int64(c.old)), int64(c.now))
	}
}

// flush has the digest take what is signed.
func (t *tally) flush() {
	t.digest.Write(t.signed)
	t.signed = t.signed[:0]
}

func (t *tally) result() *Result {
	t.flush()
	policy := t.cfg.Policy.Digest()
	r := &Result{
		Digest: hex.EncodeToString(t.digest.Sum(nil)), Mode: t.mode, Policy: t.cfg.Policy.Name(), PolicyDigest: hex.EncodeToString(policy[:]),
		Seed: t.cfg.Seed, AsOf: t.cfg.AsOf, Maturity: int64(t.cfg.Maturity.Seconds()),
		States: map[string]uint64{}, NotReplayable: t.unread, Crowd: t.people.crowd(),
	}
	for s := Counted; s < states; s++ {
		r.Events += t.states[s]
		r.States[s.String()] = t.states[s]
	}
	if r.Events > 0 {
		r.First, r.Last, r.FirstAt, r.LastAt = t.first.String(), t.last.String(), t.firstAt, t.lastAt
	}
	t.curve(r)
	t.calibrate(r)
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		if at := t.cfg.Policy.Threshold(d); at > 0 {
			r.Decisions = append(r.Decisions, At{d.String(), r.Curve[at]})
		}
	}
	r.Moves = movesOf(&t.moves)
	r.Milder, r.Stricter = t.flips[0].side(), t.flips[1].side()
	r.Reasons = t.reasons.rows(t.cfg.Policy, t.sum())
	return r
}

// movesOf lists the moves that happened.
func movesOf(moves *[scoring.Block + 1][scoring.Block + 1]move) []Move {
	all := []Move{}
	for from := scoring.Allow; from <= scoring.Block; from++ {
		for to := scoring.Allow; to <= scoring.Block; to++ {
			if m := moves[from][to]; m != (move{}) {
				all = append(all, Move{from.String(), to.String(), m.abuse, m.legitimate, m.other})
			}
		}
	}
	return all
}

// sum adds up all levels.
func (t *tally) sum() (all level) {
	for _, l := range t.levels {
		all.events += l.events
		all.abuse, all.legitimate = all.abuse.plus(l.abuse), all.legitimate.plus(l.legitimate)
	}
	return all
}

// curve fills in a point for every threshold, from the strictest to the mildest.
func (t *tally) curve(r *Result) {
	var above, below level
	all := t.sum()
	r.Abuse, r.Legitimate = all.abuse.n, all.legitimate.n
	above = t.levels[Always+1]
	r.Curve = make([]Point, 101)
	for at := 100; at >= 0; at-- {
		l := t.levels[at+1]
		above.events += l.events
		above.abuse, above.legitimate = above.abuse.plus(l.abuse), above.legitimate.plus(l.legitimate)
		below = t.under(at)
		r.Curve[at] = Point{
			Threshold: at, Events: above.events,
			TP: above.abuse.w, FP: above.legitimate.w, FN: below.abuse.w, TN: below.legitimate.w,
			Precision: rateOf(above.abuse, above.legitimate), Recall: rateOf(above.abuse, below.abuse), FPR: rateOf(above.legitimate, below.legitimate),
		}
		r.Scores = append(r.Scores, Score{at, l.events, l.abuse.n, l.legitimate.n})
	}
	slices.Reverse(r.Scores)
	r.AveragePrecision = averagePrecision(r.Curve)
}

// under adds up all levels below a threshold.
func (t *tally) under(at int) (sum level) {
	for _, l := range t.levels[:at+1] {
		sum.abuse, sum.legitimate = sum.abuse.plus(l.abuse), sum.legitimate.plus(l.legitimate)
	}
	return sum
}

// averagePrecision is the area under precision over recall: at every threshold, the
// precision times what recall gains there.
func averagePrecision(curve []Point) float64 {
	area, recall := 0.0, 0.0
	for _, p := range slices.Backward(curve) {
		if p.Precision.Known() && p.Recall.Known() {
			area += p.Precision.Share * (p.Recall.Share - recall)
			recall = p.Recall.Share
		}
	}
	return area
}

// calibrate fits a probability to every score at which there are labels.
func (t *tally) calibrate(r *Result) {
	var scores []int
	var shares, weights []float64
	for score := range 101 {
		l := t.levels[score+1]
		if w := l.abuse.w + l.legitimate.w; w > 0 {
			scores, shares, weights = append(scores, score), append(shares, l.abuse.w/w), append(weights, w)
		}
	}
	for i, p := range Isotonic(shares, weights) {
		labels := t.levels[scores[i]+1].abuse.n + t.levels[scores[i]+1].legitimate.n
		if n := len(r.Calibration); n > 0 && r.Calibration[n-1].Probability == p {
			r.Calibration[n-1].To = scores[i]
			r.Calibration[n-1].Labels += labels
			continue
		}
		r.Calibration = append(r.Calibration, Calibrated{From: scores[i], To: scores[i], Probability: p, Labels: labels})
	}
}
