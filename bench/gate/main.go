// Command gate compares benchmarks with what they were.
//
// As it is, it reads the output of go test -bench -benchmem from standard input and compares allocations with those of
// the file that it is given, which is such an output too. Up to ten allocations per operation may not grow at all.
// More than that may by one in fifty, rounded up, and bytes by a tenth and 64: growth of shared memory, and pools
// that the collector empties, fall now in one run, now in another.
//
// With -ratios, it runs every step of the path of an event and its floor, in turns, and compares how many times the
// floor each step takes with those of the file. Times themselves are only printed: machines differ.
//
// With -update it writes the file instead. With -table it prints steps and floors of the output that it reads.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// cost is what one operation of a benchmark takes.
type cost struct{ bytes, allocs int }

var line = regexp.MustCompile(`^(Benchmark\S*?)(?:-\d+)?\s.*?(\d+) B/op\s+(\d+) allocs/op`)

func main() {
	update := flag.Bool("update", false, "write the baseline")
	ratios := flag.Bool("ratios", false, "compare ratios")
	printTable := flag.Bool("table", false, "print steps and floors")
	flag.Parse()
	var err error
	switch {
	case *ratios:
		err = checkRatios(context.Background(), os.Stdout, flag.Arg(0), *update)
	case *printTable:
		err = echo(os.Stdin, os.Stdout)
	default:
		err = run(os.Stdin, os.Stdout, flag.Arg(0), *update)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

// echo passes an output on, and prints the table behind it.
func echo(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(io.TeeReader(in, out))
	if err != nil {
		return err
	}
	return table(out, text)
}

func run(in io.Reader, out io.Writer, path string, update bool) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	measured := read(text)
	if update {
		return os.WriteFile(path, text, 0o600)
	}
	base, err := os.ReadFile(path) //nolint:gosec // named by whoever runs it
	if err != nil {
		return err
	}
	return compare(out, read(base), measured)
}

// read finds the benchmarks in an output, by package and name. Of one that ran more than once the least counts.
func read(text []byte) map[string]cost {
	costs := map[string]cost{}
	s := bufio.NewScanner(bytes.NewReader(text))
	pkg := ""
	for s.Scan() {
		if m := pkgLine.FindStringSubmatch(s.Text()); m != nil {
			pkg = m[1] + "."
		}
		m := line.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		var c cost
		c.bytes, _ = strconv.Atoi(m[2])  // digits, as the pattern has it
		c.allocs, _ = strconv.Atoi(m[3]) // the same
		name := pkg + m[1]
		if old, ok := costs[name]; ok {
			c = cost{min(c.bytes, old.bytes), min(c.allocs, old.allocs)}
		}
		costs[name] = c
	}
	return costs
}

// compare reports every benchmark that takes more than it did, and every one
// that is missing.
func compare(out io.Writer, base, measured map[string]cost) error {
	worse := 0
	for name, was := range base {
		is, ok := measured[name]
		if ok && is.allocs <= was.allocs+leeway(was.allocs) && is.bytes <= was.bytes+was.bytes/10+64 {
			continue
		}
		worse++
		if !ok {
			_, _ = fmt.Fprintf(out, "%s did not run\n", name)
			continue
		}
		_, _ = fmt.Fprintf(out, "%s takes %d B and %d allocations, the baseline %d B and %d\n", name, is.bytes, is.allocs, was.bytes, was.allocs)
	}
	for name := range measured {
		if _, ok := base[name]; !ok {
			worse++
			_, _ = fmt.Fprintf(out, "%s has no baseline\n", name)
		}
	}
	if worse > 0 {
		return fmt.Errorf("%d benchmarks differ; if that is meant, run make bench-baseline and say why in the commit", worse)
	}
	_, _ = fmt.Fprintf(out, "%d benchmarks take no more than their baseline\n", len(base))
	return nil
}

// leeway is how many allocations more are taken for chance.
func leeway(allocs int) int {
	if allocs <= 10 {
		return 0
	}
	return (allocs + 49) / 50
}
