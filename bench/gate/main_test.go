package main

import (
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
