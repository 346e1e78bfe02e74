package scoring

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds of a policy.
const (
	maxPolicySize = 256 << 10
	maxSignals    = 128
	maxRules      = 256
	maxExpression = 1 << 10

	// MaxWindow is the longest window a signal may have: what retention keeps.
	MaxWindow = 180 * 24 * time.Hour
)

// Policy says what to measure and what to make of it. It is immutable and safe
// for concurrent use.
type Policy struct {
	name       string
	source     []byte
	signals    []Signal
	order      []int    // of signals, by name
	lists      []string // named lists that rules ask about
	listCodes  []string // the reason of each when no rule of that code fired
	slots      []string // names, by slot
	rules      []rule
	maxLinks   int // 0 is no limit
	thresholds [Block + 1]int
	holdout    float64
}

//go:embed default.yaml
var defaultSource []byte

// Default returns the policy that is in force unless another one is named.
func Default() *Policy {
	p, err := Compile(defaultSource)
	if err != nil {
		panic("scoring: the embedded policy: " + err.Error()) // held by a test
	}
	return p
}

// Name returns the policy's name.
func (p *Policy) Name() string { return p.name }

// Source returns the document that the policy was compiled from. Do not change
// it.
func (p *Policy) Source() []byte { return p.source }

// Digest returns the SHA-256 of the source.
func (p *Policy) Digest() [32]byte { return sha256.Sum256(p.source) }

// Signals returns what has to be measured. The first belongs into slot
// SlotSignals, and so on. Do not change it.
func (p *Policy) Signals() []Signal { return p.signals }

// SignalOrder returns the positions of Signals in the order of their names. Do not
// change it.
func (p *Policy) SignalOrder() []int { return p.order }

// Lists returns the named lists that rules ask about, besides deny and allow.
// Their slots, 1 for a hit and 0 for none, follow those of the signals.
func (p *Policy) Lists() []string { return p.lists }

// Slots returns how many values Evaluate takes.
func (p *Policy) Slots() int { return len(p.slots) }

// SlotName returns the name of a slot as rules know it.
func (p *Policy) SlotName(i int) string { return p.slots[i] }

// SlotsIn returns, by slot, the slot of another policy that holds the same value, -1 where none does. What a signal
// measures counts, not its name.
func (p *Policy) SlotsIn(other *Policy) []int {
	in := make([]int, p.Slots())
	for slot := range in {
		in[slot] = slot
		if slot >= SlotSignals {
			in[slot] = p.slotIn(other, slot-SlotSignals)
		}
	}
	return in
}

func (p *Policy) slotIn(other *Policy, i int) int {
	if i < len(p.signals) {
		at := slices.IndexFunc(other.signals, func(s Signal) bool {
			s.Name = p.signals[i].Name
			return s == p.signals[i]
		})
		if at < 0 {
			return -1
		}
		return SlotSignals + at
	}
	at := slices.Index(other.lists, p.lists[i-len(p.signals)])
	if at < 0 {
		return -1
	}
	return SlotSignals + len(other.signals) + at
}

// AccountsPerPhone returns the most verified accounts on one number; limited is
// false when there is no limit.
func (p *Policy) AccountsPerPhone() (most int, limited bool) { return p.maxLinks, p.maxLinks > 0 }

// Threshold returns the score from which on a decision is made, itself
// included; 0 when the policy never makes it by score.
func (p *Policy) Threshold(d Decision) int { return p.thresholds[d] }

// compiler reads one document.
type compiler struct {
	reporter
	p    *Policy
	expr *expressions
}

var (
	signalName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	reasonCode = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	reserved   = []string{"ACCOUNTS_PER_PHONE", "LIST_DENY", "LIST_ALLOW"}
)

