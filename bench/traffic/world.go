package traffic

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Config says what to make up.
type Config struct {
	Seed uint64

	// People is how many ordinary people there are, 1 to MaxPeople.
	People int

	// Campaigns are the names of those that run. Nil is all of them.
	Campaigns []string

	// Intensity sets the intensity of a campaign by its name, in place of a drawn
	// one.
	Intensity map[string]float64

	// Listed sets the share of the numbers of Disposable that are on the bought list, 0 to 1. Nil draws 90 to 99 %.
	Listed *float64

	// Runs is how often each campaign runs, each time with an intensity of its own.
	// Default: once for every 2,000 people begun.
	Runs int
}

// MaxPeople bounds a world: numbers kept for fiction are few.
const MaxPeople = 20_000

// Traits of ordinary people. One may have several.
const (
	Family       = "family"
	Office       = "office"
	CarrierNAT   = "carrier_nat"
	Launch       = "launch"
	NoNumber     = "no_number"
	NumberChange = "number_change"
	Abroad       = "abroad"
	Typo         = "typo"
	Victim       = "victim" // a stranger types their number
)

// Event is one made-up event, with the truth of it.
type Event struct {
	ID      string // "e1", "e2", ... in the order of time
	At      time.Time
	Kind    string // signup, verification, sign_in, checkout or number_change
	Number  string // E.164; "" for none
	Account string
	Device  string
	IP      string
	Country string // of the address

	// Campaign is the name of the campaign, "" for an ordinary person.
	Campaign string
	Run      int      // which run of the campaign, an index into World.Runs
	Traits   []string // of an ordinary person

	Verified time.Time // when the verification was completed; zero for never
	Reported time.Time // when the abuse was reported; zero for never
	Labelled bool      // whether the written file tells the truth of it
}

// Abuse reports whether the event is part of a campaign.
func (e *Event) Abuse() bool { return e.Campaign != "" }

// Has reports whether the event is by somebody with a trait.
func (e *Event) Has(trait string) bool { return slices.Contains(e.Traits, trait) }

// Run is one run of a campaign.
type Run struct {
	Campaign  string
	Intensity float64 // in the unit that the campaign's constant names
}

// World is made-up traffic.
type World struct {
	Events []Event
	Runs   []Run

	// Disposable are numbers that a bought list of disposable numbers would have: most of those
	// that the campaign uses, and none of anybody else's.
	Disposable []string
}

// Start is when every world begins, a Monday.
var Start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// length is how long a world lasts.
const length = 14 * 24 * time.Hour

// labelled is the share of events whose truth becomes known.
const labelled = 0.9

// maker is a world in the making.
type maker struct {
	cfg      Config
	random   *rand.Rand
	pool     *pool
	world    World
	launch   time.Time
	launchIs time.Duration
	share    float64 // of people who come in the launch
	offices  []string
	carriers []string // the first three bytes of a network
	victims  []victim
	accounts int
}

// victim is a person whose number a stranger may type.
type victim struct {
	number string
	since  time.Time
}

// New makes up a world. It holds all of it in memory, about 300 bytes an event.
func New(cfg Config) (*World, error) {
	if cfg.People < 1 || cfg.People > MaxPeople {
		return nil, errors.New("traffic: People takes 1 to 20,000")
	}
	w := &maker{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0)), pool: newPool()} //nolint:gosec // made-up events need no secret
	w.launchIs = time.Duration(60+w.random.IntN(120)) * time.Minute
	w.launch = Start.Add(time.Duration(24+w.random.IntN(10*24)) * time.Hour)
	w.share = 0.15 + 0.15*w.random.Float64()
	w.people()
	if err := w.campaigns(); err != nil {
		return nil, err
	}
	w.finish()
	return &w.world, nil
}

// finish puts events in order and names them.
func (w *maker) finish() {
	events := w.world.Events
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	for i := range events {
		events[i].ID = fmt.Sprintf("e%d", i+1)
		events[i].Labelled = w.random.Float64() < labelled
	}
	slices.Sort(w.world.Disposable)
}

func (w *maker) add(e Event) { w.world.Events = append(w.world.Events, e) }

// account names a new account.
func (w *maker) account() string {
	w.accounts++
	return fmt.Sprintf("a%d", w.accounts)
}

// device names a new device.
func (w *maker) device() string { return fmt.Sprintf("d%08x", w.random.Uint32()) }

// home is an address of somebody's own.
func (w *maker) home() string {
	n := w.random.IntN(1 << 24)
	return fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)
}

// between draws evenly.
func (w *maker) between(low, high int) int { return low + w.random.IntN(high-low+1) }

// chance is true so often.
func (w *maker) chance(share float64) bool { return w.random.Float64() < share }

// after draws a time between two spans after another one, in whole seconds.
func (w *maker) after(t time.Time, low, high time.Duration) time.Time {
	return t.Add(time.Duration(w.between(int(low/time.Second), int(high/time.Second))) * time.Second)
}

// busy is how likely people are to come at each hour of the day, in percent of the
// busiest.
var busy = [24]int{45, 38, 34, 33, 34, 38, 45, 55, 65, 75, 82, 86, 88, 88, 88, 90, 93, 96, 99, 100, 97, 88, 72, 57}

// moment draws when somebody comes: seldom at night.
func (w *maker) moment() time.Time {
	for {
		t := Start.Add(time.Duration(w.random.Int64N(int64(length/time.Second))) * time.Second)
		if w.random.IntN(100) < busy[t.Hour()] {
			return t
		}
	}
}

// intensity draws between bounds, evenly on a logarithmic scale, unless the
// configuration says.
func (w *maker) intensity(campaign string, low, high float64) float64 {
	drawn := low * math.Exp(w.random.Float64()*math.Log(high/low))
	return cmp.Or(w.cfg.Intensity[campaign], math.Round(drawn*10)/10) // rounded: the last bits differ between machines
}
