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

// inOrder is spread, but calls do for positions of one key one after the other, in order. key reports false for a position that has none.
func inOrder[Key comparable](n int, key func(i int) (Key, bool), do func(i int)) {
	first := make([]int, 0, n) // of each key, and those without
	next := make([]int, n)     // of the same key, 0 for none
	last := make(map[Key]int, n)
	for i := range n {
		k, ok := key(i)
		if before, met := last[k]; ok && met {
			next[before] = i
		} else {
			first = append(first, i)
		}
		if ok {
			last[k] = i
		}
	}
	spread(len(first), func(f int) {
		do(first[f])
		for i := next[first[f]]; i != 0; i = next[i] {
			do(i)
		}
	})
}
