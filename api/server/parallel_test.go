package server

import (
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

// TestACrewStays holds that those who have worked wait for more, and not for ever.
func TestACrewStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		var done atomic.Int64
		release := make(chan struct{})
		work := func() {
			<-release
			done.Add(1)
		}
		taken := func() (n int) { // by those who have nothing to do
			for {
				select {
				case c.next <- work:
					n++
				default:
					return n
				}
			}
		}
		for range 20 {
			c.start(work)
		}
		synctest.Wait()
		if n := taken(); n != 0 {
			t.Errorf("%d have nothing to do while all 20 work", n)
		}
		close(release)
		synctest.Wait()
		release = make(chan struct{})
		if n := taken(); n != 20 {
			t.Errorf("%d of 20 stay", n)
		}
		close(release)
		synctest.Wait()
		if n := done.Load(); n != 40 {
			t.Errorf("%d of 40 were done", n)
		}
		time.Sleep(stay + time.Millisecond)
		synctest.Wait()
		if n := taken(); n != 0 {
			t.Errorf("%d stay for ever", n)
		}
	})
}
