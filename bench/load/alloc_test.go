//go:build !race

// The race detector makes sync.Pool drop what it holds at random, so that
// allocations are counted without it.

package load

import (
	"testing"

	"github.com/ringfence/ringfence/engine"
)

func TestSignupsDoNotAllocate(t *testing.T) {
	h, s, ev := testHasher(t), Hot(1000).Source(1), new(engine.Event)
	if n := testing.AllocsPerRun(100, func() { s.Signup(h, ev) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
