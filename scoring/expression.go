package scoring

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v3"
)

// closure computes part of an expression from the slots. A boolean is 0, 1, or
// NaN for unknown.
type closure func(values []float64) float64

// class is what a closure's value means.
type class uint8

const (
	isNumber class = iota
	isBool
	isEvent
	isRegion
	isType
	isText // a literal whose meaning the other side of a comparison gives
)

// slotClasses are the shared slots that are not numbers.
var slotClasses = map[int]class{
	SlotEvent: isEvent, SlotVerified: isBool, SlotPhoneVerified: isBool, SlotNumberValid: isBool,
	SlotNumberRegion: isRegion, SlotNumberType: isType, SlotIPCountry: isRegion, SlotLinked: isBool,
	SlotListDeny: isBool, SlotListAllow: isBool,
}

// expressions compiles the conditions of one policy. CEL parses and checks
// them; what runs is closures of our own, which neither allocate nor box.
type expressions struct {
	p *Policy
}

func newExpressions(p *Policy) *expressions { return &expressions{p} }

var listMention = regexp.MustCompile(`\blist\.([a-z][a-z0-9_]{0,31})\b`)

// environment declares every variable an expression may name: the slots, and
// the lists that it mentions.
func (x *expressions) environment(text string) (*cel.Env, error) {
	opts := []cel.EnvOption{cel.ClearMacros()}
	for i, name := range x.p.slots {
		opts = append(opts, cel.Variable(name, celType(slotClasses[i])))
	}
	for _, m := range listMention.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if name == "deny" || name == "allow" || slices.Contains(x.p.lists, name) {
			continue
		}
		x.p.lists = append(x.p.lists, name)
	}
	for _, name := range x.p.lists {
		opts = append(opts, cel.Variable("list."+name, cel.BoolType))
	}
	return cel.NewEnv(opts...)
}

func celType(s class) *cel.Type {
	switch s {
	case isNumber:
		return cel.DoubleType
	case isBool:
		return cel.BoolType
	default:
		return cel.StringType
	}
}

// condition is what a rule asks for.
type condition struct {
	run   closure
	needs []int // the slots that it reads
	gate  gate
}

// compile reads the condition of a rule.
func (x *expressions) compile(r *reporter, n *yaml.Node) condition {
	never := condition{run: constant(0), gate: ajar}
	if n.Kind != yaml.ScalarNode || len(n.Value) > maxExpression {
		r.at(n, "", "a condition is one expression of at most %d bytes", maxExpression)
		return never
	}
	checked := x.check(r, n)
	if checked == nil {
		return never
	}
	b := &builder{x: x, r: r, n: n, info: checked.SourceInfo()}
	t := b.build(checked.Expr())
	if t.class != isBool {
		if !b.failed {
			r.at(n, "compare it with something", "a condition has to be true or false")
		}
		return never
	}
	return condition{t.run, b.needs, b.gate(checked.Expr())}
}

// check lets CEL parse and type-check a condition, with every whole number
// made a double.
func (x *expressions) check(r *reporter, n *yaml.Node) *ast.AST {
	env, err := x.environment(n.Value)
	if err != nil {
		r.at(n, "", "the variables cannot be declared: %v", err)
		return nil
	}
	parsed, issues := env.Parse(n.Value)
	if issues.Err() == nil {
		factory := ast.NewExprFactory()
		ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.Kind() == ast.LiteralKind {
				if i, ok := e.AsLiteral().(types.Int); ok {
					e.SetKindCase(factory.NewLiteral(e.ID(), types.Double(i)))
				}
			}
		}))
		var checked *cel.Ast
		if checked, issues = env.Check(parsed); issues.Err() == nil {
			return checked.NativeRep()
		}
	}
	for _, e := range issues.Errors() {
		at := *n
		place(&at, e.Location.Line(), e.Location.Column())
		cause, _, _ := strings.Cut(e.Message, " (did you mean") // suggest says it of all that is known here
		r.at(&at, x.suggest(e.Message), "%s", cause)
	}
	return nil
}

