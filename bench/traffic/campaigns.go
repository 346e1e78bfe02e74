package traffic

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Campaigns. The unit of the intensity, and its bounds, are behind each.
const (
	// AccountFarm signs up many accounts on one to four numbers within a day or
	// two, from a few devices. Accounts on each number, 30 to 200.
	AccountFarm = "account_farm"

	// DistributedFarm does the same with a device and an address of its own for
	// every account. Accounts on each number, 4 to 60.
	DistributedFarm = "distributed_farm"

	// SIMFarm signs up an account or two on every number of two or three blocks, from emulated
	// devices. Numbers of a block in an hour, 5 to 200.
	SIMFarm = "sim_farm"

	// SMSPumping has texts sent to one number of a block after the other, again and
	// again. Texts to a block in an hour, 40 to 2,000.
	SMSPumping = "sms_pumping"

	// Disposable signs up accounts on numbers of public inboxes, each with a device and an
	// address of its own. Accounts on each number, 3 to 12; 90 to 99 % of the numbers are on the bought list,
	// unless Config.Listed says otherwise.
	Disposable = "disposable"

	// SlowAndLow is patient: at most three accounts on a number. Accounts in a day, 0.5 to 6.
	SlowAndLow = "slow_and_low"

	// Stranger types somebody else's number over and over. Attempts on a number, 2
	// to 30, within half an hour.
	Stranger = "stranger"
)

// CampaignNames are all campaigns, in the order in which they are made up.
func CampaignNames() []string {
	return []string{AccountFarm, DistributedFarm, SIMFarm, SMSPumping, Disposable, SlowAndLow, Stranger}
}

// reported is the share of abuse that somebody reports in the end.
const reported = 0.25

func (w *maker) campaigns() error {
	run := map[string]func(*attack){
		AccountFarm: w.accountFarm, DistributedFarm: w.distributedFarm, SIMFarm: w.simFarm, SMSPumping: w.smsPumping,
		Disposable: w.disposable, SlowAndLow: w.slowAndLow, Stranger: w.stranger,
	}
	names := w.cfg.Campaigns
	if names == nil {
		names = CampaignNames()
	}
	runs := w.cfg.Runs
	if runs == 0 {
		runs = (w.cfg.People + 1999) / 2000
	}
	for _, name := range CampaignNames() {
		for range runs {
			if slices.Contains(names, name) {
				run[name](&attack{w: w, name: name})
			}
		}
	}
	for _, name := range names {
		if run[name] == nil {
			return errors.New("traffic: there is no such campaign; see CampaignNames")
		}
	}
	return nil
}

// attack is one run of a campaign.
type attack struct {
	w    *maker
	name string
}

// begins draws the intensity, and a time to start that leaves room for most of it.
func (a *attack) begins(low, high float64) (intensity float64, start time.Time) {
	intensity = a.w.intensity(a.name, low, high)
	a.w.world.Runs = append(a.w.world.Runs, Run{Campaign: a.name, Intensity: intensity})
	return intensity, a.w.after(Start, 36*time.Hour, 11*24*time.Hour)
}

// event adds one, reported days later or never.
func (a *attack) event(e Event) {
	e.Campaign, e.Run, e.Country = a.name, len(a.w.world.Runs)-1, "US"
	if a.w.chance(reported) {
		e.Reported = a.w.after(e.At, 24*time.Hour, 6*24*time.Hour)
	}
	a.w.add(e)
}

// signup signs up an account, and verifies it more often than not.
func (a *attack) signup(at time.Time, number, device, ip string, proven float64) {
	e := Event{At: at, Kind: "signup", Number: number, Account: a.w.account(), Device: device, IP: ip}
	if a.w.chance(proven) {
		e.Verified = a.w.after(at, 20*time.Second, 3*time.Minute)
	}
	a.event(e)
}

// rack is a number of devices or addresses that a campaign shares.
func (w *maker) rack(n int, one func() string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = one()
	}
	return all
}

// hosted is an address in a data centre.
func (w *maker) hosted() string { return fmt.Sprintf("203.0.113.%d", w.random.IntN(256)) }

