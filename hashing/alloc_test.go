//go:build !race

// The race detector makes sync.Pool drop what it holds at random, so that
// allocations are counted without it.

package hashing

import (
	"net/netip"
	"testing"
)

func TestHashingDoesNotAllocate(t *testing.T) {
	h := testHasher(t)
	n, err := Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("2001:db8::1")
	if got := testing.AllocsPerRun(1000, func() { _, _ = h.Subjects(n, "a", "d", ip) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
