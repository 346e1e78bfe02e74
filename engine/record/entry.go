package record

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Entry is one line of the event log: what happened, what was seen of its
// subjects at that moment, what was decided, and what became of it.
type Entry struct {
	ID         EventID // the key in the log, not part of the encoded value
	Kind       scoring.Event
	Verified   bool   // the request said that the number was verified for the account
	Claimed    bool   // the account was linked by the event or its outcome, or had been before
	Linked     bool   // the account was linked, or had been, when the event was committed
	Holdout    bool   // a block by score was let through
	Given      bool   // a number was sent
	Valid      bool   // and it can exist
	Time       int64  // unix seconds: when it happened
	Now        int64  // unix seconds: the clock when it was committed; about, in entries of version 1
	Country    string // two letters, "" for unknown and in entries of version 1
	Subjects   hashing.Subjects
	Link       hashing.LinkTag // zero without an account
	Prev       Seq             // the phone's event before this one, 0 for none
	Generation uint32          // of the phone
	Verdict    scoring.Decision
	Score      int
	Policy     uint32    // version
	Values     []float64 // by slot of that policy; NaN is unknown
	Shadows    []Shadow  // what the policies that ran in shadow said; at most MaxShadows

	outcomes [outcomeKinds]Outcome // that came with the event, or before reports were kept
	reports  []Report
}

// MaxShadows is how many policies can run in shadow at once.
const MaxShadows = 4

// Shadow is what a policy that ran in shadow would have decided.
type Shadow struct {
	Policy   uint32 // version
	Decision scoring.Decision
	Score    int
	Holdout  bool // a block by score would have been let through
	// Values are those of its signals and lists that the policy which decided does not have, in the order of
	// its slots: see scoring.Policy.SlotsIn.
	Values []float64
}

const (
	flagVerified = 1 << iota
	flagClaimed
	flagHoldout
	flagGiven
	flagValid
	flagLinked
	flagCountry
)

// entryVersion is what Append writes, or shadowVersion where policies ran in shadow, or reportVersion where something was
// told of the event. Decode also reads version 1, which had neither Now nor Country nor Linked.
const (
	entryVersion  = 2
	shadowVersion = 3
	reportVersion = 4
)

const (
	flagHeldOut = 0x80 // a decision of a shadow that its holdout let through
	flagStale   = 0x80 // a report that is stale
)

// maxValues bounds what Decode accepts; a policy has far fewer slots.
const maxValues = 1024

// Append appends the encoded entry, without its id, to dst.
func (e *Entry) Append(dst []byte) []byte {
	written := byte(entryVersion)
	switch {
	case len(e.reports) > 0:
		written = reportVersion
	case len(e.Shadows) > 0:
		written = shadowVersion
	}
	dst = append(dst, written, byte(e.Kind), e.flags())
	dst = binary.AppendVarint(dst, e.Time)
	dst = binary.AppendVarint(dst, e.Now-e.Time)
	dst = append(dst, e.Country...)
	dst = appendSubjects(dst, &e.Subjects)
	if e.Subjects[hashing.Account].Given() {
		dst = append(dst, e.Link[:]...)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Prev))
	dst = binary.AppendUvarint(dst, uint64(e.Generation))
	dst = append(dst, byte(e.Verdict), byte(e.Score)) //nolint:gosec // 0 to 100
	dst = binary.AppendUvarint(dst, uint64(e.Policy))
	dst = e.appendOutcomes(appendValues(dst, e.Values))
	if written == reportVersion {
		dst = e.appendReports(dst)
	}
	if written >= shadowVersion {
		dst = e.appendShadows(dst)
	}
	return dst
}

func appendValues(dst []byte, values []float64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = appendValue(dst, v)
	}
	return dst
}

func (e *Entry) appendShadows(dst []byte) []byte {
	dst = append(dst, byte(len(e.Shadows))) //nolint:gosec // at most MaxShadows
	for i := range e.Shadows {
		s := &e.Shadows[i]
		decision := byte(s.Decision)
		if s.Holdout {
			decision |= flagHeldOut
		}
		dst = binary.AppendUvarint(dst, uint64(s.Policy))
		dst = append(dst, decision, byte(s.Score)) //nolint:gosec // 0 to 100
		dst = appendValues(dst, s.Values)
	}
	return dst
}

func (e *Entry) flags() byte {
	var f byte
	for i, set := range [...]bool{e.Verified, e.Claimed, e.Holdout, e.Given, e.Valid, e.Linked, e.Country != ""} {
		if set {
			f |= 1 << i
		}
	}
	return f
}

func appendSubjects(dst []byte, all *hashing.Subjects) []byte {
	mask := len(dst)
	dst = append(dst, 0)
	for kind, s := range all {
		if s.Given() {
			dst[mask] |= 1 << kind
			dst = binary.BigEndian.AppendUint16(dst, uint16(s.Key))
			dst = append(dst, s.ID[:]...)
		}
	}
	return dst
}

// appendValue writes whole numbers short, since nearly all values are small counts.
func appendValue(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, 0)
	case v >= 0 && v < 1<<53 && v == math.Trunc(v) && !math.Signbit(v):
		return binary.AppendUvarint(dst, uint64(v)+2)
	}
	return binary.BigEndian.AppendUint64(append(dst, 1), math.Float64bits(v))
}

