package traffic

import (
	"fmt"
	"slices"
	"time"
)

// person is somebody ordinary.
type person struct {
	number, account, device, ip, country string
	joins                                time.Time
	traits                               []string
}

// people has everybody sign up, verify and come back.
func (w *maker) people() {
	w.places()
	for left := w.cfg.People; left > 0; {
		if w.chance(0.04) {
			left -= w.family(min(left, w.familySize()))
			continue
		}
		w.live(w.single())
		left--
	}
}

// places makes addresses that many share.
func (w *maker) places() {
	for range 1 + w.cfg.People/150 {
		w.offices = append(w.offices, fmt.Sprintf("172.16.%d.%d", w.random.IntN(256), w.random.IntN(256)))
	}
	for i := range 3 {
		w.carriers = append(w.carriers, fmt.Sprintf("100.64.%d", 10*i+w.random.IntN(10)))
	}
}

// behind draws where somebody comes from.
func (w *maker) behind() (ip string, traits []string) {
	switch roll := w.random.Float64(); {
	case roll < 0.12:
		return w.offices[w.random.IntN(len(w.offices))], []string{Office}
	case roll < 0.42:
		return fmt.Sprintf("%s.%d", w.carriers[w.random.IntN(len(w.carriers))], 1+w.random.IntN(8)), []string{CarrierNAT}
	}
	return w.home(), nil
}

func (w *maker) single() person {
	p := person{account: w.account(), device: w.device(), country: "US"}
	p.ip, p.traits = w.behind()
	w.arrive(&p)
	roll := w.random.Float64()
	if roll < 0.05 {
		p.traits = append(p.traits, NoNumber)
		return p
	}
	abroad := roll < 0.11
	p.number, p.country = w.number(abroad)
	if abroad {
		p.traits = append(p.traits, Abroad)
	}
	if w.chance(0.03) { // travels
		p.country = "DE"
	}
	return p
}

// arrive draws when somebody signs up.
func (w *maker) arrive(p *person) {
	if w.chance(w.share) {
		p.joins = w.after(w.launch, 0, w.launchIs)
		p.traits = append(p.traits, Launch)
		return
	}
	p.joins = w.moment()
}

func (w *maker) familySize() int {
	switch roll := w.random.Float64(); {
	case roll < 0.6:
		return 2
	case roll < 0.97:
		return 3
	}
	return 4 // one more than the default policy lets on one number
}

// family signs up its members on one number and address, within an evening or
// within days.
func (w *maker) family(members int) int {
	number, country := w.number(false)
	ip, joins := w.home(), w.moment()
	spread := []time.Duration{time.Hour, 72 * time.Hour}[w.random.IntN(2)]
	for range members {
		w.live(person{
			number: number, account: w.account(), device: w.device(), ip: ip, country: country,
			joins: w.after(joins, 0, spread), traits: []string{Family},
		})
	}
	return members
}

func (p *person) has(trait string) bool { return slices.Contains(p.traits, trait) }

// event is by a person.
func (p *person) event(kind string, at time.Time) Event {
	return Event{At: at, Kind: kind, Number: p.number, Account: p.account, Device: p.device, IP: p.ip, Country: p.country, Traits: p.traits}
}

// live is what somebody does.
func (w *maker) live(p person) {
	switch {
	case p.number == "":
		w.add(p.event("signup", p.joins))
	case w.chance(0.002) && !p.has(Abroad):
		w.mistype(p)
	default:
		w.add(p.event("signup", p.joins))
	}
	verified := w.verify(&p, "verification", p.joins)
	if !verified.IsZero() && w.chance(0.1) && len(p.traits) == 0 {
		w.victims = append(w.victims, victim{p.number, verified})
	}
	w.comeBack(&p)
	if !verified.IsZero() && w.chance(0.02) {
		w.changeNumber(p)
	}
}

// mistype signs up with a digit too few first.
func (w *maker) mistype(p person) {
	wrong := p
	wrong.number = p.number[:len(p.number)-1]
	wrong.traits = append(append([]string(nil), p.traits...), Typo)
	w.add(wrong.event("signup", p.joins))
	w.add(p.event("signup", w.after(p.joins, 20*time.Second, time.Minute)))
}

// verify sends texts until one is answered, and returns when that was.
func (w *maker) verify(p *person, kind string, at time.Time) time.Time {
	if p.number == "" {
		return time.Time{}
	}
	texts := 1
	for texts < 4 && w.chance(0.12) {
		texts++
	}
	for i := range texts {
		at = w.after(at, 10*time.Second, 90*time.Second)
		e := p.event(kind, at)
		if i == texts-1 && w.chance(0.875) {
			e.Verified = w.after(at, 10*time.Second, 2*time.Minute)
			at = e.Verified
			w.add(e)
			return at
		}
		w.add(e)
	}
	return time.Time{}
}

// comeBack signs in, and buys something now and then.
func (w *maker) comeBack(p *person) {
	for at := p.joins; w.chance(0.5); {
		at = w.after(at, 4*time.Hour, 72*time.Hour)
		if at.After(Start.Add(length)) {
			return
		}
		kind := "sign_in"
		if w.chance(0.25) {
			kind = "checkout"
		}
		w.add(p.event(kind, at))
	}
}

// changeNumber moves an account to another number.
func (w *maker) changeNumber(p person) {
	at := w.after(p.joins, 24*time.Hour, 10*24*time.Hour)
	p.number, _ = w.number(false)
	p.traits = append(append([]string(nil), p.traits...), NumberChange)
	e := p.event("number_change", at)
	e.Verified = w.after(at, 10*time.Second, 2*time.Minute)
	w.add(e)
}
