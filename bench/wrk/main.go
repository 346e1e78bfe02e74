// Command wrk lets wrk, a load generator that is not part of this project, ask a server that it starts for the
// purpose: the single call and the batch. It prints a table in Markdown.
//
// Every row has a server and a data folder of its own. Events are signups from the numbers kept for fiction, each with
// an account and an address never seen before. How many events were counted is what the server's metrics say, not what
// was sent. wrk sends the next request of a connection when the last is answered, and so waits with a server
// that is slow: its latencies are those of that many callers, and not of requests that come at their own times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/ringfence/ringfence/bench/load"
)

// row is what one run asks for: connections, and events a request; 0 for the single call.
type row struct{ connections, lines int }

var rows = []row{{1, 0}, {8, 0}, {64, 0}, {256, 0}, {1, 500}, {8, 500}, {64, 100}}

// setting is what all rows have in common.
type setting struct {
	program, script, dir string
	turn                 time.Duration
}

func main() {
	program := flag.String("program", "bin/ringfence", "the server")
	script := flag.String("script", "bench/wrk/events.lua", "what wrk sends")
	dir := flag.String("dir", "bin", "where data folders are made and removed: on the disk that is to be measured")
	turn := flag.Duration("turn", 15*time.Second, "of each row, whole seconds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, setting{*program, *script, *dir, *turn}, rows); err != nil {
		fmt.Fprintln(os.Stderr, "wrk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, s setting, rows []row) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("%w\nhint: make load installs it where apt-get may", err)
	}
	dir, err := os.MkdirTemp(s.dir, "load-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	numbers := filepath.Join(dir, "numbers")
	if err := os.WriteFile(numbers, []byte(strings.Join(load.Numbers(), "\n")+"\n"), 0o600); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s, %d processors for server and wrk together, %s, %v a row.\n\n"+
		"| call | connections | events a second | p50 | p90 | p99 of a request |\n|---|---|---|---|---|---|\n",
		version(ctx), runtime.NumCPU(), runtime.Version(), s.turn)
	for i, r := range rows {
		m, err := s.measure(ctx, filepath.Join(dir, fmt.Sprint(i)), numbers, r)
		if err != nil {
			return fmt.Errorf("%s, %d connections: %w", r.call(), r.connections, err)
		}
		_, _ = fmt.Fprintf(out, "| %s | %d | %.0f | %s | %s | %s |\n", r.call(), r.connections, m.rate(), ms(m.p50), ms(m.p90), ms(m.p99))
	}
	return nil
}

func (r row) call() string {
	if r.lines == 0 {
		return "single"
	}
	return fmt.Sprintf("batch of %d", r.lines)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// version is what wrk calls itself. It says so only when asked wrongly, and then ends with 1.
func version(ctx context.Context) string {
	text, _ := exec.CommandContext(ctx, "wrk", "-v").CombinedOutput()
	name, _, _ := strings.Cut(string(text), " [")
	return name
}

// measure runs one row with a server of its own.
func (s setting) measure(ctx context.Context, data, numbers string, r row) (result, error) {
	server, err := serve(ctx, s.program, data)
	if err != nil {
		return result{}, err
	}
	m, err := s.attack(ctx, server, numbers, r)
	return m, errors.Join(err, server.stop())
}

func (s setting) attack(ctx context.Context, server *server, numbers string, r row) (result, error) {
	path, lines := "/v1/assessments", r.lines
	if lines > 0 {
		path += "/batch"
	}
	threads := min(2, r.connections)
	cmd := exec.CommandContext(ctx, "wrk", fmt.Sprint("-t", threads), fmt.Sprint("-c", r.connections), fmt.Sprintf("-d%.0fs", s.turn.Seconds()), //nolint:gosec // our own script and numbers
		"--timeout", "15s", "-s", s.script, server.url+path, "--", numbers, fmt.Sprint(lines))
	text, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("%w\n%s", err, text)
	}
	m, err := parse(string(text))
	if err != nil {
		return m, err
	}
	m.events, err = server.assessed(ctx)
	return m, errors.Join(err, m.check(r))
}
