package backtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// world is an engine over a store, with a clock that the test turns.
type world struct {
	t      testing.TB
	ring   *hashing.Keyring
	hasher *hashing.Hasher
	dir    string // of the store; "" for memory
	store  *pebblestore.Store
	engine *engine.Engine
	at     int64
	past   int64         // how many seconds ago what is told now happened
	keep   time.Duration // idle subjects; 0 for as long as stores do by default
	ids    []engine.EventID
	said   map[engine.EventID][]string // the codes and points of each event's reasons, as they were answered
}

var begin = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).Unix()

func newWorld(t testing.TB, policy *scoring.Policy, dir string) *world {
	t.Helper()
	ring, err := hashing.NewKeyring(rand.NewChaCha8([32]byte{1}), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ring: ring, hasher: h, dir: dir, at: begin, said: map[engine.EventID][]string{}}
	w.open(policy)
	t.Cleanup(func() { w.check(w.store.Close()) })
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(policy *scoring.Policy) {
	w.t.Helper()
	var err error
	options := pebblestore.Options{Keys: w.ring.KeyChecks(), Create: true, Retention: engine.Retention{Subjects: w.keep}}
	if w.dir == "" {
		w.store, err = pebblestore.OpenMemory(options)
	} else {
		w.store, err = pebblestore.Open(w.dir, options)
	}
	w.check(err)
	w.engine, err = engine.New(w.t.Context(), engine.Config{
		Store: w.store, Domain: w.hasher.Domain(), Policy: policy, Now: func() time.Time { return time.Unix(w.at, 0) },
	})
	w.check(err)
}

// restart closes the store and opens it again.
func (w *world) restart(policy *scoring.Policy) {
	w.t.Helper()
	w.check(w.store.Close())
	w.open(policy)
}

// reopen closes the store and opens it again with the policies that are in force.
func (w *world) reopen() { w.restart(nil) }

// restore goes on with a backup of the store in its place.
func (w *world) restore() {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "backup")
	w.check(w.store.Backup(w.t.Context(), dir))
	w.live(rand.New(rand.NewPCG(9, 9)), 5) // the backup knows nothing of these
	w.check(w.store.Close())
	w.dir = dir
	w.open(nil)
}

func (w *world) log(ctx context.Context, fn func(*record.Entry) error) error {
	return w.store.Scan(ctx, w.hasher.Domain(), engine.EventID{}, fn)
}

func (w *world) source(ctx context.Context, version uint32) ([]byte, bool, error) {
	return w.store.PolicySource(ctx, w.hasher.Domain(), version)
}

func (w *world) config(p *scoring.Policy) Config {
	return Config{Log: w.log, Source: w.source, Policy: p, AsOf: w.at + 1, Examples: 5, KeepSubjects: w.keep}
}

// rotate goes on with a new key.
func (w *world) rotate(seed byte) {
	w.t.Helper()
	var err error
	w.ring, err = w.ring.Rotate(rand.NewChaCha8([32]byte{seed}), time.Unix(w.at, 0))
	w.check(err)
	w.check(w.store.Rekey(w.t.Context(), w.ring.KeyChecks()))
	w.hasher, err = w.ring.Domain(hashing.DefaultDomain)
	w.check(err)
}

// event makes an event up out of few numbers, accounts, devices and addresses.
func (w *world) event(r *rand.Rand) *engine.Event {
	kind := scoring.Event(1 + r.IntN(6))
	number, account, device, ip := hashing.Number{}, "", "", netip.Addr{}
	ev := &engine.Event{Kind: kind, Verified: r.IntN(6) == 0, Time: w.at - w.past}
	if kind == scoring.Verification || r.IntN(8) > 0 {
		ev.Number.Given = true
		if r.IntN(12) > 0 {
			var err error
			number, err = hashing.Parse(fmt.Sprintf("+1202555010%d", r.IntN(7)), "")
			w.check(err)
			ev.Number = engine.Number{Given: true, Valid: true, Region: "US", Type: []string{"mobile", "voip"}[r.IntN(2)]}
		}
	}
	if r.IntN(5) > 0 {
		account = fmt.Sprint("a", r.IntN(9))
	}
	if r.IntN(3) > 0 {
		device = fmt.Sprint("d", r.IntN(4))
	}
	if r.IntN(3) > 0 {
		ip = netip.AddrFrom4([4]byte{203, 0, byte(r.IntN(3)), byte(r.IntN(3))})
		ev.Country = []string{"", "US", "DE"}[r.IntN(3)]
	}
	ev.Subjects, ev.Link = w.hasher.Subjects(number, account, device, ip)
	ev.Older = w.hasher.Older(number, account, device, ip)
	return ev
}

func (w *world) assess(ev *engine.Event) {
	w.t.Helper()
	var a engine.Assessment
	w.check(w.engine.Assess(w.t.Context(), ev, &a))
	w.ids = append(w.ids, a.ID)
	for _, reason := range a.Reasons {
		w.said[a.ID] = append(w.said[a.ID], fmt.Sprintf("%s %d", reason.Code, reason.Points))
	}
}

