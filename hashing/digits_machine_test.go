package hashing

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"testing"
)

// machine is a deterministic automaton for one pattern, made as it is used. A
// state is a set of places in the compiled pattern; state 0 is the empty set.
type machine struct {
	t    testing.TB
	prog *syntax.Prog
	sets [][]uint32
	ids  map[string]int
	next [][10]int // -1 where nobody was yet
	ends []bool    // a match ends here, or would if the text did
	won  []bool    // a match ends here, whatever follows
}

const dead = 0

// newMachine compiles a pattern that begins with ^.
func newMachine(t testing.TB, pattern string) *machine {
	t.Helper()
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, prog: prog, ids: map[string]int{}}
	m.intern(nil)
	return m
}

func (m *machine) start() int {
	return m.intern(m.follow([]uint32{uint32(m.prog.Start)}, syntax.EmptyBeginText))
}

// follow goes on from every place without reading. Where it would need the end of the
// text, it stops, unless the end is given.
func (m *machine) follow(from []uint32, given syntax.EmptyOp) []uint32 {
	seen := make([]bool, len(m.prog.Inst))
	var set, todo []uint32
	for todo = slices.Clone(from); len(todo) > 0; {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &m.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, inst.Out)
		case syntax.InstEmptyWidth:
			need := syntax.EmptyOp(inst.Arg)
			if need&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
				m.t.Fatal("a pattern with an assertion that nobody thought of")
			}
			if need&^given == 0 {
				todo = append(todo, inst.Out)
			} else if need == syntax.EmptyEndText {
				set = append(set, pc)
			}
		case syntax.InstFail:
		default:
			set = append(set, pc)
		}
	}
	slices.Sort(set)
	return set
}

func (m *machine) intern(set []uint32) int {
	var key []byte
	for _, pc := range set {
		key = binary.LittleEndian.AppendUint32(key, pc)
	}
	id, ok := m.ids[string(key)]
	if ok {
		return id
	}
	id = len(m.sets)
	m.ids[string(key)] = id
	m.sets = append(m.sets, set)
	m.next = append(m.next, [10]int{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1})
	m.won = append(m.won, m.matches(set))
	m.ends = append(m.ends, m.matches(m.follow(set, syntax.EmptyEndText)))
	return id
}

func (m *machine) matches(set []uint32) bool {
	return slices.ContainsFunc(set, func(pc uint32) bool { return m.prog.Inst[pc].Op == syntax.InstMatch })
}

func (m *machine) step(state, digit int) int {
	if to := m.next[state][digit]; to >= 0 {
		return to
	}
	var out []uint32
	for _, pc := range m.sets[state] {
		switch inst := &m.prog.Inst[pc]; inst.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if inst.MatchRune('0' + rune(digit)) {
				out = append(out, inst.Out)
			}
		}
	}
	to := m.intern(m.follow(out, 0))
	m.next[state][digit] = to
	return to
}
