package record

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/ringfence/ringfence/engine/window"
	"github.com/ringfence/ringfence/scoring"
)

// Time is whole seconds since 2020-01-01 UTC. Zero is "never".
type Time = window.Time

// TimeOf returns the Time of unix seconds, at least 1 and at most the year 2156.
func TimeOf(unix int64) Time {
	return Time(min(max(unix-window.Epoch, 1), math.MaxUint32))
}

// unix is the inverse of TimeOf, and 0 for never.
func unix(t Time) int64 {
	if t == 0 {
		return 0
	}
	return int64(t) + window.Epoch
}

// ErrMalformed says that bytes are no record, or no log entry, of a version
// that this package knows.
var ErrMalformed = errors.New("malformed record")

const (
	version  = 1
	headSize = 17

	atFirst  = 1
	atLast   = 5
	atNewest = 9

	sectionMembers    = 31 // plus scoring.Member
	sectionLinks      = 48
	sectionGeneration = 49
	sectionLabels     = 50
	sectionLists      = 51
	sectionApplied    = 52
)

// Ahead is how far in seconds a stored time may lie ahead of the clock before
// the next write brings it back: see Apply.
const Ahead = 600

// Record is what is kept of one subject. The zero Record is that of a subject
// never seen. It is not safe for concurrent use.
type Record struct {
	b        []byte
	sections []section // of b, in order
	omits    Omission
}

// Omission is which counts a record leaves out. The zero Omission leaves out none.
type Omission struct{ events, members uint32 } // bits

// Everything leaves out every count but those that are asked for by Need.
var Everything = Omission{events: math.MaxUint32, members: math.MaxUint32}

// Need takes out of the omission what a signal asks the record of its subject for.
func (o *Omission) Need(s *scoring.Signal) {
	switch s.Aggregate {
	case scoring.Count:
		o.events &^= 1 << s.Event
	case scoring.Distinct:
		o.members &^= 1 << s.Member
	}
}

// Omit has the record leave out counts from now on, for somebody who is never going to ask for them. When it was seen, links, labels and lists
// it keeps in any case. Stores keep everything: what a policy is going to ask for nobody knows.
func (r *Record) Omit(o Omission) { r.omits = o }

// section is where a section lies in the bytes, its id byte included.
type section struct {
	id         byte
	start, end uint32
}

func sectionAt(id byte, start, end int) section {
	return section{id: id, start: uint32(start), end: uint32(end)} //nolint:gosec // a record is far smaller
}

// firstRoom is how many bytes and sections a record of NewRecords has room for: a phone that was seen a few times.
const (
	firstRoom     = 96
	firstSections = 6
)

// NewRecords returns n records of subjects never seen, which are cheaper than as many made one by one.
func NewRecords(n int) []Record {
	all := make([]Record, n)
	bytes, sections := make([]byte, n*firstRoom), make([]section, n*firstSections)
	for i := range all {
		all[i].b = bytes[i*firstRoom : i*firstRoom : (i+1)*firstRoom]
		all[i].sections = sections[i*firstSections : i*firstSections : (i+1)*firstSections]
	}
	return all
}

// Load makes r the record with the given bytes, which it copies; none is a
// subject never seen. It returns ErrMalformed, and leaves r empty, when they
// are no record.
func (r *Record) Load(b []byte) error {
	r.b = append(r.b[:0], b...)
	if err := r.index(); err != nil {
		r.b, r.sections = r.b[:0], r.sections[:0]
		return err
	}
	return nil
}

// Reload is Load for what Bytes returned before: it takes the bytes as they are.
func (r *Record) Reload(b []byte) {
	r.b, r.sections = append(r.b[:0], b...), r.sections[:0]
	for at := headSize; at < len(b); {
		id := b[at]
		end := at + 1
		switch {
		case id < scoring.Events:
			end += window.CountLen(b[end:])
		case id < sectionLinks:
			end += window.DistinctLen(b[end:])
		default:
			size, _ := bodySize(id, b[end:])
			end += size
		}
		r.sections = append(r.sections, sectionAt(id, at, end))
		at = end
	}
}

// Bytes returns the record as stored, valid until r is used again. They are
// empty for a subject of which nothing is kept.
func (r *Record) Bytes() []byte {
	if r.Empty() && len(r.sections) == 0 {
		return nil
	}
	return r.b
}

