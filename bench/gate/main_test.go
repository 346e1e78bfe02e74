package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const baseline = `goos: linux
BenchmarkA-2   100   12 ns/op   5 cpu-us/op   1000 B/op   7 allocs/op
BenchmarkB     100   12 ns/op   0 B/op   0 allocs/op
BenchmarkMany  100   12 ns/op   0 B/op   100 allocs/op
`

func TestGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.txt")
	var out strings.Builder
	if err := run(strings.NewReader(baseline), &out, path, true); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != baseline {
		t.Fatal(err)
	}
	for measured, want := range map[string]string{
		baseline: "3 benchmarks take no more",
		strings.Replace(baseline, "1000 B", "1164 B", 1):                      "3 benchmarks take no more",
		strings.Replace(baseline, "1000 B", "1165 B", 1):                      "BenchmarkA takes 1165 B",
		strings.Replace(baseline, "7 allocs", "8 allocs", 1):                  "BenchmarkA takes 1000 B and 8",
		strings.Replace(baseline, "100 allocs", "102 allocs", 1):              "3 benchmarks take no more",
		strings.Replace(baseline, "100 allocs", "103 allocs", 1):              "BenchmarkMany takes 0 B and 103",
		strings.Replace(baseline, "BenchmarkB", "BenchmarkC", 1):              "BenchmarkB did not run",
		baseline + "BenchmarkC 1 1 ns/op 0 B/op 0 allocs/op\n":                "BenchmarkC has no baseline",
		"pkg: github.com/ringfence/ringfence/a\n" + baseline:                  "a.BenchmarkA has no baseline",
		strings.Replace(baseline, "0 B/op   0 allocs", "0 B/op  1 allocs", 1): "BenchmarkB takes 0 B and 1",
		baseline + strings.Replace(baseline, "7 allocs", "8 allocs", 1):       "3 benchmarks take no more",
	} {
		out.Reset()
		err := run(strings.NewReader(measured), &out, path, false)
		if !strings.Contains(out.String(), want) || (err == nil) != strings.Contains(want, "no more") {
			t.Errorf("%v, %s, want %q", err, out.String(), want)
		}
	}
	if err := run(strings.NewReader(baseline), &out, path+"none", false); err == nil {
		t.Error("a baseline that is not there passes")
	}
}

// outputOf is an output in which every step takes times its floor, and the last one more.
func outputOf(times, last float64) []byte {
	var b strings.Builder
	one := func(name string, v float64) {
		pkg, bench := pkgOf(name), strings.TrimPrefix(name[len(pkgOf(name)):], ".")
		fmt.Fprintf(&b, "pkg: github.com/ringfence/ringfence/%s\nBenchmark%s-2 100 %.1f ns/op %.3f cpu-us/op 0 B/op 0 allocs/op\n", pkg, bench, v, v/1e3)
	}
	for range rounds {
		for _, name := range []string{sha, pebble, gin} {
			one(name, 1000)
		}
		for i, s := range steps {
			if i < len(steps)-1 {
				one(s.of, 1000*times)
			} else {
				one(s.of, 1000*last)
			}
		}
	}
	return []byte(b.String())
}

func TestRatios(t *testing.T) {
	base := readRatios(ratiosText(readTimes(outputOf(2, 3))))
	if len(base) != len(steps) || base[steps[0].of] != 2 || base[steps[len(steps)-1].of] != 3 {
		t.Fatalf("written and read again: %v", base)
	}
	for name, c := range map[string]struct {
		last []float64 // of each repeat
		fine bool
		runs int
	}{
		"as before":            {[]float64{3}, true, 1},
		"a quarter more":       {[]float64{3.74}, true, 1},
		"more, once":           {[]float64{3.8, 3.7}, true, 2},
		"more, twice":          {[]float64{3.8, 9, 3}, true, 3},
		"more, three in a row": {[]float64{3.8, 3.8, 3.8}, false, 3},
		"faster than ever":     {[]float64{1}, true, 1},
	} {
		runs := 0
		err := judge(io.Discard, base, func() (map[string]took, error) {
			runs++
			return readTimes(outputOf(2, c.last[runs-1])), nil
		})
		if (err == nil) != c.fine || runs != c.runs {
			t.Errorf("%s: %v after %d repeats", name, err, runs)
		}
	}
	if err := judge(io.Discard, map[string]float64{}, func() (map[string]took, error) { return readTimes(outputOf(2, 3)), nil }); err == nil {
		t.Error("a step without a committed ratio passes")
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := echo(strings.NewReader(string(outputOf(2, 3))), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| parse +digits | 2000 ns | two compressions of SHA-256 | 1000 ns | 2.00 |",
		"| durable assessment over HTTP, 64 connections | 3.0 us of CPU, 3.0 us | empty Gin handler, client included | 1.0 us of CPU, 1.0 us | 3.00 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if err := echo(strings.NewReader("nothing"), &out); err == nil {
		t.Error("a table of nothing")
	}
}
