package hashing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/netip"
	"sync"

	"golang.org/x/crypto/hkdf"
)

// keySize is the length of secrets and subkeys in bytes: that of SHA-256.
const keySize = sha256.Size

// Attributes name the subkeys of a domain. They are part of what makes a
// pseudonym: they never change.
const (
	attrPhone       = "phone"
	attrRange       = "range"
	attrAccount     = "account"
	attrIP          = "ip"
	attrNetwork     = "network"
	attrDevice      = "device"
	attrLinkTag     = "link-tag"
	attrIdempotency = "idempotency"
	attrKeyCheck    = "key-check"
	attrReceipt     = "receipt"
)

// subkey derives the key of an attribute of a domain: HKDF with SHA-256 (RFC 5869), no
// salt, since the secret is uniformly random already.
func subkey(secret []byte, domain, attribute string) []byte {
	return expand(secret, nil, []byte("ringfence/v1/"+domain+"/"+attribute), keySize)
}

// expand is HKDF-SHA-256. size is at most 255 hashes.
func expand(secret, salt, info []byte, size int) []byte {
	key := make([]byte, size)
	if _, err := io.ReadFull(hkdf.New(sha256.New, secret, salt, info), key); err != nil {
		panic("hashing: size of a derived key") // a constant of ours is wrong
	}
	return key
}

// mac is HMAC-SHA-256 (RFC 2104) under one key, safe for concurrent use. The
// keyed states are kept and reset, which saves two of four compressions and
// all allocations.
type mac struct {
	pool sync.Pool // of *macState
}

type macState struct {
	hash hash.Hash
	in   [MaxNumberSize]byte // short input that must not escape to the heap
	sum  [sha256.Size]byte
}

func newMAC(key []byte) *mac {
	m := new(mac)
	m.pool.New = func() any { return &macState{hash: hmac.New(sha256.New, key)} }
	return m
}

// digest returns the first 16 bytes of the code of a text behind a prefix of at most
// MaxNumberSize bytes.
func (m *mac) digest(prefix []byte, text string) (d [IDSize]byte) {
	st := m.pool.Get().(*macState) //nolint:forcetypeassert // the pool holds nothing else
	st.hash.Reset()
	st.hash.Write(st.in[:copy(st.in[:], prefix)])
	for len(text) > 0 {
		n := copy(st.in[:], text)
		st.hash.Write(st.in[:n])
		text = text[n:]
	}
	copy(d[:], st.hash.Sum(st.sum[:0]))
	clear(st.in[:])
	m.pool.Put(st)
	return d
}

// Hasher makes the subjects of one domain. It is safe for concurrent use. The
// methods that make subjects, tags and digests of keys do not allocate. It shows nothing of itself when formatted,
// logged or encoded.
type Hasher struct{ p *hidden[hasher] }

type hasher struct {
	domain DomainID
	key    KeyID

	phone, rng, account, ip, network, device, link, once, receipt *mac

	older []*Hasher // of readable keys, the newest first
}

func newHasher(domain DomainID, name string, key KeyID, secret []byte) *Hasher {
	under := func(attribute string) *mac { return newMAC(subkey(secret, name, attribute)) }
	return &Hasher{hide(hasher{
		domain: domain, key: key,
		phone: under(attrPhone), rng: under(attrRange), account: under(attrAccount),
		ip: under(attrIP), network: under(attrNetwork), device: under(attrDevice),
		link: under(attrLinkTag), once: under(attrIdempotency), receipt: under(attrReceipt),
	})}
}

// Domain returns the id of the domain.
func (h *Hasher) Domain() DomainID { return h.p.v.domain }

// Key returns the id of the domain's primary key, which new subjects are made under.
func (h *Hasher) Key() KeyID { return h.p.v.key }

func (h *Hasher) subject(kind Kind, m *mac, prefix []byte, text string) Subject {
	return Subject{Kind: kind, Key: h.p.v.key, ID: m.digest(prefix, text)}
}

// Phone returns the subject of a number, the zero Subject for the zero Number.
func (h *Hasher) Phone(n Number) Subject {
	if n.p == nil {
		return Subject{}
	}
	return h.subject(Phone, h.p.v.phone, n.p.v.text(), "")
}

// PhoneVersions returns the subjects of a number under every key that the hasher has, the primary first; none for the
// zero Number.
func (h *Hasher) PhoneVersions(n Number) []Subject {
	if n.p == nil {
		return nil
	}
	all := []Subject{h.Phone(n)}
	for _, older := range h.p.v.older {
		all = append(all, older.Phone(n))
	}
	return all
}