// index finds the sections of b.
func (r *Record) index() error {
	r.sections = r.sections[:0]
	if len(r.b) == 0 {
		return nil
	}
	if len(r.b) < headSize || r.b[0] != version {
		return ErrMalformed
	}
	last := byte(0)
	for at := headSize; at < len(r.b); {
		id := r.b[at]
		size, ok := bodySize(id, r.b[at+1:])
		if !ok || id <= last {
			return ErrMalformed
		}
		end := at + 1 + size
		r.sections = append(r.sections, sectionAt(id, at, end))
		at, last = end, id
	}
	return nil
}

// bodySize reads the size of the body at the start of b.
func bodySize(id byte, b []byte) (int, bool) {
	switch {
	case id >= 1 && id < scoring.Events:
		return window.CountSize(b)
	case id > sectionMembers && id < sectionMembers+scoring.Members:
		return window.DistinctSize(b)
	case id == sectionLinks:
		return arraySize(b, 2, linkSize)
	case id == sectionGeneration:
		return 4, len(b) >= 4
	case id == sectionLabels, id == sectionApplied:
		return 8, len(b) >= 8
	case id == sectionLists:
		return arraySize(b, 1, listSize)
	}
	return 0, false
}

// arraySize reads the size of an array that begins with its length in one or
// two bytes.
func arraySize(b []byte, head, item int) (int, bool) {
	if len(b) < head {
		return 0, false
	}
	n := int(b[0])
	if head == 2 {
		n = int(binary.BigEndian.Uint16(b))
	}
	size := head + n*item
	return size, len(b) >= size
}

// body returns the body of a section, nil when there is none.
func (r *Record) body(id byte) []byte {
	for _, s := range r.sections {
		if s.id == id {
			return r.b[s.start+1 : s.end]
		}
	}
	return nil
}

// editRoom is by how many bytes a change can make a section longer without moving it elsewhere first: a link is the longest entry.
const editRoom = 16

// edit replaces the body of a section by what change makes of it, which is given room to grow where it lies. An empty
// result removes the section. change must not look at r.
func (r *Record) edit(id byte, change func(body []byte) []byte) {
	r.begin()
	i, s, found := r.find(id)
	body := int(s.start) + 1
	tail := max(int(s.end), body) + editRoom // where what follows the section is moved to meanwhile
	rest := len(r.b) - int(s.end)
	r.stretch(int(s.end), tail)
	after := change(r.b[body : tail-editRoom : tail])
	if n := len(after); n > 0 && &after[0] != &r.b[body] { // it found no room
		if body+n > tail {
			r.stretch(tail, body+n)
			tail = body + n
		}
		copy(r.b[body:], after)
	}
	end := int(s.start)
	if len(after) > 0 {
		r.b[end] = id
		end = body + len(after)
	}
	copy(r.b[end:], r.b[tail:])
	r.b = r.b[:end+rest]
	r.resize(i, s, found, end)
}

// find returns the section of an id and its index, or where it would be, without any length.
func (r *Record) find(id byte) (i int, s section, found bool) {
	for i < len(r.sections) && r.sections[i].id < id {
		i++
	}
	if i < len(r.sections) && r.sections[i].id == id {
		return i, r.sections[i], true
	}
	s = section{id: id, start: headSize, end: headSize}
	if i > 0 {
		s.start, s.end = r.sections[i-1].end, r.sections[i-1].end
	}
	return i, s, false
}

// stretch moves what lies at a place and behind it to a later one.
func (r *Record) stretch(from, to int) {
	old := len(r.b)
	r.b = slices.Grow(r.b, to-from)[:old+to-from]
	copy(r.b[to:], r.b[from:old])
}

// resize notes that section i, which was s if it was found, ends elsewhere now; it is none when it ends where it starts.
func (r *Record) resize(i int, s section, found bool, end int) {
	by := uint32(end) - s.end //nolint:gosec // wraps around where the section got shorter
	switch s.end += by; {
	case s.end == s.start && found:
		r.sections = slices.Delete(r.sections, i, i+1)
	case s.end == s.start:
	case found:
		r.sections[i] = s
		i++
	default:
		r.sections = slices.Insert(r.sections, i, s)
		i++
	}
	for ; i < len(r.sections); i++ {
		r.sections[i].start += by
		r.sections[i].end += by
	}
}

