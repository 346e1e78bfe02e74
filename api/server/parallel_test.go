package server

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestInGroups holds that those of one key keep their order, and that all keys are worked on at the same time.
func TestInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		for range 3 {
			var mu sync.Mutex
			did := map[int][]int{}
			together := new(sync.WaitGroup)
			together.Add(50)
			inGroups(c, 500, func(i int) int { return i % 50 }, func(i int) {
				if i < 50 { // the first of each key
					together.Done()
					together.Wait()
				}
				mu.Lock()
				defer mu.Unlock()
				did[i%50] = append(did[i%50], i)
			})
			if len(did) != 50 {
				t.Fatalf("%d keys", len(did))
			}
			for key, all := range did {
				if len(all) != 10 || !slices.IsSorted(all) {
					t.Errorf("of key %d: %v", key, all)
				}
			}
		}
		time.Sleep(stay + time.Second) // or the goroutines would outlive the test, which synctest refuses
	})
}

// TestACrewStays has a crew work twice: the second time on the goroutines of the first.
func TestACrewStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		before := runtime.NumGoroutine()
		for range 5 {
			var done atomic.Int64
			release := make(chan struct{})
			for range 20 {
				c.start(func() {
					<-release
					done.Add(1)
				})
			}
			synctest.Wait()
			if n := runtime.NumGoroutine() - before; n != 20 {
				t.Errorf("%d goroutines do the work of 20", n)
			}
			close(release)
			synctest.Wait()
			if done.Load() != 20 {
				t.Fatalf("%d of 20 were done", done.Load())
			}
		}
		time.Sleep(stay + time.Second)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d goroutines stay for ever", n)
		}
	})
}
