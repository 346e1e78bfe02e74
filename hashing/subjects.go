package hashing

import "net/netip"

// Subjects are those who took part in one event, indexed by Kind. A zero
// Subject was not given.
type Subjects [Kinds]Subject

// Subjects hashes all who took part in one event, and the account once more as a
// link tag. What is zero was not given. It does not allocate.
//
// There is deliberately no type for what it takes: a value that holds a number
// and an account id side by side would sooner or later be logged.
func (h *Hasher) Subjects(number Number, account, device string, ip netip.Addr) (Subjects, LinkTag) {
	s := Subjects{
		Phone:   h.Phone(number),
		Range:   h.Range(number),
		Account: h.Account(account),
		IP:      h.IP(ip),
		Network: h.Network(ip),
		Device:  h.Device(device),
	}
	if !s[Account].Given() {
		return s, LinkTag{}
	}
	return s, h.LinkTag(s[Account])
}
