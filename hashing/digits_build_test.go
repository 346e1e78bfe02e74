package hashing

import (
	"encoding/binary"
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers/v2"
)

var update = flag.Bool("update", false, "write the plan anew")

// TestPlanIsUpToDate makes the plan from the library's metadata: it has to be the committed one.
func TestPlanIsUpToDate(t *testing.T) {
	made := buildPlan(t)
	if *update {
		if err := os.WriteFile("digits.bin", made, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(made) != planFile {
		t.Fatalf("digits.bin (%d bytes) is not what the library gives (%d bytes); run: go generate ./hashing", len(planFile), len(made))
	}
	if len(made) > 1<<20 {
		t.Errorf("%d bytes", len(made))
	}
}

// planner makes the states of one country.
type planner struct {
	t        testing.TB
	machines []*machine
	index    map[string]int // of a machine by its pattern
	regions  []territory
	prefix   *stripper // nil if the country has no national prefix
	max      int       // digits behind the calling code
	made     map[string]uint16
	all      *stateSet
}

// territory is a region with the machines of its types, in the order in which the library asks.
type territory struct {
	general, fixed, mobile line
	others                 []line
	same                   bool // fixed lines and mobiles have one pattern
	leading                int  // machine of the leading digits, -1 if it has none
}

// line is a type: which machine, and which lengths, any if there are none.
type line struct {
	kind    phonenumbers.PhoneNumberType
	machine int
	lengths []int32
}

// stateSet is the states of all countries, every one once.
type stateSet struct {
	t    testing.TB
	ids  map[[11]uint16]uint16
	rows [][11]uint16
}

// unit is how many stateUnits a state is long: the factor between its index and its name.
const unit = stateSize / stateUnit

func (s *stateSet) add(row [11]uint16) uint16 {
	if id, ok := s.ids[row]; ok {
		return id
	}
	if len(s.rows)*unit > 65535 {
		s.t.Fatal("more states than two bytes can name")
	}
	id := uint16(len(s.rows) * unit)
	s.ids[row] = id
	s.rows = append(s.rows, row)
	return id
}

// sink is the state that is never left and has one of the first two answers.
func sink(answer uint16) uint16 { return answer * unit }

// newStateSet has the two sinks.
func newStateSet(t testing.TB) *stateSet {
	s := &stateSet{t: t, ids: map[[11]uint16]uint16{}}
	for _, answer := range []uint16{askLibrary, notInUse} {
		row := [11]uint16{answer}
		for i := range 10 {
			row[1+i] = sink(answer)
		}
		s.add(row)
	}
	return s
}

func (p *planner) machine(pattern string) int {
	i, ok := p.index[pattern]
	if !ok {
		i = len(p.machines)
		p.index[pattern] = i
		p.machines = append(p.machines, newMachine(p.t, pattern))
	}
	return i
}

func (p *planner) line(kind phonenumbers.PhoneNumberType, d *phonenumbers.PhoneNumberDesc) line {
	return line{kind, p.machine("^(?:" + d.GetNationalNumberPattern() + ")$"), d.PossibleLength}
}

func (p *planner) territory(m *phonenumbers.PhoneMetadata) territory {
	r := territory{
		general: p.line(phonenumbers.UNKNOWN, m.GetGeneralDesc()),
		fixed:   p.line(phonenumbers.FIXED_LINE, m.GetFixedLine()),
		mobile:  p.line(phonenumbers.MOBILE, m.GetMobile()),
		same:    m.GetSameMobileAndFixedLinePattern(),
		leading: -1,
		others: []line{
			p.line(phonenumbers.PREMIUM_RATE, m.GetPremiumRate()),
			p.line(phonenumbers.TOLL_FREE, m.GetTollFree()),
			p.line(phonenumbers.SHARED_COST, m.GetSharedCost()),
			p.line(phonenumbers.VOIP, m.GetVoip()),
			p.line(phonenumbers.PERSONAL_NUMBER, m.GetPersonalNumber()),
			p.line(phonenumbers.PAGER, m.GetPager()),
			p.line(phonenumbers.UAN, m.GetUan()),
			p.line(phonenumbers.VOICEMAIL, m.GetVoicemail()),
		},
	}
	if lead := m.GetLeadingDigits(); lead != "" {
		// What follows the leading digits does not matter.
		r.leading = p.machine("^(?:" + lead + `)\d*$`)
	}
	return r
}

// place is where all machines of a country are after some digits.
type place struct {
	states []int
	strip  stripState
}

func (p *planner) matches(l line, at place, size int) bool {
	if len(l.lengths) > 0 && !slices.Contains(l.lengths, int32(size)) {
		return false
	}
	return p.machines[l.machine].ends[at.states[l.machine]]
}

// kind is the library's way to the type of a number.
func (p *planner) kind(r territory, at place, size int) phonenumbers.PhoneNumberType {
	if !p.matches(r.general, at, size) {
		return phonenumbers.UNKNOWN
	}
	for _, l := range r.others {
		if p.matches(l, at, size) {
			return l.kind
		}
	}
	fixed := p.matches(r.fixed, at, size)
	mobile := !r.same && p.matches(r.mobile, at, size)
	switch {
	case fixed && (r.same || mobile):
		return phonenumbers.FIXED_LINE_OR_MOBILE
	case fixed:
		return phonenumbers.FIXED_LINE
	case mobile:
		return phonenumbers.MOBILE
	}
	return phonenumbers.UNKNOWN
}

// answer is what the plan says of a number that ends at a place.
func (p *planner) answer(at place, size int) uint16 {
	if p.prefix != nil && p.prefix.mayStrip(at.strip, p.machines[p.regions[0].general.machine].ends[at.states[p.regions[0].general.machine]]) {
		return askLibrary
	}
	for i, r := range p.regions {
		kind := p.kind(r, at, size)
		here := kind != phonenumbers.UNKNOWN
		if len(p.regions) > 1 && r.leading >= 0 {
			here = p.machines[r.leading].ends[at.states[r.leading]]
		}
		switch {
		case here && kind != phonenumbers.UNKNOWN:
			return uint16(i+1)<<4 | uint16(kind)
		case here:
			return notInUse // the library looks no further
		}
	}
	return notInUse
}

func (p *planner) step(at place, digit int) place {
	to := place{states: make([]int, len(at.states))}
	for i, m := range p.machines {
		to.states[i] = m.step(at.states[i], digit)
	}
	if p.prefix != nil {
		to.strip = p.prefix.step(at.strip, digit)
	}
	return to
}

// state returns the state of the plan for a place size digits behind the calling code.
func (p *planner) state(at place, size int) uint16 {
	key := make([]byte, 0, 512)
	key = append(key, byte(size))
	for _, s := range at.states {
		key = binary.AppendUvarint(key, uint64(s))
	}
	key = append(append(key, '|'), at.strip.key()...)
	if id, ok := p.made[string(key)]; ok {
		return id
	}
	var row [11]uint16
	row[0] = p.answer(at, size)
	for digit := range 10 {
		switch {
		case size < p.max:
			row[1+digit] = p.state(p.step(at, digit), size+1)
		case row[0] == askLibrary: // nobody goes there
			row[1+digit] = sink(askLibrary)
		default:
			row[1+digit] = sink(notInUse)
		}
	}
	id := p.all.add(row)
	p.made[string(key)] = id
	return id
}

// stripper tells where the library might take a national prefix away.
type stripper struct {
	prefix, general *machine
	transforms      bool // something is put in its place
}

// stripState is where the prefix is, whether some prefix matched, and where the general
// pattern is on what each of them leaves.
type stripState struct {
	prefix int
	hit    bool
	rests  []int
}

func (s stripState) key() []byte {
	key := binary.AppendUvarint(nil, uint64(s.prefix))
	if s.hit {
		key = append(key, 'h')
	}
	for _, r := range s.rests {
		key = binary.AppendUvarint(key, uint64(r))
	}
	return key
}

func newStripper(t testing.TB, m *phonenumbers.PhoneMetadata, general *machine) *stripper {
	pattern := m.GetNationalPrefixForParsing()
	if pattern == "" {
		return nil
	}
	// A prefix of no digits leaves the number as it is, provided that nothing is put before it.
	groups := regexp.MustCompile("^(?:" + pattern + ")").FindStringSubmatchIndex("")
	transforms := m.GetNationalPrefixTransformRule() != ""
	if groups != nil && transforms && groups[len(groups)-1] >= 0 {
		t.Fatalf("%s: an empty national prefix that changes the number", m.GetId())
	}
	return &stripper{newMachine(t, "^(?:"+pattern+")"), general, transforms}
}

func (s *stripper) step(at stripState, digit int) stripState {
	to := stripState{prefix: s.prefix.step(at.prefix, digit), hit: at.hit}
	for _, r := range at.rests {
		if r = s.general.step(r, digit); r != dead {
			to.rests = append(to.rests, r)
		}
	}
	if s.prefix.won[to.prefix] {
		to.hit = true
		to.rests = append(to.rests, s.general.start())
	}
	slices.Sort(to.rests)
	to.rests = slices.Compact(to.rests)
	return to
}

// mayStrip reports false only when the library leaves a number alone: no prefix
// matches, or the number is viable and no longer is without any of the prefixes. Which of several
// matches the library would take, and whether the lengths are right, does not matter then.
func (s *stripper) mayStrip(at stripState, viable bool) bool {
	if !at.hit && !s.prefix.ends[at.prefix] {
		return false
	}
	if s.transforms || !viable {
		return true
	}
	return slices.ContainsFunc(at.rests, func(r int) bool { return s.general.ends[r] })
}

// buildPlan makes the whole file.
func buildPlan(t testing.TB) []byte {
	t.Helper()
	byRegion, byCode := territories(t)
	names, starts, all := make([]byte, 0, 4*256), make([]uint16, 2*1000), newStateSet(t)
	for _, text := range callingCodes() {
		code, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		first := uint16(len(names)/4 + 1)
		var plans []*phonenumbers.PhoneMetadata
		for _, name := range phonenumbers.GetRegionCodesForCountryCode(code) {
			names = append(names, (name + "\x00\x00")[:4]...)
			if name == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
				plans = append(plans, byCode[code])
			} else {
				plans = append(plans, byRegion[name])
			}
		}
		p := newPlanner(t, plans, maxPlanDigits-len(text), all)
		for three := range 1000 {
			if rest, ok := strings.CutPrefix(strconv.Itoa(1000 + three)[1:], text); ok {
				starts[2*three], starts[2*three+1] = p.behind(rest), first
			}
		}
	}
	file := make([]byte, planHead, 1<<18)
	copy(file, planVersion)
	file = append(file, names[:cap(names)]...)
	for _, words := range append([][]uint16{starts}, all.words()...) {
		for _, v := range words {
			file = binary.LittleEndian.AppendUint16(file, v)
		}
	}
	return file
}

// words returns the states as the plan has them.
func (s *stateSet) words() [][]uint16 {
	var all [][]uint16
	for _, row := range s.rows {
		all = append(all, append(row[:], make([]uint16, stateSize-len(row))...))
	}
	return all
}

func territories(t testing.TB) (byRegion map[string]*phonenumbers.PhoneMetadata, byCode map[int]*phonenumbers.PhoneMetadata) {
	t.Helper()
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		t.Fatal(err)
	}
	byRegion, byCode = map[string]*phonenumbers.PhoneMetadata{}, map[int]*phonenumbers.PhoneMetadata{}
	for _, m := range all.GetMetadata() {
		if m.GetId() == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
			byCode[int(m.GetCountryCode())] = m
		} else {
			byRegion[m.GetId()] = m
		}
	}
	return byRegion, byCode
}

// newPlanner makes the machines of one calling code. Behind it there are at most size digits.
func newPlanner(t testing.TB, plans []*phonenumbers.PhoneMetadata, size int, all *stateSet) *planner {
	t.Helper()
	p := &planner{t: t, index: map[string]int{}, max: size, made: map[string]uint16{}, all: all}
	for _, m := range plans {
		p.regions = append(p.regions, p.territory(m))
	}
	p.prefix = newStripper(t, plans[0], p.machines[p.regions[0].general.machine])
	return p
}

// behind returns the state behind the first digits of a number.
func (p *planner) behind(first string) uint16 {
	var at place
	for _, m := range p.machines {
		at.states = append(at.states, m.start())
	}
	if p.prefix != nil {
		at.strip.prefix = p.prefix.prefix.start()
	}
	for _, c := range first {
		at = p.step(at, int(c-'0'))
	}
	return p.state(at, len(first))
}
