package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/hashing"
)

// Demo writes made-up events with outcomes and labels, in the order of their
// times: ordinary people, families that share a number, an account farm on few numbers,
// and somebody who has texts sent to a block of numbers. All numbers are from the
// ranges 555-0100 to 555-0199 that the North American plan keeps for fiction.
// The same seed and number of events give the same bytes.
//
// It is there to see a policy work. It says nothing about real traffic: what
// it shows of precision and recall was made up with it.
func Demo(w io.Writer, seed uint64, events int) error {
	d := &demo{random: rand.New(rand.NewPCG(seed, 0)), out: json.NewEncoder(w), at: demoStart} //nolint:gosec // made-up events
	d.out.SetEscapeHTML(false)
	for d.events < events && d.err == nil {
		switch roll := d.random.IntN(1000); {
		case roll < 10:
			d.farm(min(8, events-d.events))
		case roll < 13:
			d.pump(min(40, events-d.events))
		case roll < 60:
			d.family(min(3, events-d.events))
		default:
			d.person()
		}
	}
	return d.err
}

var demoStart = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

type demo struct {
	random *rand.Rand
	out    *json.Encoder
	at     time.Time
	events int
	err    error
}

func (d *demo) print(r row) {
	if d.err == nil {
		d.err = d.out.Encode(r)
	}
}

// event prints an event some seconds after the one before, and returns its id.
func (d *demo) event(pause int, kind, number, account, device, ip string) string {
	d.at = d.at.Add(time.Duration(1+d.random.IntN(pause)) * time.Second)
	d.events++
	id := fmt.Sprintf("e%d", d.events)
	d.print(row{ID: id, OccurredAt: d.at.Format(time.RFC3339), AssessmentRequest: api.AssessmentRequest{
		Event: kind, PhoneNumber: number, AccountID: account, DeviceID: device, IP: ip,
	}})
	return id
}

func (d *demo) outcome(kind, id string) {
	d.print(row{OccurredAt: d.at.Format(time.RFC3339), Outcome: kind, For: id})
}

// label tells the truth of an event, for nine in ten of them.
func (d *demo) label(kind, id string) {
	if d.random.IntN(10) > 0 {
		d.print(row{Label: kind, For: id})
	}
}

// block draws the first of a hundred numbers kept for fiction: 555-0100 in an area
// code that is in use for ordinary lines.
func (d *demo) block() int {
	for {
		first := 1_000_555_0100 + (201+d.random.IntN(789))*1_000_0000
		if n, err := hashing.Parse(fmt.Sprint("+", first), ""); err == nil && n.Type() == "fixed_line_or_mobile" {
			return first
		}
	}
}

func (d *demo) number() string { return fmt.Sprint("+", d.block()+d.random.IntN(100)) }

// home is an address and a device of somebody's own.
func (d *demo) home() (device, ip string) {
	n := d.random.IntN(1 << 20)
	return fmt.Sprintf("d%d", n), fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)
}

func (d *demo) account() string { return fmt.Sprintf("a%d", d.events) }

// person signs up once, and completes the verification more often than not.
func (d *demo) person() {
	device, ip := d.home()
	id := d.event(120, "signup", d.number(), d.account(), device, ip)
	if d.random.IntN(10) < 8 {
		d.outcome("verified", id)
	}
	d.label("legitimate", id)
}

// family signs up members accounts on one number and address.
func (d *demo) family(members int) {
	number := d.number()
	device, ip := d.home()
	for range members {
		id := d.event(600, "signup", number, d.account(), device, ip)
		d.outcome("verified", id)
		d.label("legitimate", id)
	}
}

// farm signs up accounts on one number within minutes, from a few devices.
func (d *demo) farm(accounts int) {
	number := d.number()
	device, ip := d.home()
	for i := range accounts {
		id := d.event(60, "signup", number, d.account(), fmt.Sprint(device, "-", i%3), ip)
		if i < 3 {
			d.outcome("verified", id)
		}
		d.label("abuse", id)
	}
}

// pump has texts sent to one number of a block after the other; none is confirmed.
func (d *demo) pump(texts int) {
	first := d.block()
	_, ip := d.home()
	for i := range texts {
		id := d.event(20, "verification", fmt.Sprint("+", first+i), "", "", ip)
		d.label("abuse", id)
	}
}