// place moves a node to a line and column of its text, where that is written
// plainly on one line.
func place(n *yaml.Node, line, column int) {
	switch n.Style {
	case 0:
		n.Column += column
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		n.Column += column + 1
	case yaml.LiteralStyle:
		n.Line, n.Column = n.Line+line, column+1
	}
}

var undeclared = regexp.MustCompile(`undeclared reference to '([^']*)'`)

func (x *expressions) suggest(message string) string {
	if m := undeclared.FindStringSubmatch(message); m != nil {
		return didYouMean(m[1], x.p.slots)
	}
	return "a condition is CEL, such as: signups_1h > 3 && number.type == \"voip\""
}

// builder makes closures of one checked expression.
type builder struct {
	x      *expressions
	r      *reporter
	n      *yaml.Node
	info   *ast.SourceInfo
	needs  []int
	failed bool
}

// term is a built part: a closure, or a text that waits for its meaning.
type term struct {
	class class
	run   closure
	text  string
}

// refuse reports a part that conditions do not know.
func (b *builder) refuse(e ast.Expr, hint, cause string) term {
	at := *b.n
	loc := b.info.GetStartLocation(e.ID())
	place(&at, loc.Line(), loc.Column())
	b.r.at(&at, hint, "%s", cause)
	b.failed = true
	return term{run: func([]float64) float64 { return 0 }}
}

func (b *builder) build(e ast.Expr) term {
	switch e.Kind() {
	case ast.LiteralKind:
		return b.literal(e)
	case ast.IdentKind:
		return b.variable(e)
	case ast.CallKind:
		return b.call(e)
	}
	return b.refuse(e, "use comparisons, arithmetic, &&, ||, !, and in with a list of literals", "this part of CEL is not used in policies")
}

func (b *builder) literal(e ast.Expr) term {
	switch v := e.AsLiteral().(type) {
	case types.Double:
		return term{class: isNumber, run: constant(float64(v))}
	case types.Bool:
		return term{class: isBool, run: constant(oneIf(bool(v)))}
	case types.String:
		return term{class: isText, text: string(v)}
	}
	return b.refuse(e, "use numbers, texts, true and false", "a literal of a type that policies do not use")
}

func constant(v float64) closure { return func([]float64) float64 { return v } }

func (b *builder) variable(e ast.Expr) term {
	slot, s := b.slot(e)
	if slot < 0 {
		return b.refuse(e, didYouMean(e.AsIdent(), b.x.p.slots), "an unknown variable")
	}
	if !slices.Contains(b.needs, slot) {
		b.needs = append(b.needs, slot)
	}
	return term{class: s, run: func(values []float64) float64 { return values[slot] }}
}

func (b *builder) call(e ast.Expr) term {
	c := e.AsCall()
	args := c.Args()
	if c.FunctionName() == operators.In {
		return b.in(e, args[0], args[1])
	}
	terms := make([]term, len(args))
	for i, a := range args {
		terms[i] = b.build(a)
	}
	if b.failed {
		return term{class: isBool, run: constant(0)}
	}
	switch c.FunctionName() {
	case operators.Equals:
		return b.equals(e, terms[0], terms[1], false)
	case operators.NotEquals:
		return b.equals(e, terms[0], terms[1], true)
	}
	if op, ok := arithmetic[c.FunctionName()]; ok && allAre(isNumber, terms) {
		return term{class: isNumber, run: op(terms)}
	}
	if op, ok := comparison[c.FunctionName()]; ok && allAre(isNumber, terms) {
		return term{class: isBool, run: op(terms)}
	}
	if op, ok := logic[c.FunctionName()]; ok && allAre(isBool, terms) {
		return term{class: isBool, run: op(terms)}
	}
	return b.refuse(e, "use comparisons, arithmetic, &&, ||, !, and in with a list of literals", "this operation is not used in policies")
}

func allAre(s class, terms []term) bool {
	return !slices.ContainsFunc(terms, func(t term) bool { return t.class != s })
}

type operation func(t []term) closure

