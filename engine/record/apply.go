package record

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/engine/window"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Mark is what one event leaves in the records of its subjects.
type Mark struct {
	Event scoring.Event
	At    Time // when it happened
	Now   Time // the clock
	Seq   Seq

	members [scoring.Members]member
}

// member is who a distinct count may meet in this event.
type member struct {
	tag   uint32
	given bool
}

// pairs says which distinct counts a kind of subject keeps. A policy cannot ask
// for any other, so a change here changes what can ever be asked.
var pairs = [hashing.Kinds][]scoring.Member{
	hashing.Phone:   {scoring.Accounts, scoring.Devices, scoring.Networks, scoring.Countries},
	hashing.Range:   {scoring.Phones},
	hashing.Account: {scoring.Phones},
	hashing.IP:      {scoring.Accounts, scoring.Phones},
	hashing.Network: {scoring.Accounts, scoring.Phones},
	hashing.Device:  {scoring.Accounts, scoring.Phones},
}

// NewMark says what an event will leave behind. country is two letters, or ""
// when it is not known.
func NewMark(ev scoring.Event, at, now Time, seq Seq, subjects *hashing.Subjects, country string) Mark {
	m := Mark{Event: ev, At: at, Now: now, Seq: seq}
	if !tellsApart(ev) {
		return m
	}
	m.members[scoring.Accounts] = memberOf(subjects[hashing.Account])
	m.members[scoring.Devices] = memberOf(subjects[hashing.Device])
	m.members[scoring.Networks] = memberOf(subjects[hashing.Network])
	m.members[scoring.Phones] = memberOf(subjects[hashing.Phone])
	if country != "" {
		m.members[scoring.Countries] = member{countryTag(country), true}
	}
	return m
}

// tellsApart reports whether distinct counts see an event. They see those that
// tie a number to an account; otherwise sign-ins behind a carrier's NAT would
// look like a farm.
func tellsApart(ev scoring.Event) bool {
	return ev == scoring.Signup || ev == scoring.Verification || ev == scoring.NumberChange
}

// kindOf is the kind of subject that a member is, zero for one that is none.
var kindOf = [scoring.Members]hashing.Kind{
	scoring.Accounts: hashing.Account, scoring.Devices: hashing.Device, scoring.Networks: hashing.Network, scoring.Phones: hashing.Phone,
}

// Retag makes members that the record of a subject, whose kind is owner, knows by their tags under an older key known by those
// under a newer one. It reports whether there were any.
func (r *Record) Retag(owner hashing.Kind, from, to *hashing.Subjects) (changed bool) {
	for _, who := range pairs[owner] {
		old, now := from[kindOf[who]], to[kindOf[who]]
		if section := sectionMembers + byte(who); kindOf[who] != 0 && old.Given() && now.Given() && r.body(section) != nil {
			known := false
			r.edit(section, func(b []byte) []byte {
				b, known = window.ReplaceMember(b, old.Tag(), now.Tag())
				return b
			})
			changed = changed || known
		}
	}
	return changed
}

func memberOf(s hashing.Subject) member { return member{s.Tag(), s.Given()} }