// live makes up n events and a few more; outcomes that replace one another, some of them told late, accounts that are unlinked, and
// releases among them, often in the same second.
func (w *world) live(r *rand.Rand, n int) {
	w.t.Helper()
	for range n {
		if r.IntN(3) > 0 {
			w.at += int64(r.IntN(900))
		}
		w.assess(w.event(r))
		for range r.IntN(3) {
			id := w.ids[max(0, len(w.ids)-1-r.IntN(12))]
			if r.IntN(4) == 0 {
				id = w.ids[r.IntN(len(w.ids))]
			}
			if r.IntN(6) == 0 {
				w.unlink(id)
				continue
			}
			o := &engine.Outcome{Event: id, Kind: []scoring.Event{scoring.Verified, scoring.Verified, scoring.Unverified, scoring.Abuse, scoring.Legitimate}[r.IntN(5)]}
			if o.Time = w.at - w.past; r.IntN(3) == 0 {
				o.Time -= int64(r.IntN(100_000))
			}
			if err := w.engine.RecordOutcome(w.t.Context(), o); !errors.Is(err, engine.ErrUnknownEvent) {
				w.check(err)
			}
		}
		if r.IntN(60) == 0 {
			n, err := hashing.Parse(fmt.Sprintf("+1202555010%d", r.IntN(7)), "")
			w.check(err)
			subjects, _ := w.hasher.Subjects(n, "", "", netip.Addr{})
			w.check(w.engine.Migrate(w.t.Context(), hashing.Version{Subjects: subjects}, w.hasher.Older(n, "", "", netip.Addr{})))
			w.check(w.engine.Release(w.t.Context(), &engine.Release{Phone: w.hasher.Phone(n)}))
			ev := w.event(r) // the log shows a release with the next event of the phone
			ev.Number = engine.Number{Given: true, Valid: true, Region: "US", Type: "mobile"}
			ev.Subjects[hashing.Phone], ev.Subjects[hashing.Range] = w.hasher.Phone(n), w.hasher.Range(n)
			for i, older := range w.hasher.Before() {
				ev.Older[i].Subjects[hashing.Phone], ev.Older[i].Subjects[hashing.Range] = older.Phone(n), older.Range(n)
			}
			w.assess(ev)
		}
	}
}

// unlink takes the account of an event off its phone, where it had both and is still in the log.
func (w *world) unlink(id engine.EventID) {
	w.t.Helper()
	e, err := w.store.Entry(w.t.Context(), w.hasher.Domain(), id)
	if err == nil && e.Subjects[hashing.Phone].Given() && e.Subjects[hashing.Account].Given() {
		w.check(w.engine.Unlink(w.t.Context(), &engine.Unlink{Phone: e.Subjects[hashing.Phone], Link: e.Link}))
	}
}

// list puts a number on a list.
func (w *world) list(name string, last int) {
	w.t.Helper()
	n, err := hashing.Parse(fmt.Sprintf("+1202555010%d", last), "")
	w.check(err)
	w.check(w.engine.PutEntries(w.t.Context(), []engine.ListEntry{{List: name, Subject: w.hasher.Phone(n)}}, nil))
}

// listSome puts one number each on lists that the policies ask about.
func (w *world) listSome() {
	w.t.Helper()
	for i, name := range []string{"bad", "deny", "allow", "other"} {
		w.list(name, i)
	}
}

// parts are what random policies are made of.
var (
	someSignals = []string{
		"n1: {subject: phone, count: signup, window: 1h}", "n2: {subject: phone, count: verification, window: 90m}",
		"n3: {subject: phone, count: verified, window: 30d}", "d1: {subject: phone, distinct: account, window: 7d}",
		"d2: {subject: phone, distinct: country, window: 24h}", "d3: {subject: ip, distinct: phone, window: 6h}",
		"d4: {subject: device, distinct: account, window: 24h}", "d5: {subject: range, distinct: phone, window: 1h}",
		"l1: {subject: phone, links: verified}", "l2: {subject: phone, labels: abuse}", "l3: {subject: account, labels: legitimate}",
		"n4: {subject: network, count: signup, window: 24h}", "n5: {subject: account, count: number_change, window: 30d}",
	}
	someConditions = []string{
		"!number.valid", `number.type == "voip"`, "phone_verified", "account_linked", "list.bad", `event == "signup" && verified`,
		`ip_country != number.region`, "phone_age_days > 0.5", "accounts_linked > 1", "list.other || list.bad",
	}
)

// randomPolicy makes up a policy with some of all there is.
func randomPolicy(t testing.TB, r *rand.Rand) *scoring.Policy {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: random\nsignals:\n")
	var rules []string
	points := func() int { return 1 + r.IntN(60) - 30*r.IntN(2)*r.IntN(2) | 1 }
	for _, i := range r.Perm(len(someSignals))[:3+r.IntN(8)] {
		fmt.Fprintf(&b, "  %s\n", someSignals[i])
		name, _, _ := strings.Cut(someSignals[i], ":")
		rules = append(rules, fmt.Sprintf("{code: %s, signal: %s, points: {1: %d, 3: %d, 5: %d}}", strings.ToUpper(name), name, points(), points(), points()))
	}
	for _, i := range r.Perm(len(someConditions))[:r.IntN(6)] {
		rules = append(rules, fmt.Sprintf("{code: C%d, when: '%s', points: %d}", i, someConditions[i], points()))
	}
	r.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	fmt.Fprintf(&b, "score:\n  - %s\n", strings.Join(rules, "\n  - "))
	if r.IntN(2) > 0 {
		fmt.Fprintf(&b, "limits: {accounts_per_phone: %d}\n", 1+r.IntN(3))
	}
	low := 5 + r.IntN(30)
	fmt.Fprintf(&b, "decisions: {challenge: %d, review: %d, block: %d}\nholdout: %v\n", low, low+r.IntN(20), low+20+r.IntN(20), float64(r.IntN(3))*0.2)
	return compiled(t, b.String())
}

func compiled(t testing.TB, doc string) *scoring.Policy {
	t.Helper()
	p, err := scoring.Compile([]byte(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return p
}
