package storetest

import (
	"slices"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// model is what a store should do, in plain maps and loops over everything that
// ever happened. It is slow and obvious.
type model struct {
	now      int64
	once     map[byte]int64 // when idempotency keys expire
	subjects map[hashing.Subject]*subjectModel
	events   []*eventModel // in the order of ids, old ones included
	lists    map[string]map[hashing.Subject]int64
	policies []string // version 1 first
	live     uint32
	shadows  []uint32 // ascending
	rollouts int

	calibrated map[int]int64 // when versions were, of those that were
}

type subjectModel struct {
	since      int // index of the first event that the subject is known for
	generation uint32
	happened   []happening
	members    map[scoring.Member]map[hashing.Subject]int64 // last seen
	links      map[hashing.LinkTag]int64
	labels     map[scoring.Event]int
}

type happening struct {
	event scoring.Event
	time  int64
}

type eventModel struct {
	id         engine.EventID
	ev         engine.Event
	recorded   int64
	generation uint32
	proof      scoring.Event
	label      scoring.Event
	claimed    bool
	erased     bool
}

func newModel() *model {
	return &model{
		once: map[byte]int64{}, subjects: map[hashing.Subject]*subjectModel{}, lists: map[string]map[hashing.Subject]int64{}, calibrated: map[int]int64{},
	}
}

// subject returns what is known of a subject. An idle one is as good as new.
func (m *model) subject(s hashing.Subject) *subjectModel {
	if m.subjects[s] == nil {
		m.subjects[s] = m.newSubject(0)
	}
	if m.idle(s) {
		m.subjects[s] = m.newSubject(m.subjects[s].generation)
	}
	return m.subjects[s]
}

func (m *model) idle(s hashing.Subject) bool {
	sm := m.subjects[s]
	for _, h := range sm.happened {
		if h.time > m.now-180*days {
			return false
		}
	}
	var listed hashing.Subjects
	listed[s.Kind] = s
	return len(sm.happened) > 0 && len(sm.links) == 0 && len(m.listsAt(&listed, m.now)) == 0
}

// happened reports whether anything did to a subject that is kept.
func (m *model) happened(s hashing.Subject) bool {
	sm := m.subject(s)
	return len(sm.happened) > 0 || sm.generation > 0
}

// nothing reports whether nothing is kept of a subject, no list that it is on included.
func (m *model) nothing(s hashing.Subject) bool {
	var alone hashing.Subjects
	alone[s.Kind] = s
	return !m.happened(s) && len(m.listsAt(&alone, m.now)) == 0
}

// logged reports whether an event is in the log.
func (m *model) logged(e *eventModel) bool { return !e.erased && e.recorded > m.now-90*days }

func (m *model) newSubject(generation uint32) *subjectModel {
	sm := newSubjectModel(generation)
	sm.since = len(m.events)
	return sm
}

func newSubjectModel(generation uint32) *subjectModel {
	return &subjectModel{
		generation: generation,
		members:    map[scoring.Member]map[hashing.Subject]int64{},
		links:      map[hashing.LinkTag]int64{},
		labels:     map[scoring.Event]int{},
	}
}

// told lists which members a kind of subject tells apart, once more and by
// hand: a mistake in the table of package record shows as a difference.
var told = map[hashing.Kind]map[scoring.Member]hashing.Kind{
	hashing.Phone:   {scoring.Accounts: hashing.Account, scoring.Devices: hashing.Device, scoring.Networks: hashing.Network},
	hashing.Range:   {scoring.Phones: hashing.Phone},
	hashing.Account: {scoring.Phones: hashing.Phone},
	hashing.IP:      {scoring.Phones: hashing.Phone, scoring.Accounts: hashing.Account},
	hashing.Network: {scoring.Phones: hashing.Phone, scoring.Accounts: hashing.Account},
	hashing.Device:  {scoring.Phones: hashing.Phone, scoring.Accounts: hashing.Account},
}

// assess counts an event whose decision was blocked or not.
func (m *model) assess(id engine.EventID, ev engine.Event, blocked bool, limit int) {
	for _, s := range ev.Subjects {
		if s.Given() {
			m.subject(s)
		}
	}
	e := &eventModel{id: id, ev: ev, recorded: m.now}
	m.events = append(m.events, e)
	for _, s := range ev.Subjects {
		if s.Given() {
			m.count(s, &ev)
		}
	}
	phone := ev.Subjects[hashing.Phone]
	if !phone.Given() {
		return
	}
	e.generation = m.subject(phone).generation
	if ev.Verified && ev.Subjects[hashing.Account].Given() && !blocked {
		e.claimed = m.link(phone, ev.Link, ev.Time, limit)
	}
	if ev.Verified {
		e.proof = scoring.Verified
		m.happen(&ev, scoring.Verified, ev.Time)
	}
}

func (m *model) count(s hashing.Subject, ev *engine.Event) {
	sm := m.subject(s)
	sm.happened = append(sm.happened, happening{ev.Kind, ev.Time})
	if ev.Kind != scoring.Signup && ev.Kind != scoring.Verification && ev.Kind != scoring.NumberChange {
		return
	}
	for member, kind := range told[s.Kind] {
		with := ev.Subjects[kind]
		if !with.Given() {
			continue
		}
		if sm.members[member] == nil {
			sm.members[member] = map[hashing.Subject]int64{}
		}
		sm.members[member][with] = max(sm.members[member][with], ev.Time)
	}
}

func (m *model) happen(ev *engine.Event, what scoring.Event, at int64) {
	for _, s := range ev.Subjects {
		if s.Given() {
			sm := m.subject(s)
			sm.happened = append(sm.happened, happening{what, at})
		}
	}
}

func (m *model) link(phone hashing.Subject, tag hashing.LinkTag, at int64, limit int) bool {
	links := m.subject(phone).links
	if links[tag] != 0 {
		return true
	}
	if limit > 0 && len(links) >= limit {
		return false
	}
	links[tag] = at
	return true
}

// outcome attaches an outcome to the event at an index and reports whether it
// was new, and whether the number was released since.
func (m *model) outcome(i int, kind scoring.Event, at int64, limit int) (changed, stale bool) {
	e := m.events[i]
	phone := e.ev.Subjects[hashing.Phone]
	stale = phone.Given() && m.subject(phone).generation != e.generation
	slot := &e.label
	if kind == scoring.Verified || kind == scoring.Unverified {
		slot = &e.proof
	}
	before := *slot
	changed = before != kind
	*slot = kind
	if changed && !stale {
		m.happen(&e.ev, kind, at)
		m.relabel(&e.ev, before, -1)
		m.relabel(&e.ev, kind, 1)
	}
	if kind == scoring.Verified && !stale && !e.claimed && phone.Given() && e.ev.Subjects[hashing.Account].Given() {
		e.claimed = m.link(phone, e.ev.Link, at, limit)
	}
	return changed, stale
}

func (m *model) relabel(ev *engine.Event, kind scoring.Event, n int) {
	if kind != scoring.Abuse && kind != scoring.Legitimate {
		return
	}
	for _, s := range ev.Subjects {
		if s.Given() {
			m.subject(s).labels[kind] += n
		}
	}
}

func (m *model) unlink(phone hashing.Subject, tag hashing.LinkTag) bool {
	links := m.subject(phone).links
	was := links[tag] != 0
	delete(links, tag)
	return was
}

func (m *model) release(phone hashing.Subject) uint32 {
	next := m.subject(phone).generation + 1
	m.subjects[phone] = m.newSubject(next)
	return next
}

// erase forgets a phone and its events. What they counted for others stays.
func (m *model) erase(phone hashing.Subject) {
	delete(m.subjects, phone)
	for _, entries := range m.lists {
		delete(entries, phone)
	}
	for _, e := range m.events {
		e.erased = e.erased || e.ev.Subjects[hashing.Phone] == phone
	}
}

// measure computes a signal from everything that happened.
func (m *model) measure(s hashing.Subject, sig scoring.Signal, now int64) float64 {
	sm := m.subject(s)
	from := now - int64(sig.Window.Seconds())
	n := 0
	switch sig.Aggregate {
	case scoring.Count:
		for _, h := range sm.happened {
			if h.event == sig.Event && h.time > from && h.time <= now {
				n++
			}
		}
	case scoring.Distinct:
		for _, seen := range sm.members[sig.Member] {
			if seen > from && seen <= now {
				n++
			}
		}
	case scoring.Links:
		n = len(sm.links)
	case scoring.Labels:
		n = sm.labels[sig.Event]
	}
	return float64(n)
}

// listsAt returns the lists in force that any subject is on.
func (m *model) listsAt(subjects *hashing.Subjects, now int64) []string {
	var names []string
	for name, entries := range m.lists {
		for _, s := range subjects {
			if until, on := entries[s]; on && s.Given() && (until == 0 || now < until) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *model) putEntry(list string, s hashing.Subject, until int64) {
	m.subject(s) // an idle one is forgotten before it is listed
	if m.lists[list] == nil {
		m.lists[list] = map[hashing.Subject]int64{}
	}
	m.lists[list][s] = until
}

func (m *model) removeEntry(list string, s hashing.Subject) bool {
	until, was := m.lists[list][s]
	delete(m.lists[list], s)
	return was && (until == 0 || m.now < until)
}

// timeline returns the events of a phone's present generation, newest first.
func (m *model) timeline(phone hashing.Subject) []engine.EventID {
	var ids []engine.EventID
	for i, e := range slices.Backward(m.events) {
		if i >= m.subject(phone).since && m.logged(e) && e.ev.Subjects[hashing.Phone] == phone && e.generation == m.subject(phone).generation {
			ids = append(ids, e.id)
		}
	}
	return ids
}