// countryTag spreads a country's letters over 32 bits, as distinct counts need
// (FNV-1a, then the finaliser of MurmurHash3). It hides nothing.
func countryTag(country string) uint32 {
	h := uint32(2166136261)
	for i := range len(country) {
		h = (h ^ uint32(country[i])) * 16777619
	}
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// Apply counts an event in the record of one of its subjects, whose kind is
// owner. Once a time was stored that lies more than Ahead seconds ahead of the
// clock, every time ahead of it first becomes now, so that one jump of the
// clock cannot freeze a subject. An event too old
// to be placed enters no window, only the total: placed is false then.
func (r *Record) Apply(owner hashing.Kind, m *Mark) (placed bool) {
	placed = r.count(m.Event, m.At, m.Now)
	for _, who := range pairs[owner] {
		if with := m.members[who]; with.given && r.omits.members>>who&1 == 0 {
			r.meet(sectionMembers+byte(who), with.tag, m.At)
		}
	}
	binary.BigEndian.PutUint64(r.b[atNewest:], uint64(m.Seq))
	if r.body(sectionApplied) != nil {
		r.edit(sectionApplied, func([]byte) []byte { return nil })
	}
	return placed
}

func (r *Record) count(ev scoring.Event, at, now Time) (placed bool) {
	r.begin()
	r.settle(now)
	placed = r.omits.events>>ev&1 != 0 || r.place(byte(ev), at)
	if !placed {
		r.edit(byte(ev), func(b []byte) []byte {
			b, placed = window.AddCount(b, at)
			return b
		})
	}
	r.seen(at)
	return placed
}

// place counts an event where its section lies, as nearly always can be done. It reports whether it was.
func (r *Record) place(id byte, at Time) bool {
	for i := range r.sections {
		s := &r.sections[i]
		if s.id != id {
			continue
		}
		body := r.b[s.start+1 : s.end]
		where, ok := window.CountPlace(body, at)
		if !ok {
			after, done := window.TurnCount(body, at)
			if n := len(body) - len(after); n > 0 {
				r.cut(i, n)
			}
			return done
		}
		r.open(i, int(s.start)+1+where, window.CountEntry)
		window.PutCount(r.b[s.start+1:s.end], where, at)
		return true
	}
	return false
}

// meet notes that a member was seen, where its section lies if that can be done, as it nearly always can.
func (r *Record) meet(id byte, tag uint32, at Time) {
	for i := range r.sections {
		s := &r.sections[i]
		if s.id != id {
			continue
		}
		body := r.b[s.start+1 : s.end]
		if window.TouchMember(body, tag, at) {
			return
		}
		if where, ok := window.MemberPlace(body, at); ok {
			r.open(i, int(s.start)+1+where, window.MemberEntry)
			window.PutMember(r.b[s.start+1:s.end], where, tag, at)
			return
		}
		break
	}
	r.edit(id, func(b []byte) []byte { return window.AddMember(b, tag, at) })
}

// open makes room for n bytes within section i.
func (r *Record) open(i, where, n int) {
	r.stretch(where, where+n)
	by := uint32(n) //nolint:gosec // a few bytes
	r.sections[i].end += by
	for k := i + 1; k < len(r.sections); k++ {
		r.sections[k].start += by
		r.sections[k].end += by
	}
}

// cut takes the last n bytes off section i.
func (r *Record) cut(i, n int) {
	end, by := r.sections[i].end, uint32(n) //nolint:gosec // a few bytes
	copy(r.b[end-by:], r.b[end:])
	r.b = r.b[:len(r.b)-n]
	r.sections[i].end -= by
	for k := i + 1; k < len(r.sections); k++ {
		r.sections[k].start -= by
		r.sections[k].end -= by
	}
}

// seen widens first and last seen to a time.
func (r *Record) seen(at Time) {
	if first := r.time(atFirst); first == 0 || at < first {
		binary.BigEndian.PutUint32(r.b[atFirst:], at)
	}
	if at > r.time(atLast) {
		binary.BigEndian.PutUint32(r.b[atLast:], at)
	}
}

// settle brings times that lie ahead of the clock back to now, once one lies
// too far ahead. Last seen is never before any other stored time, so it tells
// whether one does.
func (r *Record) settle(now Time) {
	limit := now + Ahead
	if limit < now || r.time(atLast) <= limit {
		return
	}
	for i := 0; i < len(r.sections); i++ {
		r.settleSection(r.sections[i].id, now)
	}
	for _, at := range []int{atFirst, atLast} {
		if r.time(at) > now {
			binary.BigEndian.PutUint32(r.b[at:], now)
		}
	}
}

func (r *Record) settleSection(id byte, now Time) {
	switch {
	case id < scoring.Events:
		r.edit(id, func(b []byte) []byte { return window.Retime(b, now) })
	case id > sectionMembers && id < sectionMembers+scoring.Members:
		r.edit(id, func(b []byte) []byte { return window.RetimeMembers(b, now) })
	case id == sectionLinks:
		settleLinks(r.body(id), now)
	}
}

// label adds n, which may be negative, to how many events of the subject are
// labelled Abuse or Legitimate. A tally never falls below zero.
func (r *Record) label(ev scoring.Event, n int) {
	at := 0
	if ev == scoring.Legitimate {
		at = 4
	}
	r.edit(sectionLabels, func(b []byte) []byte {
		if len(b) == 0 {
			b = append(b, make([]byte, 8)...)
		}
		tally := max(int64(binary.BigEndian.Uint32(b[at:]))+int64(n), 0)
		binary.BigEndian.PutUint32(b[at:], uint32(min(tally, 1<<32-1)))
		if binary.BigEndian.Uint64(b) == 0 {
			return b[:0]
		}
		return b
	})
}

// Release begins a new generation: everything but the lists is forgotten. The newest event
// stays named, so that the walk over a phone's events reaches all generations: erasure needs that.
func (r *Record) Release() {
	next, newest := r.Generation()+1, r.Newest()
	r.clear()
	r.edit(sectionGeneration, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b[:0], next) })
	r.nameNewest(newest)
}

func (r *Record) nameNewest(seq Seq) {
	r.begin()
	binary.BigEndian.PutUint64(r.b[atNewest:], uint64(seq))
}

// clear forgets everything but the lists and the generation.
func (r *Record) clear() {
	generation := append([]byte(nil), r.body(sectionGeneration)...)
	lists := append([]byte(nil), r.body(sectionLists)...)
	r.b, r.sections = r.b[:0], r.sections[:0]
	if len(generation) > 0 {
		r.edit(sectionGeneration, func(b []byte) []byte { return append(b, generation...) })
	}
	if len(lists) > 0 {
		r.edit(sectionLists, func(b []byte) []byte { return append(b, lists...) })
	}
}

// Erase forgets everything, the generation and the lists too.
func (r *Record) Erase() { r.b, r.sections = r.b[:0], r.sections[:0] }
