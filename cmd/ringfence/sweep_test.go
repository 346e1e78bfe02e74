package main

import (
	"testing"
	"time"
)

func TestSweepingTakesAtMostATwentiethOfTheTime(t *testing.T) {
	for _, took := range []time.Duration{0, time.Microsecond, 5 * time.Millisecond, time.Second, time.Hour} {
		for _, done := range []bool{false, true} {
			if wait := pause(took, done); 20*took > took+wait || wait < sweepLeast || done && wait < sweepRest {
				t.Errorf("%v of work, done %v: waits %v", took, done, wait)
			}
		}
	}
}
