package record

import (
	"encoding/binary"
	"slices"

	"github.com/ringfence/ringfence/scoring"
)

// Outcome is what became of an event, as one source reported it. A zero Kind
// is none.
type Outcome struct {
	Kind   scoring.Event
	Time   int64  // unix seconds: when it became known
	Source string // a short code, "" for unknown
}

// Two outcomes of one kind replace one another: an event was verified or not,
// and it was abuse or legitimate.
const (
	outcomeProof = iota
	outcomeLabel
	outcomeKinds
)

// outcomeSlot says what an outcome is about. An unlink, whose kind is zero, is about neither.
func outcomeSlot(ev scoring.Event) int {
	switch ev {
	case 0:
		return outcomeKinds
	case scoring.Verified, scoring.Unverified:
		return outcomeProof
	default:
		return outcomeLabel
	}
}

// Report is something that was told of an event after it, with its place among all changes of the store: what a
// replay needs to count it when the store did. A report of an outcome that the event has already tells that it was what linked the account.
type Report struct {
	Outcome       // of no Kind when the account was unlinked from the phone
	Seq     Seq   // its place; 0 when it is stale
	Now     int64 // unix seconds: the clock; 0 when it is stale
	Stale   bool  // the phone was released before: nothing was counted
}

// MaxReports is how many reports an entry keeps. Beyond, the oldest goes that another one of the same matter followed.
const MaxReports = 32

// Report keeps a report.
func (e *Entry) Report(r Report) {
	if len(e.reports) >= MaxReports {
		e.dropReport()
	}
	e.reports = append(e.reports, r)
}

func (e *Entry) dropReport() {
	for i := range e.reports {
		matter := outcomeSlot(e.reports[i].Kind)
		if slices.ContainsFunc(e.reports[i+1:], func(r Report) bool { return outcomeSlot(r.Kind) == matter }) {
			e.reports = slices.Delete(e.reports, i, i+1)
			return
		}
	}
}

// Reports returns what was told of the event after it, in the order in which it came. What entries of versions 1 to 3 have of it is not
// among them, since they do not know when it came: see First.
func (e *Entry) Reports() []Report { return e.reports }

// SetOutcome keeps an outcome that came with the event.
func (e *Entry) SetOutcome(o Outcome) { e.outcomes[outcomeSlot(o.Kind)] = o }

// First returns the outcome that the first report of an outcome of this kind replaced: one that came with the event, or before
// reports were kept.
func (e *Entry) First(ev scoring.Event) Outcome { return e.outcomes[outcomeSlot(ev)] }

// Outcome returns the outcome that an outcome of this kind would replace.
func (e *Entry) Outcome(ev scoring.Event) Outcome { return e.outcome(outcomeSlot(ev)) }

func (e *Entry) outcome(slot int) Outcome {
	now := e.outcomes[slot]
	for i := range e.reports {
		if r := &e.reports[i]; outcomeSlot(r.Kind) == slot && r.Kind != now.Kind { // or it tells what was known
			now = r.Outcome
		}
	}
	return now
}

// Outcomes returns what became of the event, nothing when nobody said.
func (e *Entry) Outcomes() []Outcome {
	var all []Outcome
	for slot := range e.outcomes {
		if o := e.outcome(slot); o.Kind != 0 {
			all = append(all, o)
		}
	}
	return all
}

func (e *Entry) appendOutcomes(dst []byte) []byte {
	n := len(dst)
	dst = append(dst, 0)
	for _, o := range e.outcomes {
		if o.Kind == 0 {
			continue
		}
		dst[n]++
		dst = append(dst, byte(o.Kind))
		dst = o.append(dst)
	}
	return dst
}

func (o *Outcome) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, o.Time)
	dst = append(dst, byte(len(o.Source))) //nolint:gosec // at most 64: engine.CheckCode
	return append(dst, o.Source...)
}

func (e *Entry) appendReports(dst []byte) []byte {
	dst = append(dst, byte(len(e.reports))) //nolint:gosec // at most MaxReports
	for i := range e.reports {
		r := &e.reports[i]
		if r.Stale {
			dst = r.append(append(dst, byte(r.Kind)|flagStale))
			continue
		}
		dst = r.append(append(dst, byte(r.Kind)))
		dst = binary.AppendUvarint(dst, uint64(r.Seq-e.ID.Seq()))
		dst = binary.AppendVarint(dst, r.Now-r.Time)
	}
	return dst
}

func (d *decoder) outcome() Outcome {
	kind := scoring.Event(d.byte())
	d.bad = d.bad || !kind.Outcome()
	return d.outcomeOf(kind)
}

func (d *decoder) outcomeOf(kind scoring.Event) Outcome {
	at := d.varint()
	return Outcome{Kind: kind, Time: at, Source: string(d.bytes(int(d.byte())))}
}

// reports reads into the room that e has.
func (d *decoder) reports(e *Entry) {
	n := int(d.byte())
	d.bad = d.bad || n == 0 || n > MaxReports
	for ; n > 0 && !d.bad; n-- {
		e.reports = append(e.reports, d.report(e.ID.Seq()))
	}
}

// report reads one that came after the event with a number.
func (d *decoder) report(event Seq) Report {
	kind := d.byte()
	r := Report{Outcome: d.outcomeOf(scoring.Event(kind &^ flagStale)), Stale: kind&flagStale != 0}
	d.bad = d.bad || !r.Kind.Outcome() && kind != 0
	if r.Stale {
		return r
	}
	later := d.uvarint()
	r.Seq, r.Now = event+Seq(later), r.Time+d.varint()
	d.bad = d.bad || later == 0 || r.Seq < event
	return r
}
