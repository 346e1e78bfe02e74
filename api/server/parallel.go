package server

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spread calls do for every position below n, on as many goroutines as there are
// processors.
func spread(n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// inGroups calls do for every position below n: one goroutine for each key, which
// takes its positions in order. So those of one key keep their order, and all others
// wait together for one sync of the store.
func inGroups[Key comparable](on *crew, n int, key func(i int) Key, do func(i int)) {
	groups := make(map[Key][]int, n)
	for i := range n {
		groups[key(i)] = append(groups[key(i)], i)
	}
	var wg sync.WaitGroup
	wg.Add(len(groups))
	for _, group := range groups {
		on.start(func() {
			defer wg.Done()
			for _, i := range group {
				do(i)
			}
		})
	}
	wg.Wait()
}

// crew runs functions at the same time, each on a goroutine that stays for a while to run another: a stack that has grown once for an
// assessment need not grow again. It is safe for concurrent use.
type crew struct {
	next chan func() // whoever has nothing to do receives
}

func newCrew() *crew { return &crew{make(chan func())} }

// stay is how long a goroutine of a crew has nothing to do until it ends.
const stay = time.Second

// start has do run, which must not panic.
func (c *crew) start(do func()) {
	select {
	case c.next <- do:
	default:
		go c.work(do)
	}
}

func (c *crew) work(do func()) {
	bored := time.NewTimer(stay)
	defer bored.Stop()
	for {
		do()
		bored.Reset(stay)
		select {
		case do = <-c.next:
		case <-bored.C:
			return
		}
	}
}