// rangeDigits is how many digits at the end a range leaves open.
const rangeDigits = 4

// Range returns the subject of the block of 10,000 numbers that a number lies
// in, the zero Subject for the zero Number and for one of four digits or fewer.
func (h *Hasher) Range(n Number) Subject {
	if n.p == nil || n.p.v.size <= rangeDigits {
		return Subject{}
	}
	return h.subject(Range, h.p.v.rng, n.p.v.text()[:n.p.v.size-rangeDigits], "")
}

// Account returns the subject of an account id, the zero Subject for "".
func (h *Hasher) Account(id string) Subject {
	if id == "" {
		return Subject{}
	}
	return h.subject(Account, h.p.v.account, nil, id)
}

// Device returns the subject of a device id, the zero Subject for "".
func (h *Hasher) Device(id string) Subject {
	if id == "" {
		return Subject{}
	}
	return h.subject(Device, h.p.v.device, nil, id)
}

// IP returns the subject of an IPv4 address, or of the /64 of an IPv6 address,
// which is what one subscriber has. It is the zero Subject for the zero Addr.
func (h *Hasher) IP(a netip.Addr) Subject {
	return h.address(IP, h.p.v.ip, a, 32, 64)
}

// Network returns the subject of the /24 of an IPv4 address, or of the /48 of
// an IPv6 address. It is the zero Subject for the zero Addr.
func (h *Hasher) Network(a netip.Addr) Subject {
	return h.address(Network, h.p.v.network, a, 24, 48)
}

// address hashes the first bits of an address behind the number of its family.
// An IPv4 address inside an IPv6 one is taken for what it is; a zone is dropped.
func (h *Hasher) address(kind Kind, m *mac, a netip.Addr, bits4, bits6 int) Subject {
	var in [9]byte // family, then at most 64 bits
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		in[0] = 4
		return h.subject(kind, m, in[:1+copy(in[1:], b[:bits4/8])], "")
	case a.Is6():
		b := a.As16()
		in[0] = 6
		return h.subject(kind, m, in[:1+copy(in[1:], b[:bits6/8])], "")
	}
	return Subject{}
}

// LinkTag returns the tag of an account in the link sets of phones.
func (h *Hasher) LinkTag(account Subject) LinkTag {
	d := h.p.v.link.digest(account.ID[:], "")
	return LinkTag(d[:8])
}

// What the idempotency subkey digests: a key that a caller chose, or a request.
var (
	onceKey  = []byte{'k'}
	onceBody = []byte{'b'}
)

// IdempotencyKey returns the digest under which a caller's key is kept.
func (h *Hasher) IdempotencyKey(key string) Digest {
	return h.p.v.once.digest(onceKey, key)
}

// Fingerprint returns the digest that tells a repeated request from another
// one. A plain hash of a body would be the hash of a phone number that can be tried out.
func (h *Hasher) Fingerprint(route string, body []byte) Digest {
	inner := sha256.New()
	_, _ = io.WriteString(inner, route) // a hash never fails
	_, _ = inner.Write([]byte{0})
	_, _ = inner.Write(body)
	var sum [sha256.Size]byte
	return h.p.v.once.digest(append(onceBody[:1:1], inner.Sum(sum[:0])...), "")
}

// Receipt returns the text that shows that a subject was erased at a time in unix seconds. Whoever has the keyring
// and the number can make it again; to anybody else it tells nothing, not even of which number it is.
func (h *Hasher) Receipt(s Subject, at int64) string {
	var in [SubjectSize + 8]byte
	d := h.p.v.receipt.digest(binary.BigEndian.AppendUint64(s.Append(in[:0]), uint64(at)), "") //nolint:gosec // kept bit by bit
	return tokenBytes.EncodeToString(d[:])
}

// Token reads a token that this domain gave out under a key that the hasher has: ParseToken, and ErrToken for
// any other.
func (h *Hasher) Token(token string) (Subject, error) {
	s, err := ParseToken(token)
	if err == nil && !h.knows(s.Key) {
		return Subject{}, ErrToken
	}
	return s, err
}

const redactedHasher = "[hasher]"

// Format prints a fixed word for every verb.
func (Hasher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedHasher) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Hasher) MarshalText() ([]byte, error) { return []byte(redactedHasher), nil }

// LogValue returns a fixed word.
func (Hasher) LogValue() slog.Value { return slog.StringValue(redactedHasher) }
