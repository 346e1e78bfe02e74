// Command sabotage breaks the product on purpose and holds that the harnesses notice.
//
// Each breakage replaces a few lines of the source while it is compiled (go's -overlay), so that production code has no
// hook for it, and runs one harness, which has to fail and to say why. A breakage whose lines are no longer in the source is an error: it has
// to move along with them. Without arguments every breakage is tried; with names, those.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, names []string) (code int) {
	for _, b := range breakages {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		began := time.Now()
		saw, err := b.try(ctx)
		took := time.Since(began).Round(time.Second / 10)
		if err != nil {
			fmt.Printf("%-28s NOT NOTICED (%v): %v\n", b.name, took, err)
			code = 1
			continue
		}
		fmt.Printf("%-28s noticed by %s (%v): %s\n", b.name, b.harness(), took, saw)
	}
	return code
}

func (b *breakage) harness() string {
	if b.faults != nil {
		return "faults " + strings.Join(b.faults, " ")
	}
	return b.test
}

// try breaks the source, runs the harness, and returns the line in which it says what it noticed.
func (b *breakage) try(ctx context.Context) (saw string, err error) {
	folder, err := os.MkdirTemp("", "ringfence-sabotage")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	overlay, err := b.overlay(folder)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var cmd *exec.Cmd
	if b.faults == nil {
		cmd = exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-overlay", overlay, "-run", b.test, b.pkg, "-rapid.nofailfile") //nolint:gosec // from the table
		cmd.Env = append(os.Environ(), "RINGFENCE_FAULTS=ci")
	} else {
		bin := filepath.Join(folder, "ringfence")
		build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", bin, "./cmd/ringfence") //nolint:gosec // from the table
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("does not compile: %s", out)
		}
		cmd = exec.CommandContext(ctx, "go", append([]string{"run", "./bench/faults", "-bin", bin}, b.faults...)...) //nolint:gosec // from the table
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", errors.New("the harness passed")
	}
	for line := range bytes.Lines(out) {
		if regexp.MustCompile(b.says).Match(line) {
			return shorten(string(line)), nil
		}
	}
	return "", fmt.Errorf("the harness failed and did not say %q: %s", b.says, shorten(string(out)))
}

func shorten(line string) string {
	line = strings.TrimSpace(line)
	const most = 200
	if len(line) > most {
		line = line[:most] + " ..."
	}
	return line
}

// overlay writes the broken files to a folder, and the list of them that the compiler reads.
func (b *breakage) overlay(folder string) (string, error) {
	replaced := map[string]string{}
	for i, e := range b.edits {
		path, err := filepath.Abs(e.file)
		if err != nil {
			return "", err
		}
		from := path
		if broken, again := replaced[path]; again {
			from = broken
		}
		source, err := os.ReadFile(from) //nolint:gosec // from the table
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			return "", fmt.Errorf("%s has the lines to break %d times: look again at what this breaks", e.file, n)
		}
		broken := filepath.Join(folder, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(broken, []byte(strings.Replace(string(source), e.old, e.with, 1)), 0o600); err != nil { //nolint:gosec // a folder of our own
			return "", err
		}
		replaced[path] = broken
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