func (w *maker) accountFarm(a *attack) {
	accounts, start := a.begins(30, 200)
	devices, ips := w.rack(w.between(1, 6), w.device), w.rack(w.between(1, 5), w.hosted)
	for range w.between(1, 4) {
		number, _ := w.number(false)
		for i := range int(accounts) {
			at := w.after(start, 0, 36*time.Hour)
			a.signup(at, number, devices[i%len(devices)], ips[i%len(ips)], 0.8)
		}
	}
}

func (w *maker) distributedFarm(a *attack) {
	accounts, start := a.begins(4, 60)
	for range w.between(3, 10) {
		number, _ := w.number(false)
		for range int(accounts) {
			a.signup(w.after(start, 0, 72*time.Hour), number, w.device(), w.home(), 0.8)
		}
	}
}

func (w *maker) simFarm(a *attack) {
	perHour, start := a.begins(5, 200)
	pause := time.Duration(3600/perHour) * time.Second
	devices, ips := w.rack(w.between(4, 20), w.device), w.rack(w.between(4, 30), w.home)
	for block := range w.between(2, 3) {
		at := start
		for i, number := range w.run(block == 0, 300) {
			for range w.between(1, 2) {
				a.signup(at, number, devices[i%len(devices)], ips[i%len(ips)], 0.9)
				at = w.after(at, pause/2, pause*3/2+time.Second)
			}
		}
	}
}

func (w *maker) smsPumping(a *attack) {
	perHour, start := a.begins(40, 2000)
	pause := time.Duration(3600/perHour*1000) * time.Millisecond
	ips := w.rack(w.between(1, 40), w.home)
	for block := range w.between(2, 6) {
		numbers, at := w.run(block == 0, 250), start
		for i := range w.between(150, 500) {
			at = at.Add(pause)
			a.event(Event{At: at.Truncate(time.Second), Kind: "verification", Number: numbers[i%len(numbers)], Account: w.account(), IP: ips[i%len(ips)]})
		}
	}
}

func (w *maker) disposable(a *attack) {
	accounts, start := a.begins(3, 12)
	known := 0.9 + 0.09*w.random.Float64() // drawn even where it is set: what follows stays as it is
	if w.cfg.Listed != nil {
		known = *w.cfg.Listed
	}
	for range w.between(20, 60) {
		number, _ := w.number(false)
		if w.chance(known) {
			w.world.Disposable = append(w.world.Disposable, number)
		}
		for range int(accounts) {
			a.signup(w.after(start, 0, 72*time.Hour), number, w.device(), w.home(), 0.9)
		}
	}
}

func (w *maker) slowAndLow(a *attack) {
	perDay, at := a.begins(0.5, 6)
	pause := time.Duration(24/perDay*3600) * time.Second
	number, used := "", 3
	for at.Before(Start.Add(length)) {
		if used == 3 {
			number, _ = w.number(false)
			used = 0
		}
		a.signup(at, number, w.device(), w.home(), 0.9)
		used++
		at = w.after(at, pause/2, pause*3/2)
	}
}

// stranger picks on people who verified their number the day before.
func (w *maker) stranger(a *attack) {
	attempts, _ := a.begins(2, 30)
	for range w.between(3, 8) {
		if len(w.victims) == 0 {
			return
		}
		i := w.random.IntN(len(w.victims))
		v := w.victims[i]
		w.victims = slices.Delete(w.victims, i, i+1)
		start := w.after(v.since, 24*time.Hour, 48*time.Hour)
		device, ip := w.device(), w.home()
		for range int(attempts) {
			a.event(Event{At: w.after(start, 0, 30*time.Minute), Kind: "verification", Number: v.number, Account: w.account(), Device: device, IP: ip})
		}
		w.suffer(v.number, start)
	}
}

// suffer has the owner of a number sign in and buy while a stranger is at it.
func (w *maker) suffer(number string, start time.Time) {
	for i := range w.world.Events {
		e := w.world.Events[i]
		if e.Number != number || e.Kind != "signup" || e.Abuse() {
			continue
		}
		e.Traits = append(append([]string(nil), e.Traits...), Victim)
		e.Kind, e.At = "sign_in", w.after(start, 10*time.Minute, 40*time.Minute)
		w.add(e)
		e.Kind, e.At = "checkout", w.after(e.At, time.Minute, 20*time.Minute)
		w.add(e)
		return
	}
}
