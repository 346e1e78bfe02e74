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
	subjects map[hashing.Subject]*subjectModel
	events   []*eventModel // in the order of ids
	lists    map[string]map[hashing.Subject]int64
	policies []string // version 1 first
	live     uint32
	shadows  []uint32 // ascending
	rollouts int
}

type subjectModel struct {
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
	generation uint32
	proof      scoring.Event
	label      scoring.Event
	claimed    bool
}

func newModel() *model {
	return &model{subjects: map[hashing.Subject]*subjectModel{}, lists: map[string]map[hashing.Subject]int64{}}
}

func (m *model) subject(s hashing.Subject) *subjectModel {
	if m.subjects[s] == nil {
		m.subjects[s] = newSubjectModel(0)
	}
	return m.subjects[s]
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
	e := &eventModel{id: id, ev: ev}
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
	m.subjects[phone] = newSubjectModel(next)
	return next
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
	if m.lists[list] == nil {
		m.lists[list] = map[hashing.Subject]int64{}
	}
	m.lists[list][s] = until
}

func (m *model) removeEntry(list string, s hashing.Subject) bool {
	_, was := m.lists[list][s]
	delete(m.lists[list], s)
	return was
}

// timeline returns the events of a phone's present generation, newest first.
func (m *model) timeline(phone hashing.Subject) []engine.EventID {
	var ids []engine.EventID
	for _, e := range slices.Backward(m.events) {
		if e.ev.Subjects[hashing.Phone] == phone && e.generation == m.subject(phone).generation {
			ids = append(ids, e.id)
		}
	}
	return ids
}
