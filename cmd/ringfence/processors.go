package main

import (
	"os"
	"runtime"
)

// spareProcessor lets two goroutines run where there is one processor: one that waits for the disk to sync keeps its place for up to
// 10 ms, in which nothing else would run. GOMAXPROCS in the environment goes first.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
}