// Decode makes e the entry with the given id and encoded value. It returns
// ErrMalformed when b is not exactly what Append writes. e keeps nothing of b.
func (e *Entry) Decode(id EventID, b []byte) error {
	*e = Entry{ID: id, Values: e.Values[:0], Shadows: e.Shadows[:0], reports: e.reports[:0]}
	d := decoder{b: b}
	written := d.byte()
	if written < 1 || written > reportVersion {
		return ErrMalformed
	}
	e.Kind = scoring.Event(d.byte())
	flags := d.byte()
	e.setFlags(flags)
	e.Time = d.varint()
	if e.Now = max(e.Time, id.Recorded().Unix()); written >= entryVersion {
		e.Now = e.Time + d.varint()
	}
	if flags&flagCountry != 0 {
		e.Country = string(d.bytes(2))
	}
	d.subjects(&e.Subjects)
	if e.Subjects[hashing.Account].Given() {
		copy(e.Link[:], d.bytes(len(e.Link)))
	}
	e.Prev = Seq(d.uint64())
	e.Generation = d.uvarint32()
	e.Verdict, e.Score = scoring.Decision(d.byte()), int(d.byte())
	e.Policy = d.uvarint32()
	e.Values = d.values(e.Values)
	for n := d.count(outcomeKinds); n > 0 && !d.bad; n-- {
		if o := d.outcome(); !d.bad {
			e.SetOutcome(o)
		}
	}
	if written == reportVersion {
		d.reports(e)
	}
	if written >= shadowVersion {
		d.shadows(e, written == shadowVersion)
	}
	if d.bad || len(d.b) > 0 || e.Kind == 0 || e.Kind.Outcome() {
		return ErrMalformed
	}
	return nil
}

func (e *Entry) setFlags(f byte) {
	e.Verified = f&flagVerified != 0
	e.Claimed = f&flagClaimed != 0
	e.Holdout = f&flagHoldout != 0
	e.Given = f&flagGiven != 0
	e.Valid = f&flagValid != 0
	e.Linked = f&flagLinked != 0
}

// decoder takes values off the front of b. After the first that is not there,
// bad is set and every further one is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) bytes(n int) []byte {
	if d.bad || len(d.b) < n {
		d.bad, d.b = true, nil
		return nil
	}
	head := d.b[:n]
	d.b = d.b[n:]
	return head
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if b := d.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.bytes(max(n, 0))
	d.bad = d.bad || n <= 0
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.bytes(max(n, 0))
	d.bad = d.bad || n <= 0
	return v
}

func (d *decoder) uvarint32() uint32 {
	v := d.uvarint()
	d.bad = d.bad || v > math.MaxUint32
	return uint32(v) //nolint:gosec // a larger one sets bad
}

func (d *decoder) count(most uint64) int {
	n := d.uvarint()
	d.bad = d.bad || n > most
	return int(n) //nolint:gosec // a larger one sets bad
}

func (d *decoder) subjects(all *hashing.Subjects) {
	mask := d.byte()
	d.bad = d.bad || mask&1 != 0 || mask>>hashing.Kinds != 0
	for kind := range all {
		if mask&(1<<kind) == 0 {
			continue
		}
		if b := d.bytes(2 + hashing.IDSize); b != nil {
			s := &all[kind]
			s.Kind, s.Key, s.ID = hashing.Kind(kind), hashing.KeyID(binary.BigEndian.Uint16(b)), [hashing.IDSize]byte(b[2:])
		}
	}
}

func (d *decoder) values(into []float64) []float64 {
	n := d.count(maxValues)
	for n > 0 && !d.bad {
		short := d.b[:min(n, len(d.b))]
		for i, v := range short {
			if v == 1 || v >= byte(len(shortValues)) {
				short = short[:i]
				break
			}
			into = append(into, shortValues[v])
		}
		d.b, n = d.b[len(short):], n-len(short)
		if n > 0 {
			into, n = append(into, d.value()), n-1
		}
	}
	return into
}

// shortValues are the values that take one byte, as nearly all do, by that byte: but for 1, with which eight more follow.
var shortValues = func() (all [0x80]float64) {
	all[0] = math.NaN()
	for b := 2; b < len(all); b++ {
		all[b] = float64(b - 2)
	}
	return all
}()

// shadows reads into the room that e has.
func (d *decoder) shadows(e *Entry, some bool) {
	n := int(d.byte())
	d.bad = d.bad || n > MaxShadows || some && n == 0
	for ; n > 0 && !d.bad; n-- {
		i := len(e.Shadows)
		e.Shadows = slices.Grow(e.Shadows, 1)[:i+1]
		s := &e.Shadows[i]
		policy, decision := d.uvarint32(), d.byte()
		*s = Shadow{
			Policy: policy, Decision: scoring.Decision(decision &^ flagHeldOut), Holdout: decision&flagHeldOut != 0,
			Score: int(d.byte()), Values: d.values(s.Values[:0]),
		}
	}
}

func (d *decoder) value() float64 {
	switch n := d.uvarint(); n {
	case 0:
		return math.NaN()
	case 1:
		return math.Float64frombits(d.uint64())
	default:
		return float64(n - 2)
	}
}
