package scoring

import (
	"math"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// gate is what a rule asks for at the least: a slot that is between two bounds, both inclusive, or unknown. Where it is shut, the rule
// does not fire, whatever else it asks for, and that is told. It is in nearly all events, and a look at one slot is cheaper than the rule.
type gate struct {
	slot        int
	least, most float64
}

// ajar is never shut.
var ajar = gate{slot: SlotEvent, least: math.Inf(-1), most: math.Inf(1)}

func (g *gate) shut(values []float64) bool {
	v := values[g.slot]
	return v < g.least || v > g.most
}

// gate returns that of a condition that was built.
func (b *builder) gate(e ast.Expr) gate {
	if slot, class := b.slot(e); class == isBool {
		return gate{slot, 1, 1}
	}
	if e.Kind() != ast.CallKind {
		return ajar
	}
	name, args := e.AsCall().FunctionName(), e.AsCall().Args()
	switch name {
	case operators.LogicalAnd:
		if g := b.gate(args[0]); g != ajar {
			return g
		}
		return b.gate(args[1])
	case operators.LogicalNot:
		if slot, class := b.slot(args[0]); class == isBool {
			return gate{slot, 0, 0}
		}
		return ajar
	case operators.In:
		return b.gateOf(operators.In, args[0], args[1].AsList().Elements())
	}
	if mirrored, ok := mirrors[name]; ok {
		if _, literal := literalOf(isNumber, args[0]); literal {
			return b.gateOf(mirrored, args[1], args[:1])
		}
		return b.gateOf(name, args[0], args[1:])
	}
	return ajar
}

// mirrors are the comparisons that have bounds, by what they are with their sides changed.
var mirrors = map[string]string{
	operators.Equals: operators.Equals,
	operators.Less:   operators.Greater, operators.LessEquals: operators.GreaterEquals,
	operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
}

// gateOf returns that of a slot which is compared with literals.
func (b *builder) gateOf(name string, x ast.Expr, with []ast.Expr) gate {
	slot, class := b.slot(x)
	if slot < 0 || len(with) == 0 {
		return ajar
	}
	g := gate{slot, math.Inf(1), math.Inf(-1)}
	for _, y := range with {
		v, ok := literalOf(class, y)
		if !ok {
			return ajar
		}
		g.least, g.most = min(g.least, v), max(g.most, v)
	}
	switch name {
	case operators.Less:
		g.most = math.Nextafter(g.most, math.Inf(-1))
		fallthrough
	case operators.LessEquals:
		g.least = math.Inf(-1)
	case operators.Greater:
		g.least = math.Nextafter(g.least, math.Inf(1))
		fallthrough
	case operators.GreaterEquals:
		g.most = math.Inf(1)
	}
	return g
}

// slot returns where a variable is, and what it means; -1 for what is none.
func (b *builder) slot(e ast.Expr) (int, class) {
	if e.Kind() != ast.IdentKind {
		return -1, isText
	}
	name := e.AsIdent()
	if slot := slices.Index(b.x.p.slots, name); slot >= 0 {
		return slot, slotClasses[slot]
	}
	if i := slices.IndexFunc(b.x.p.lists, func(l string) bool { return "list."+l == name }); i >= 0 {
		return len(b.x.p.slots) + i, isBool
	}
	return -1, isText
}

// literalOf returns the value that a slot of a class has when it is what is written.
func literalOf(c class, e ast.Expr) (float64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	switch v := e.AsLiteral().(type) {
	case types.Double:
		return float64(v), c == isNumber
	case types.Bool:
		return oneIf(bool(v)), c == isBool
	case types.String:
		code, _ := encode(c, string(v))
		return code, !math.IsNaN(code)
	}
	return 0, false
}

func oneIf(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
