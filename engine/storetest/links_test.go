package storetest

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestIllegalHistories holds that histories no order of calls explains are called so.
func TestIllegalHistories(t *testing.T) {
	call := func(at int64, what linkCall, account int, saw linkSaw) porcupine.Operation {
		return porcupine.Operation{Input: linkOp{what, account}, Output: saw, Call: at, Return: at + 15}
	}
	full := []porcupine.Operation{
		call(0, claims, 0, linkSaw{count: 1, linked: true}),
		call(10, claims, 1, linkSaw{count: 2, linked: true}),
		call(20, claims, 2, linkSaw{count: 3, linked: true}),
	}
	for name, c := range map[string]struct {
		then  porcupine.Operation
		legal bool
	}{
		"no room":                {call(30, claims, 3, linkSaw{count: 3}), true},
		"one too many":           {call(30, claims, 3, linkSaw{count: 4, linked: true}), false},
		"two in one slot":        {call(30, claims, 3, linkSaw{count: 3, linked: true}), false},
		"freed behind its back":  {call(50, looks, 0, linkSaw{count: 2}), false},
		"released":               {call(30, releases, 0, linkSaw{generation: 1}), true},
		"a generation was lost":  {call(30, releases, 0, linkSaw{generation: 2}), false},
		"an outcome that claims": {call(30, proves, 0, linkSaw{count: 3, linked: true}), true},
		"stale before a release": {call(30, proves, 0, linkSaw{count: 3, linked: true, stale: true}), false},
	} {
		got := porcupine.CheckOperations(linkModel, append(full[:3:3], c.then))
		equal(t, name, got, c.legal)
	}
}
