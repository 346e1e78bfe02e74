package load

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Population says how many there are of something, and how often each takes part.
type Population struct {
	N    uint64  // 1 or more
	Skew float64 // exponent of a Zipf distribution, more than 1; 0: all as often as each other
}

// Mix says who takes part in events. Besides a phone, an account and an address, an event has the block of
// numbers of the phone and the network of the address: five subjects.
type Mix struct{ Phones, Accounts, Addresses Population }

// skew is that of everything that is not uniform. Of 1 M, the first takes part in one event out of eight,
// and the first thousand in two out of three.
const skew = 1.1

// Hot is a mix in which few take part in most events.
func Hot(phones uint64) Mix {
	return Mix{Phones: Population{phones, skew}, Accounts: Population{phones, skew}, Addresses: Population{max(phones/4, 1), skew}}
}

// Uniform is a mix in which every phone, and every account, takes part as often as any other. Addresses are
// as in Hot.
func Uniform(phones uint64) Mix {
	m := Hot(phones)
	m.Phones.Skew, m.Accounts.Skew = 0, 0
	return m
}

// How many phones share a block of numbers, and addresses a network. A platform sees a few hundred of the
// 10,000 numbers of a block.
const (
	phonesPerRange      = 256
	addressesPerNetwork = 16
)

// Source draws events from a mix. It is not safe for concurrent use.
type Source struct {
	phone, account, address func() uint64
	text                    []byte
}

// Source returns a source that draws the same events for the same seed.
func (m Mix) Source(seed uint64) *Source {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // made-up traffic has to be the same each time
	draw := func(p Population) func() uint64 {
		if p.Skew == 0 {
			return func() uint64 { return random.Uint64N(p.N) }
		}
		return rand.NewZipf(random, p.Skew, 1, p.N-1).Uint64
	}
	return &Source{phone: draw(m.Phones), account: draw(m.Accounts), address: draw(m.Addresses)}
}

// Party is who takes part in one event, by number.
type Party struct{ Phone, Account, Address uint64 }

// Range returns the block of numbers of the phone.
func (p Party) Range() uint64 { return p.Phone / phonesPerRange }

// Network returns the network of the address.
func (p Party) Network() uint64 { return p.Address / addressesPerNetwork }

// Next draws who takes part in the next event.
func (s *Source) Next() Party { return Party{s.phone(), s.account(), s.address()} }

// Signup makes ev a signup of the next party, hashed. What it takes is what hashing real
// subjects takes, but a phone is the digest of a serial number: there are not as many numbers that
// nobody has.
func (s *Source) Signup(h *hashing.Hasher, ev *engine.Event) { s.SignupOf(h, s.Next(), ev) }

// SignupOf makes ev a signup of a party.
func (s *Source) SignupOf(h *hashing.Hasher, p Party, ev *engine.Event) {
	*ev = engine.Event{Kind: scoring.Signup, Number: engine.Number{Given: true, Valid: true, Region: "US", Type: "mobile"}}
	for _, who := range []struct {
		kind   hashing.Kind
		letter byte
		n      uint64
	}{
		{hashing.Phone, 'p', p.Phone}, {hashing.Range, 'r', p.Range()}, {hashing.Account, 'a', p.Account},
		{hashing.IP, 'i', p.Address}, {hashing.Network, 'n', p.Network()},
	} {
		s.text = strconv.AppendUint(append(s.text[:0], who.letter), who.n, 10)
		ev.Subjects[who.kind] = h.Account(string(s.text))
		ev.Subjects[who.kind].Kind = who.kind
	}
	ev.Link = h.LinkTag(ev.Subjects[hashing.Account])
}

// Body appends the request of a signup of the next party, for HTTP. Of phones there are as many as
// numbers kept for fiction: it takes the phone modulo that.
func (s *Source) Body(dst []byte) []byte {
	p := s.Next()
	numbers := Numbers()
	a := p.Address
	return fmt.Appendf(dst, `{"phone_number":%q,"event":"signup","account_id":"a%d","ip":%q}`,
		numbers[p.Phone%uint64(len(numbers))], p.Account, netip.AddrFrom4([4]byte{10, byte(a >> 16), byte(a >> 8), byte(a)})) //nolint:gosec // some byte
}
