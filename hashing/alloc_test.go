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

// TestParsingDoesNotAllocate holds that whoever parses and hashes a number in the usual
// spellings, and does not pass it on, allocates nothing, and otherwise once.
func TestParsingDoesNotAllocate(t *testing.T) {
	h := testHasher(t)
	for _, raw := range []string{"+12025550143", "+1 (202) 555-0143"} {
		if got := testing.AllocsPerRun(1000, func() {
			n, _ := Parse(raw, "GB")
			if !h.Phone(n).Given() || !h.Range(n).Given() || n.Region() != "US" {
				t.Error("no number")
			}
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
		if got := testing.AllocsPerRun(1000, func() { keep, _ = Parse(raw, "GB") }); got != 1 {
			t.Errorf("%v allocations for a number that is kept", got)
		}
	}
}
