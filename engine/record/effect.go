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
	OpErase                 // a phone is forgotten; or, without a phone, what an erased event left with others
	OpSweep                 // idle subjects are forgotten: see Forget
	OpLapse                 // idle subjects begin anew, as something happens to them: see Lapse
)

// Effect is one change of records that is not an assessed event. Stores make every such
// change by Apply and write the Effect down, so that the change can be made again.
type Effect struct {
	Seq      Seq // the key in the journal, not part of the encoded value; 0 for one that no journal holds, which records do not note
	Op       Op
	Time     int64            // unix seconds: when it happened
	Now      int64            // unix seconds: the clock
	Subjects hashing.Subjects // whose records change

	Event    scoring.Event   // of OpOutcome
	Replaced scoring.Event   // of OpOutcome: the outcome it replaced, itself if it was there already, 0 for none
	Linked   bool            // of OpOutcome: the account is linked to the phone
	Link     hashing.LinkTag // of OpOutcome and OpUnlink

	Remains Remains // of OpErase without a phone

	List    uint16 // of OpList and OpUnlist
	Expires int64  // of OpList: unix seconds, 0 for never

	Record string // of OpMigrate: the bytes of the record from now on, none for no record
}

// maxRecord bounds what Decode accepts as a record: MaxLinks links take the most of one.
const maxRecord = 4 << 20

// Remains is what an event of an erased phone left in the records of its other subjects. It takes the
// place of the event's log entry for as long as records may have to be made again, and has the Seq of the event.
type Remains struct {
	Event    scoring.Event
	Verified bool   // the event counted as verified, too
	Tag      uint32 // of the phone, as distinct counts keep it
	Country  string // two letters, "" for unknown
}

// RemainsOf returns what is left of an event once its phone is erased. ok is false when nobody else took part.
func RemainsOf(e *Entry) (f Effect, ok bool) {
	f = Effect{Seq: e.ID.Seq(), Op: OpErase, Time: e.Time, Now: e.Now, Subjects: e.Subjects}
	f.Remains = Remains{Event: e.Kind, Verified: e.Verified, Tag: e.Subjects[hashing.Phone].Tag(), Country: e.Country}
	f.Subjects[hashing.Phone] = hashing.Subject{}
	return f, f.Subjects != hashing.Subjects{}
}

// applyRemains counts in the record of another subject what the event counted there.
func (f *Effect) applyRemains(owner hashing.Kind, r *Record) {
	at, now := TimeOf(f.Time), TimeOf(f.Now)
	m := NewMark(f.Remains.Event, at, now, f.Seq, &f.Subjects, f.Remains.Country)
	if tellsApart(f.Remains.Event) {
		m.members[scoring.Phones] = member{f.Remains.Tag, true}
	}
	r.Apply(owner, &m)
	if f.Remains.Verified {
		r.countOutcome(scoring.Verified, 0, at, now)
	}
}

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
	case OpLapse:
		r.Lapse(owner)
	case OpErase:
		return f.applyErase(owner, r)
	}
	if changed && f.Seq != 0 {
		r.setApplied(f.Seq)
	}
	return changed
}

func (f *Effect) applyErase(owner hashing.Kind, r *Record) (changed bool) {
	if !f.Subjects[hashing.Phone].Given() {
		f.applyRemains(owner, r)
		return true
	}
	changed = len(r.Bytes()) > 0
	r.Erase()
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
	r.settleEvent(owner, e.link(), e.verifies(), TimeOf(e.Time), TimeOf(e.Now))
}

// link is the account that the event linked, zero for none.
func (e *Entry) link() hashing.LinkTag {
	if e.Linked {
		return e.Link
	}
	return hashing.LinkTag{}
}

// verifies reports whether the event counts as verified.
func (e *Entry) verifies() bool { return e.Verified && e.Subjects[hashing.Phone].Given() }

func (r *Record) settleEvent(owner hashing.Kind, link hashing.LinkTag, verified bool, at, now Time) {
	if link != (hashing.LinkTag{}) && owner == hashing.Phone {
		r.Link(link, at, MaxLinks)
	}
	if verified {
		r.countOutcome(scoring.Verified, 0, at, now)
	}
}

// Step is all that an event changes in the records of its subjects: what Record.Apply and Settle do, in a quarter of the memory of its entry.
type Step struct {
	mark     Mark
	link     hashing.LinkTag
	verified bool
}

// Step returns what the event changes.
func (e *Entry) Step() Step { return Step{mark: e.Mark(), link: e.link(), verified: e.verifies()} }

// Seq returns the number of the event.
func (s *Step) Seq() Seq { return s.mark.Seq }

// Apply changes the record of one of the event's subjects, whose kind is owner.
func (s *Step) Apply(owner hashing.Kind, r *Record) {
	r.Apply(owner, &s.mark)
	r.settleEvent(owner, s.link, s.verified, s.mark.At, s.mark.Now)
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
	case OpErase:
		if !f.Subjects[hashing.Phone].Given() {
			dst = f.Remains.append(dst)
		}
	}
	return dst
}

const (
	remainsVerified = 1 << iota
	remainsCountry
)

func (m *Remains) append(dst []byte) []byte {
	flags := byte(0)
	if m.Verified {
		flags |= remainsVerified
	}
	if m.Country != "" {
		flags |= remainsCountry
	}
	dst = append(dst, byte(m.Event), flags)
	return append(binary.BigEndian.AppendUint32(dst, m.Tag), m.Country...)
}

func (d *decoder) remains() (m Remains) {
	m.Event = scoring.Event(d.byte())
	flags := d.byte()
	m.Verified = flags&remainsVerified != 0
	m.Tag = d.uint32()
	if flags&remainsCountry != 0 {
		m.Country = string(d.bytes(2))
	}
	d.bad = d.bad || m.Event == 0 || m.Event.Outcome() || m.Event >= scoring.Events || flags >= remainsCountry<<1
	return m
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
	case OpRelease, OpSweep, OpLapse:
	case OpList:
		f.List, f.Expires = d.uint16(), d.varint()
	case OpUnlist:
		f.List = d.uint16()
	case OpMigrate:
		f.Record = string(d.bytes(d.count(maxRecord)))
		d.bad = d.bad || new(Record).Load([]byte(f.Record)) != nil
	case OpErase:
		if !f.Subjects[hashing.Phone].Given() {
			f.Remains = d.remains()
		}
	default:
		d.bad = true
	}
	if d.bad || len(d.b) > 0 {
		return ErrMalformed
	}
	return nil
}
