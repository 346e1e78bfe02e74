package hashing

import "encoding/binary"

// Kind says what a pseudonym stands for. The values are part of the store
// format: they never change and never get reused.
type Kind uint8

// The kinds of subject. Zero is no subject at all.
const (
	Phone   Kind = 1 // one phone number
	Range   Kind = 2 // a phone number without its last four digits
	Account Kind = 3 // an account id of the platform
	IP      Kind = 4 // an IPv4 address, or the /64 of an IPv6 address
	Network Kind = 5 // the /24 of an IPv4 address, or the /48 of an IPv6 address
	Device  Kind = 6 // a device id of the platform

	// Kinds is one more than the highest kind, for arrays indexed by Kind.
	Kinds = 7
)

var kindNames = [Kinds]string{"none", "phone", "range", "account", "ip", "network", "device"}

// String returns the kind's name in lower case, "none" for what is no kind.
func (k Kind) String() string {
	if k >= Kinds {
		return kindNames[0]
	}
	return kindNames[k]
}

// KeyID names one pair of domain and key. Two subjects with different key ids
// cannot be compared, not even when they stand for the same number.
type KeyID uint16

// DomainID names one pseudonymisation domain: a tenant and a purpose.
type DomainID uint16

// IDSize is the length of a pseudonym in bytes.
const IDSize = 16

// SubjectSize is the length of a Subject as part of a store key in bytes:
// kind, key id (big-endian), pseudonym.
const SubjectSize = 1 + 2 + IDSize

// Subject is the pseudonym of a number, a range, an account, an address or a
// device. It is the only identity that the packages above this one know. It
// is comparable and free of pointers. The zero Subject means "not given".
//
// A Subject is pseudonymous, not anonymous: whoever holds the key can find
// out which number it stands for by trying all of them.
type Subject struct {
	Kind Kind
	Key  KeyID
	ID   [IDSize]byte
}

// Given reports whether s stands for anything.
func (s Subject) Given() bool { return s.Kind != 0 }

// Append appends the SubjectSize bytes of s as a store key to dst.
func (s Subject) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, byte(s.Kind)), uint16(s.Key))
	return append(dst, s.ID[:]...)
}

// SubjectFromBytes is the inverse of Append. It reports false when b is not
// SubjectSize bytes long or names no kind.
func SubjectFromBytes(b []byte) (Subject, bool) {
	if len(b) != SubjectSize || b[0] == 0 || b[0] >= Kinds {
		return Subject{}, false
	}
	s := Subject{Kind: Kind(b[0]), Key: KeyID(b[1])<<8 | KeyID(b[2])}
	copy(s.ID[:], b[3:])
	return s, true
}

// Tag is a 4-byte stand-in for s inside the records of other subjects, where
// distinct members are counted. It is uniformly distributed.
func (s Subject) Tag() uint32 {
	b := s.ID[IDSize-4:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// LinkTag stands for an account in a number's set of linked accounts. It is
// made under a subkey of its own, so that the links of a number cannot be
// joined with the records of accounts without the key.
type LinkTag [8]byte

// Digest is a keyed digest of an idempotency key or of a request body.
type Digest [16]byte
