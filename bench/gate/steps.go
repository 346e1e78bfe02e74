package main

import (
	"bufio"
	"bytes"
	"regexp"
	"slices"
	"strconv"
)

// step is a part of the path of an event, and the least that something like it can take, measured beside it.
type step struct {
	what       string // in words, for the table
	of         string // package and benchmark
	floor      string // the same of the floor
	times      int    // operations of a round
	floorTimes int
	cpu        bool // compare CPU time: both wait for others
}

// Packages, below the module's path.
const (
	pkgStore  = "engine/pebblestore"
	pkgServer = "api/server"
)

const (
	sha    = "hashing.Floor"      // two compressions of SHA-256
	pebble = pkgStore + ".Floor"  // a durable Set of 200 bytes by each of 64 callers
	gin    = pkgServer + ".Floor" // a Gin handler that does nothing, 64 connections
)

// steps are the path, in its order.
var steps = []step{
	{"parse +digits", "hashing.ParseCanonical", sha, 100_000, 50_000, false},
	{"parse and hash a number", "hashing.NormaliseAndHash", sha, 50_000, 50_000, false},
	{"hash six subjects", "hashing.Subjects", sha, 10_000, 50_000, false},
	{"decode a request", "api/intake.Decode", sha, 20_000, 50_000, false},
	{"count in a window", "engine/window.AddCount", sha, 50_000, 50_000, false},
	{"count a member", "engine/window.AddMember", sha, 20_000, 50_000, false},
	{"six records: load, count, measure", "engine/record.Record", sha, 5_000, 50_000, false},
	{"judge by the default policy", "scoring.JudgeDefault", sha, 50_000, 50_000, false},
	{"the same with reasons", "scoring.EvaluateDefault", sha, 20_000, 50_000, false},
	{"durable assessment in process, 64 callers", "bench.Assess", pebble, 10_000, 10_000, true},
	{"durable assessment over HTTP, 64 connections", "bench.HTTP", gin, 5_000, 5_000, true},
}

// took is the times of a benchmark, an element a run: nanoseconds, and CPU microseconds where it reports them.
type took struct{ nanos, cpu []float64 }

func (t took) of(cpu bool) []float64 {
	if cpu {
		return t.cpu
	}
	return t.nanos
}

var (
	pkgLine = regexp.MustCompile(`^pkg: github\.com/ringfence/ringfence/(\S+)`)
	nsOp    = regexp.MustCompile(`^Benchmark(\S*?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)
	cpuOp   = regexp.MustCompile(`\s([\d.]+) cpu-us/op`)
)

// readTimes finds the times in outputs of go test -bench, by package and benchmark.
func readTimes(text []byte) map[string]took {
	all := map[string]took{}
	pkg := ""
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if m := pkgLine.FindStringSubmatch(lines.Text()); m != nil {
			pkg = m[1]
		}
		m := nsOp.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		name := pkg + "." + m[1]
		t := all[name]
		t.nanos = append(t.nanos, number(m[2]))
		if m := cpuOp.FindStringSubmatch(lines.Text()); m != nil {
			t.cpu = append(t.cpu, number(m[1]))
		}
		all[name] = t
	}
	return all
}

// number reads digits, as the patterns have them.
func number(text string) float64 {
	f, _ := strconv.ParseFloat(text, 64)
	return f
}

// ratio returns the median of what a step took to what its floor took, run by run; false when either did not run.
func (s step) ratio(all map[string]took) (ratio float64, ok bool) {
	x, y := all[s.of].of(s.cpu), all[s.floor].of(s.cpu)
	var each []float64
	for i := range min(len(x), len(y)) {
		each = append(each, x[i]/y[i])
	}
	return median(each), len(each) > 0
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