var arithmetic = map[string]operation{
	operators.Add: func(t []term) closure {
		x, y := t[0].run, t[1].run
		return func(v []float64) float64 { return x(v) + y(v) }
	},
	operators.Subtract: func(t []term) closure {
		x, y := t[0].run, t[1].run
		return func(v []float64) float64 { return x(v) - y(v) }
	},
	operators.Multiply: func(t []term) closure {
		x, y := t[0].run, t[1].run
		return func(v []float64) float64 { return x(v) * y(v) }
	},
	operators.Divide: func(t []term) closure {
		x, y := t[0].run, t[1].run
		return func(v []float64) float64 { return x(v) / y(v) }
	},
	operators.Negate: func(t []term) closure { x := t[0].run; return func(v []float64) float64 { return -x(v) } },
}

var comparison = map[string]operation{
	operators.Less:          func(t []term) closure { return compare(t, func(x, y float64) bool { return x < y }) },
	operators.LessEquals:    func(t []term) closure { return compare(t, func(x, y float64) bool { return x <= y }) },
	operators.Greater:       func(t []term) closure { return compare(t, func(x, y float64) bool { return x > y }) },
	operators.GreaterEquals: func(t []term) closure { return compare(t, func(x, y float64) bool { return x >= y }) },
}

// compare is unknown when either side is.
func compare(t []term, holds func(x, y float64) bool) closure {
	x, y := t[0].run, t[1].run
	return func(v []float64) float64 {
		a, b := x(v), y(v)
		switch {
		case a != a || b != b:
			return math.NaN()
		case holds(a, b):
			return 1
		}
		return 0
	}
}

// logic is Kleene's: what is unknown matters only where it could change the
// result. CEL treats errors the same way.
var logic = map[string]operation{
	operators.LogicalAnd: func(t []term) closure { return shortcut(t[0].run, t[1].run, 0) },
	operators.LogicalOr:  func(t []term) closure { return shortcut(t[0].run, t[1].run, 1) },
	operators.LogicalNot: func(t []term) closure { x := t[0].run; return func(v []float64) float64 { return 1 - x(v) } },
}

// shortcut is the value that decides by itself, or what both sides make of it.
func shortcut(x, y closure, decides float64) closure {
	return func(v []float64) float64 {
		a := x(v)
		if a == decides {
			return decides
		}
		b := y(v)
		if b == decides {
			return decides
		}
		return a + b - (1 - decides) // both the other value, or one unknown
	}
}

// equals compares numbers, booleans, or codes of texts.
func (b *builder) equals(e ast.Expr, x, y term, not bool) term {
	if x.class == isText {
		x, y = y, x
	}
	if y.class == isText {
		code, hint := encode(x.class, y.text)
		if math.IsNaN(code) {
			return b.refuse(e, hint, "a text that this can never be")
		}
		y = term{class: x.class, run: constant(code)}
	}
	if x.class != y.class {
		return b.refuse(e, "", "these two can never be equal")
	}
	return term{class: isBool, run: compare([]term{x, y}, func(p, q float64) bool { return (p == q) != not })}
}

// encode returns the slot value of a literal, NaN with a hint for one that the
// slot never has.
func encode(s class, text string) (code float64, hint string) {
	switch s {
	case isEvent:
		return eventCode(text), didYouMean(text, eventNames[1:Verified])
	case isType:
		return TypeCode(text), didYouMean(text, typeNames)
	case isRegion:
		return RegionCode(text), "two upper-case letters, such as GB"
	}
	return math.NaN(), "compare texts with event, number.type, number.region or ip_country"
}

// in is a comparison with each literal of a list.
func (b *builder) in(e, item, list ast.Expr) term {
	if list.Kind() != ast.ListKind {
		return b.refuse(e, "write the list out: in [\"GB\", \"IE\"]", "this is no list of literals")
	}
	x := b.build(item)
	anyOf := constant(0)
	for _, element := range list.AsList().Elements() {
		if element.Kind() != ast.LiteralKind {
			return b.refuse(element, "", "a list has literals only")
		}
		anyOf = shortcut(anyOf, b.equals(e, x, b.build(element), false).run, 1)
	}
	return term{class: isBool, run: anyOf}
}
