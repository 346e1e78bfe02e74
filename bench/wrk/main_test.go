package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoad runs two short rows from beginning to end.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: loads a server for two seconds")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("wrk is missing; make tools installs it")
		}
		t.Skip("SKIPPED: there is no wrk; make tools installs it")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "ringfence")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/ringfence").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, setting{program, "events.lua", dir, time.Second}, []row{{2, 0}, {2, 50}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\n| single | 2 | ") || !strings.Contains(out.String(), "\n| batch of 50 | 2 | ") {
		t.Error(out.String())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "load-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestParse reads what wrk prints, and what is no such thing.
func TestParse(t *testing.T) {
	m, err := parse("Running 1s test\nRequests/sec: 12\nRESULT 200 2000000 0 1500 2500 9000\n")
	if err != nil || m.requests != 200 || m.took != 2*time.Second || m.p50 != 1500*time.Microsecond || m.p99 != 9*time.Millisecond {
		t.Errorf("%+v, %v", m, err)
	}
	m.events = 400
	if m.rate() != 200 {
		t.Errorf("%v events a second", m.rate())
	}
	for _, text := range []string{"", "RESULT 1 2 3 4 5 6\n", "\nRESULT 1 2 3\n"} {
		if m, err := parse(text); err == nil {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

// TestCheck: figures are of answered assessments, or there are none.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		m    result
		r    row
		good bool
	}{
		{result{requests: 10, events: 10}, row{2, 0}, true},
		{result{requests: 10, events: 12}, row{2, 0}, true},
		{result{requests: 10, events: 13}, row{2, 0}, false},
		{result{requests: 10, events: 9}, row{2, 0}, false},
		{result{requests: 10, events: 10, failed: 1}, row{2, 0}, false},
		{result{}, row{2, 0}, false},
		{result{requests: 10, events: 500}, row{1, 50}, true},
		{result{requests: 10, events: 499}, row{1, 50}, false},
		{result{requests: 10, events: 551}, row{1, 50}, false},
	} {
		if err := c.m.check(c.r); (err == nil) != c.good {
			t.Errorf("%+v of %+v: %v", c.m, c.r, err)
		}
	}
}
