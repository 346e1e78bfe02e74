package record

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Op says what an Effect does. The values are part of the store format: they never
// change and never get reused.
type Op uint8

// The effects.
const (
	OpOutcome Op = iota + 1 // an outcome is counted, labels move, perhaps an account is linked
	OpUnlink                // an account is taken off a phone
	OpRelease               // a phone begins a new generation
	OpList                  // a subject is put on a list
	OpUnlist                // a subject is taken off a list
	OpMigrate               // a record is replaced, on its way from one key to another

	OpSweep Op = 8 // idle subjects are forgotten: see Forget
)

// Effect is one change of records that is not an assessed event. Stores make every such
// change by Apply and write the Effect down, so that the change can be made again.
type Effect struct {
	Seq      Seq // the key in the journal, not part of the encoded value
	Op       Op
	Time     int64            // unix seconds: when it happened
	Now      int64            // unix seconds: the clock
	Subjects hashing.Subjects // whose records change

	Event    scoring.Event   // of OpOutcome
	Replaced scoring.Event   // of OpOutcome: the outcome it replaced, itself if it was there already, 0 for none
	Linked   bool            // of OpOutcome: the account is linked to the phone
	Link     hashing.LinkTag // of OpOutcome and OpUnlink

	List    uint16 // of OpList and OpUnlist
	Expires int64  // of OpList: unix seconds, 0 for never

	Record string // of OpMigrate: the bytes of the record from now on, none for no record
}

// maxRecord bounds what Decode accepts as a record: MaxLinks links take the most of one.
const maxRecord = 4 << 20

// Apply changes the record of one of the effect's subjects. It reports false when there was
// nothing to change, or no room on the record: see Unlink, SetList and DropList.
func (f *Effect) Apply(owner hashing.Kind, r *Record) (changed bool) {
	changed = true
	switch f.Op {
	case OpOutcome:
		f.applyOutcome(owner, r)
	case OpUnlink:
		changed = r.Unlink(f.Link)
	case OpRelease:
		r.Release()
	case OpList:
		changed = r.SetList(f.List, f.Expires)
	case OpUnlist:
		changed = r.DropList(f.List)
	case OpMigrate:
		return r.Load([]byte(f.Record)) == nil // it names its newest change itself
	case OpSweep:
		r.Forget()
	}
	if changed {
		r.setApplied(f.Seq)
	}
	return changed
}

// applyOutcome links before it counts, as stores do: they have to know whether there is room first.
func (f *Effect) applyOutcome(owner hashing.Kind, r *Record) {
	if f.Linked && owner == hashing.Phone {
		r.Link(f.Link, TimeOf(f.Time), MaxLinks)
	}
	if f.Event != f.Replaced {
		r.countOutcome(f.Event, f.Replaced, TimeOf(f.Time), TimeOf(f.Now))
	}
}

// countOutcome counts an outcome that was reported at a time, and moves the labels.
func (r *Record) countOutcome(ev, replaced scoring.Event, at, now Time) {
	r.count(ev, at, now)
	if isLabel(ev) {
		r.label(ev, 1)
	}
	if isLabel(replaced) {
		r.label(replaced, -1)
	}
}

func isLabel(ev scoring.Event) bool { return ev == scoring.Abuse || ev == scoring.Legitimate }

// Mark returns what the event leaves in the records of its subjects when it is
// counted: see Record.Apply. Settle does the rest.
func (e *Entry) Mark() Mark {
	return NewMark(e.Kind, TimeOf(e.Time), TimeOf(e.Now), e.ID.Seq(), &e.Subjects, e.Country)
}

// Settle changes the record of one of the event's subjects as far as it depends on more than
// that the event happened: the account is linked if Linked says so, and a verified
// event counts as verified.
func (e *Entry) Settle(owner hashing.Kind, r *Record) {
	at := TimeOf(e.Time)
	if e.Linked && owner == hashing.Phone {
		r.Link(e.Link, at, MaxLinks)
	}
	if e.Verified && e.Subjects[hashing.Phone].Given() {
		r.countOutcome(scoring.Verified, 0, at, TimeOf(e.Now))
	}
}

// Append appends the encoded effect, without its Seq, to dst.
func (f *Effect) Append(dst []byte) []byte {
	dst = append(dst, version, byte(f.Op))
	dst = binary.AppendVarint(dst, f.Time)
	dst = binary.AppendVarint(dst, f.Now-f.Time)
	dst = appendSubjects(dst, &f.Subjects)
	switch f.Op {
	case OpOutcome:
		linked := byte(0)
		if f.Linked {
			linked = 1
		}
		dst = append(dst, byte(f.Event), byte(f.Replaced), linked)
		dst = append(dst, f.Link[:]...)
	case OpUnlink:
		dst = append(dst, f.Link[:]...)
	case OpList:
		dst = binary.BigEndian.AppendUint16(dst, f.List)
		dst = binary.AppendVarint(dst, f.Expires)
	case OpUnlist:
		dst = binary.BigEndian.AppendUint16(dst, f.List)
	case OpMigrate:
		dst = append(binary.AppendUvarint(dst, uint64(len(f.Record))), f.Record...)
	}
	return dst
}

// Decode makes f the effect with the given Seq and encoded value. It returns
// ErrMalformed when b is not exactly what Append writes.
func (f *Effect) Decode(seq Seq, b []byte) error {
	*f = Effect{Seq: seq}
	d := decoder{b: b}
	if d.byte() != version {
		return ErrMalformed
	}
	f.Op = Op(d.byte())
	f.Time = d.varint()
	f.Now = f.Time + d.varint()
	d.subjects(&f.Subjects)
	switch f.Op {
	case OpOutcome:
		f.Event, f.Replaced, f.Linked = scoring.Event(d.byte()), scoring.Event(d.byte()), d.byte() != 0
		copy(f.Link[:], d.bytes(len(f.Link)))
		d.bad = d.bad || !f.Event.Outcome() || f.Replaced != 0 && !f.Replaced.Outcome()
	case OpUnlink:
		copy(f.Link[:], d.bytes(len(f.Link)))
	case OpRelease, OpSweep:
	case OpList:
		f.List, f.Expires = d.uint16(), d.varint()
	case OpUnlist:
		f.List = d.uint16()
	case OpMigrate:
		f.Record = string(d.bytes(d.count(maxRecord)))
		d.bad = d.bad || new(Record).Load([]byte(f.Record)) != nil
	default:
		d.bad = true
	}
	if d.bad || len(d.b) > 0 {
		return ErrMalformed
	}
	return nil
}
