package server

import (
	"runtime"
	"sync"
	"sync/atomic"
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
func inGroups[Key comparable](n int, key func(i int) Key, do func(i int)) {
	groups := make(map[Key][]int, n)
	for i := range n {
		groups[key(i)] = append(groups[key(i)], i)
	}
	var wg sync.WaitGroup
	for _, group := range groups {
		wg.Go(func() {
			for _, i := range group {
				do(i)
			}
		})
	}
	wg.Wait()
}