// Compile reads a policy. A PolicyError lists everything that is wrong with it.
func Compile(doc []byte) (*Policy, error) {
	c := &compiler{p: &Policy{source: bytes.Clone(doc)}}
	root, err := c.parse(doc)
	if err != nil {
		return nil, err
	}
	f := c.fields(root, []string{"name", "decisions"}, []string{"signals", "limits", "score", "holdout"})
	if n := f["name"]; n != nil {
		if c.p.name = n.Value; !signalName.MatchString(n.Value) {
			c.at(n, "use lower-case letters, digits and underscores", "this is no name")
		}
	}
	if n := f["signals"]; n != nil {
		c.readSignals(n)
	}
	c.p.slots = slices.Clone(sharedSlots)
	for _, s := range c.p.signals {
		c.p.slots = append(c.p.slots, s.Name)
	}
	if n := f["score"]; n != nil {
		c.readRules(n)
	}
	c.readRest(f)
	if err := c.err(); err != nil {
		return nil, err
	}
	c.placeLists()
	c.p.order = byName(c.p.signals)
	return c.p, nil
}

func byName(signals []Signal) []int {
	order := make([]int, len(signals))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(signals[a].Name, signals[b].Name) })
	return order
}

// parse reads the YAML, of which it takes only one plain document.
func (c *compiler) parse(doc []byte) (*yaml.Node, error) {
	if len(doc) > maxPolicySize {
		return nil, &PolicyError{[]Problem{{Cause: "larger than 256 KiB", Hint: "is this the right file?"}}}
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	var root, more yaml.Node
	if err := d.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &PolicyError{[]Problem{{Cause: "the file is empty", Hint: "begin with: ringfence policy show"}}}
		}
		return nil, &PolicyError{[]Problem{yamlProblem(err)}}
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &PolicyError{[]Problem{{more.Line, more.Column, "more than one document in the file", "keep one"}}}
	}
	c.plain(&root)
	return root.Content[0], c.err()
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func yamlProblem(err error) Problem {
	p := Problem{Line: 1, Column: 1, Cause: strings.TrimPrefix(err.Error(), "yaml: "), Hint: "check indentation and quotes"}
	if m := yamlLine.FindStringSubmatch(p.Cause); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Cause = strings.TrimPrefix(p.Cause, m[0]+": ")
	}
	return p
}

// plain refuses what makes a file hard to read: anchors, aliases, tags.
func (c *compiler) plain(n *yaml.Node) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		c.at(n, "write it out", "anchors, aliases and tags are not used here")
		return
	}
	for _, child := range n.Content {
		c.plain(child)
	}
}

func (c *compiler) readRest(f map[string]*yaml.Node) {
	if n := f["limits"]; n != nil {
		if v := c.fields(n, []string{"accounts_per_phone"}, nil)["accounts_per_phone"]; v != nil {
			c.p.maxLinks = int(c.number(v, 1, 1000, true))
		}
	}
	if n := f["holdout"]; n != nil {
		c.p.holdout = c.number(n, 0, 1, false)
	}
	if n := f["decisions"]; n != nil {
		c.readDecisions(n)
	}
}

func (c *compiler) readDecisions(n *yaml.Node) {
	got := c.fields(n, nil, decisionNames[Challenge:])
	last := 0
	for d := Challenge; d <= Block; d++ {
		v := got[d.String()]
		if v == nil {
			continue
		}
		c.p.thresholds[d] = int(c.number(v, 1, 100, true))
		if c.p.thresholds[d] < last {
			c.at(v, "challenge <= review <= block", "a stricter decision at a lower score than a milder one")
			return // said once, wherever the others stand
		}
		last = c.p.thresholds[d]
	}
}

func (c *compiler) readSignals(n *yaml.Node) {
	c.pairs(n, func(key, value *yaml.Node) {
		if !signalName.MatchString(key.Value) || slices.Contains(sharedSlots, key.Value) {
			c.at(key, "use lower-case letters, digits and underscores, and no name that rules know already", "%q cannot name a signal", key.Value)
		}
		c.p.signals = append(c.p.signals, c.readSignal(key.Value, value))
	})
	if len(c.p.signals) > maxSignals {
		c.at(n, "", "more than %d signals", maxSignals)
	}
}