// Touch reads here and there from the record and returns the sum, which means nothing. Who touches several records that are not in the
// processor's caches before using the first one waits for all of them at once, instead of for each in turn.
func (r *Record) Touch() (sum byte) {
	if n := len(r.sections); n > 0 {
		sum = r.sections[0].id + r.sections[n-1].id
	}
	if n := len(r.b); n > 0 {
		sum += r.b[0] + r.b[n/2] + r.b[n-1]
	}
	return sum
}

// begin writes the head of a record that has none yet.
func (r *Record) begin() {
	if len(r.b) == 0 {
		r.b = append(r.b[:0], make([]byte, headSize)...)
		r.b[0] = version
	}
}

// Empty reports whether nothing happened to the subject in its present
// generation. It may still be on lists.
func (r *Record) Empty() bool { return r.time(atLast) == 0 }

// FirstSeen returns when the subject was first seen in its present generation,
// in unix seconds, 0 for never.
func (r *Record) FirstSeen() int64 { return unix(r.time(atFirst)) }

// LastSeen returns when the subject was last seen, in unix seconds, 0 for never.
func (r *Record) LastSeen() int64 { return unix(r.time(atLast)) }

// Newest returns the newest event of the subject, of whichever generation, 0 for none.
func (r *Record) Newest() Seq {
	if len(r.b) < headSize {
		return 0
	}
	return Seq(binary.BigEndian.Uint64(r.b[atNewest:]))
}

// Applied returns the newest change that the record holds, event or not. It holds
// every one before, too: changes of one subject are applied in the order of their Seq.
func (r *Record) Applied() Seq {
	if b := r.body(sectionApplied); b != nil {
		return Seq(binary.BigEndian.Uint64(b))
	}
	return r.Newest()
}

// setApplied notes a change that is no event. Where nothing else is left there is no record, unless it names an event.
func (r *Record) setApplied(seq Seq) {
	if n := len(r.sections); r.Empty() && r.Newest() == 0 && (n == 0 || n == 1 && r.sections[0].id == sectionApplied) {
		r.b, r.sections = r.b[:0], r.sections[:0]
		return
	}
	r.edit(sectionApplied, func(b []byte) []byte { return binary.BigEndian.AppendUint64(b[:0], uint64(seq)) })
}

func (r *Record) time(at int) Time {
	if len(r.b) < headSize {
		return 0
	}
	return binary.BigEndian.Uint32(r.b[at:])
}

// Count returns how many events of a kind happened in (now-seconds, now]: exact
// up to 32, see package window beyond.
func (r *Record) Count(ev scoring.Event, now Time, seconds uint32) float64 {
	if b := r.body(byte(ev)); b != nil {
		return window.Count(b, now, seconds)
	}
	return 0
}

// Total returns how many events of a kind ever happened in the present
// generation.
func (r *Record) Total(ev scoring.Event) uint64 {
	if b := r.body(byte(ev)); b != nil {
		return window.Total(b)
	}
	return 0
}

// Distinct returns how many different members were last seen in (now-seconds, now]:
// exact up to 64, see package window beyond.
func (r *Record) Distinct(m scoring.Member, now Time, seconds uint32) float64 {
	if b := r.body(sectionMembers + byte(m)); b != nil {
		return window.Distinct(b, now, seconds)
	}
	return 0
}

// Measure returns the value of a signal at a time. The record must be that of
// a subject of the signal's kind.
func (r *Record) Measure(s *scoring.Signal, now Time) float64 {
	seconds := uint32(s.Window / 1e9) //nolint:gosec // a policy bounds windows to 180 days
	switch s.Aggregate {
	case scoring.Count:
		return r.Count(s.Event, now, seconds)
	case scoring.Distinct:
		return r.Distinct(s.Member, now, seconds)
	case scoring.Links:
		return float64(r.Links())
	case scoring.Labels:
		return float64(r.Labels(s.Event))
	}
	return math.NaN()
}

// Generation returns how often the phone was released.
func (r *Record) Generation() uint32 {
	if b := r.body(sectionGeneration); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Labels returns how many events of the subject are labelled Abuse, or
// Legitimate, at present.
func (r *Record) Labels(ev scoring.Event) int {
	b := r.body(sectionLabels)
	switch {
	case b == nil:
		return 0
	case ev == scoring.Abuse:
		return int(binary.BigEndian.Uint32(b))
	case ev == scoring.Legitimate:
		return int(binary.BigEndian.Uint32(b[4:]))
	}
	return 0
}
