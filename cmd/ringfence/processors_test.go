package main

import (
	"runtime"
	"testing"
)

func TestOneProcessorIsTwo(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, c := range []struct {
		env       string
		has, gets int
	}{{"", 1, 2}, {"", 3, 3}, {"1", 1, 1}} {
		t.Setenv("GOMAXPROCS", c.env)
		runtime.GOMAXPROCS(c.has)
		if spareProcessor(); runtime.GOMAXPROCS(0) != c.gets {
			t.Errorf("%d processors with GOMAXPROCS=%q become %d", c.has, c.env, runtime.GOMAXPROCS(0))
		}
	}
}
