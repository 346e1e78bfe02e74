package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// What it takes for a ratio to fail: in each of so many repeats in a row, the median of so many rounds is so much
// worse than the committed one. One repeat may meet a busy machine; three seldom do, since the floor meets it too.
const (
	rounds  = 7
	repeats = 3
	worse   = 1.25
)

// table prints every step with its floor, from outputs of go test -bench.
func table(out io.Writer, text []byte) error {
	all := readTimes(text)
	_, _ = fmt.Fprintln(out, "\n| step | takes | its floor | takes | ratio |\n|---|---|---|---|---|")
	for _, s := range steps {
		r, ok := s.ratio(all)
		if !ok {
			return fmt.Errorf("%s or %s did not run", s.of, s.floor)
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %.2f |\n", s.what, spent(all[s.of], s.cpu), floorName[s.floor], spent(all[s.floor], s.cpu), r)
	}
	return nil
}

var floorName = map[string]string{
	sha: "two compressions of SHA-256", pebble: "Pebble, durable Set of 200 bytes", gin: "empty Gin handler, client included",
}

func spent(t took, cpu bool) string {
	if cpu {
		return fmt.Sprintf("%.1f us of CPU, %.1f us", median(t.cpu), median(t.nanos)/1e3)
	}
	return fmt.Sprintf("%.0f ns", median(t.nanos))
}

// checkRatios measures the ratios and compares them with those of a file, or writes them there.
func checkRatios(ctx context.Context, out io.Writer, file string, update bool) error {
	dir, err := os.MkdirTemp("", "ringfence-gate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := compile(ctx, dir); err != nil {
		return err
	}
	measure := func() (map[string]took, error) { return play(ctx, dir) }
	if update {
		all, err := measure()
		if err != nil {
			return err
		}
		return os.WriteFile(file, ratiosText(all), 0o600)
	}
	text, err := os.ReadFile(file) //nolint:gosec // named by whoever runs it
	if err != nil {
		return err
	}
	return judge(out, readRatios(text), measure)
}

// judge measures until no step is worse than it was, at most repeats times.
func judge(out io.Writer, base map[string]float64, measure func() (map[string]took, error)) error {
	bad := slices.Clone(steps) // worse in every repeat so far
	for repeat := 1; repeat <= repeats && len(bad) > 0; repeat++ {
		all, err := measure()
		if err != nil {
			return err
		}
		var still []step
		for _, s := range steps {
			r, ok := s.ratio(all)
			if !ok || base[s.of] == 0 {
				return fmt.Errorf("%s did not run, or has no ratio: run make bench-baseline", s.of)
			}
			mark := ""
			if r > worse*base[s.of] {
				mark = fmt.Sprintf("  WORSE, %d of %d", repeat, repeats)
				if slices.Contains(bad, s) {
					still = append(still, s)
				}
			}
			_, _ = fmt.Fprintf(out, "%-46s %6.2f times its floor, was %6.2f (%s)%s\n", s.what, r, base[s.of], spent(all[s.of], s.cpu), mark)
		}
		bad = still
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d steps take a quarter more than they did, %d times in a row; if that is meant, run make bench-baseline and say why in the commit", len(bad), repeats)
	}
	return nil
}

func ratiosText(all map[string]took) []byte {
	var b bytes.Buffer
	for _, s := range steps {
		r, _ := s.ratio(all)
		_, _ = fmt.Fprintf(&b, "%s / %s %.3f\n", s.of, s.floor, r)
	}
	return b.Bytes()
}

func readRatios(text []byte) map[string]float64 {
	all := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 4 {
			all[f[0]] = number(f[3])
		}
	}
	return all
}

// packages returns those that steps and floors are in, each once.
func packages() []string {
	var all []string
	for _, s := range steps {
		for _, name := range []string{s.of, s.floor} {
			if pkg := pkgOf(name); !slices.Contains(all, pkg) {
				all = append(all, pkg)
			}
		}
	}
	return all
}

func pkgOf(name string) string { return name[:strings.LastIndexByte(name, '.')] }

func binary(dir, pkg string) string {
	return filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")+".test")
}

func compile(ctx context.Context, dir string) error {
	for _, pkg := range packages() {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary(dir, pkg), "./"+pkg) //nolint:gosec // our own words
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// play lets every step and every floor run, in turns, so that a machine that gets slower does so for both.
func play(ctx context.Context, dir string) (map[string]took, error) {
	var all bytes.Buffer
	for range rounds {
		done := map[string]bool{}
		for _, s := range steps {
			for name, times := range map[string]int{s.of: s.times, s.floor: s.floorTimes} {
				if done[name] {
					continue
				}
				done[name] = true
				if err := run1(ctx, &all, dir, name, times); err != nil {
					return nil, err
				}
			}
		}
	}
	return readTimes(all.Bytes()), nil
}

// run1 runs one benchmark once, in the folder of its package.
func run1(ctx context.Context, out *bytes.Buffer, dir, name string, times int) error {
	pkg := pkgOf(name)
	cmd := exec.CommandContext(ctx, binary(dir, pkg), "-test.run", "^$", "-test.bench", "^Benchmark"+strings.TrimPrefix(path.Ext(name), ".")+"$", //nolint:gosec // our own words
		"-test.benchtime", fmt.Sprint(times, "x"))
	cmd.Dir = pkg
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