func (c *compiler) readSignal(name string, n *yaml.Node) Signal {
	s := Signal{Name: name}
	f := c.fields(n, []string{"subject"}, []string{"count", "distinct", "links", "labels", "window"})
	if v := f["subject"]; v != nil {
		s.Subject = Subject(c.word(v, subjectNames))
	}
	for a := Count; a <= Labels; a++ {
		v := f[a.String()]
		if v == nil {
			continue
		}
		if s.Aggregate != 0 {
			c.at(v, "make two signals of them", "a signal has one of count, distinct, links and labels")
			continue
		}
		s.Aggregate = a
		c.readAggregate(&s, v)
	}
	if s.Aggregate == 0 && n.Kind == yaml.MappingNode {
		c.at(n, "add count, distinct, links or labels", "nothing says what %q measures", name)
	}
	c.readWindow(&s, n, f["window"])
	return s
}

func (c *compiler) readAggregate(s *Signal, v *yaml.Node) {
	switch s.Aggregate {
	case Count:
		s.Event = Event(c.word(v, eventNames))
	case Distinct:
		s.Member = Member(c.word(v, memberNames))
		if told := Pairs(s.Subject); s.Subject != 0 && s.Member != 0 && !slices.Contains(told, s.Member) {
			var names []string
			for _, m := range told {
				names = append(names, m.String())
			}
			c.at(v, "a "+s.Subject.String()+" keeps: "+strings.Join(names, ", "), "different %ss are not kept for this subject", s.Member)
		}
	case Links:
		s.Event = Event(c.word(v, []string{"", "", "", "", "", "", "", "verified"}))
		if s.Subject != Phone {
			c.at(v, "use subject: phone", "only phones have linked accounts")
		}
	case Labels:
		s.Event = Event(c.word(v, []string{"", "", "", "", "", "", "", "", "abuse", "legitimate"}))
	}
}

// Pairs returns the members that distinct counts tell apart for a subject. No
// other pair is ever stored, so that a record stays small.
func Pairs(s Subject) []Member {
	switch s {
	case Phone:
		return []Member{Accounts, Devices, Networks, Countries}
	case Range, Account:
		return []Member{Phones}
	case IP, Network, Device:
		return []Member{Accounts, Phones}
	}
	return nil
}

func (c *compiler) readWindow(s *Signal, n, v *yaml.Node) {
	windowed := s.Aggregate == Count || s.Aggregate == Distinct
	switch {
	case windowed && v == nil:
		c.at(n, "add it, such as window: 24h", "field \"window\" is missing")
	case v != nil && !windowed && s.Aggregate != 0:
		c.at(v, "remove it", "links and labels are counted as of now")
	case v != nil:
		d, err := parseWindow(v.Value)
		if err != nil || d < time.Second || d > MaxWindow || d%time.Second != 0 {
			c.at(v, "such as 90s, 15m, 1h or 30d, up to 180d", "this is no window")
		}
		s.Window = d
	}
}

// parseWindow reads a Go duration, or a number of days such as 30d.
func parseWindow(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// placeLists gives the lists that rules ask about their slots.
func (c *compiler) placeLists() {
	for _, name := range c.p.lists {
		c.p.slots = append(c.p.slots, "list."+name)
		c.p.listCodes = append(c.p.listCodes, "LIST_"+strings.ToUpper(name))
	}
}

// Holdout returns the share of would-be blocks by score that is let through, from 0 to 1.
func (p *Policy) Holdout() float64 { return p.holdout }

// DigestOf returns the SHA-256 of a policy's source, in hex.
func DigestOf(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:])
}

// NameOf returns the name that a source gives its policy, without compiling it, "" where there is none.
func NameOf(source []byte) string {
	var head struct{ Name string }
	if yaml.Unmarshal(source, &head) != nil || !signalName.MatchString(head.Name) {
		return ""
	}
	return head.Name
}
