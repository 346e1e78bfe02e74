package server

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestInOrder holds that every position is worked on once, that those of one key keep their order, and that as many as there are
// processors are worked on at the same time, whatever waits for what.
func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, keys, alone = 500, 50, 7 // every seventh position has no key
		keyOf := func(i int) (int, bool) { return i % keys, i%alone != 0 }
		workers := min(runtime.GOMAXPROCS(0), keys)
		var mu sync.Mutex
		did := map[int][]int{}
		underWay, most := 0, 0
		together := make(chan struct{})
		inOrder(n, keyOf, func(i int) {
			mu.Lock()
			underWay++
			if most = max(most, underWay); underWay == workers {
				select {
				case <-together:
				default:
					close(together)
				}
			}
			mu.Unlock()
			<-together
			mu.Lock()
			defer mu.Unlock()
			underWay--
			key, ok := keyOf(i)
			if !ok {
				key = -1 - i
			}
			did[key] = append(did[key], i)
		})
		if most < workers || most > runtime.GOMAXPROCS(0) {
			t.Errorf("%d at a time, want %d", most, workers)
		}
		total := 0
		for key, all := range did {
			total += len(all)
			if !slices.IsSorted(all) {
				t.Errorf("of key %d: %v", key, all)
			}
		}
		if total != n || len(did) != keys+(n+alone-1)/alone {
			t.Errorf("%d positions of %d keys", total, len(did))
		}
		inOrder(0, keyOf, func(int) { t.Error("there is nothing to do") })
	})
}
