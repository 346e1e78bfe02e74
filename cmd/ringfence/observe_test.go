package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tool returns the path of a program that is not part of this project. Where it is missing the test is
// skipped, but not in CI, which installs it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; make tools installs it", name)
		}
		t.Skipf("SKIPPED: there is no %s; make tools installs it", name)
	}
	return path
}

// TestPromtool holds our rules and our metrics to Prometheus' own checks.
func TestPromtool(t *testing.T) {
	promtool := tool(t, "promtool")
	rules := exec.CommandContext(t.Context(), promtool, "check", "rules", "packaging/prometheus/rules.yml")
	if out, err := rules.CombinedOutput(); err != nil {
		t.Errorf("rules: %v\n%s", err, out)
	}
	p := start(t, t.TempDir())
	signups(t, p)
	metrics := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	metrics.Stdin = strings.NewReader(scrape(t, p.url))
	if out, err := metrics.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("metrics: %v\n%s", err, out)
	}
}

// signups leaves something to be seen in every metric.
func signups(t *testing.T, p *process) {
	t.Helper()
	for i := range 20 {
		var a struct{}
		if err := p.post(t, "/v1/assessments", fmt.Sprintf(`{"event":"signup","phone_number":"+1 202 555 01%02d"}`, i), &a); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.post(t, "/v1/assessments", `{}`, nil); err == nil {
		t.Fatal("nothing is refused")
	}
}

func scrape(t *testing.T, address string) string {
	t.Helper()
	return string(get(t, address+"/metrics"))
}

// TestDashboard lets a real Prometheus scrape a real server and asks it everything that the dashboard
// asks: each query has to have an answer.
func TestDashboard(t *testing.T) {
	program := tool(t, "prometheus")
	p := start(t, t.TempDir())
	prometheus := startPrometheus(t, program, strings.TrimPrefix(p.url, "http://"))
	waiting := dashboardQueries(t)
	if len(waiting) < 10 {
		t.Fatalf("only %d queries", len(waiting))
	}
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(2 * time.Minute); len(waiting) > 0; {
		select {
		case <-deadline:
			t.Fatalf("no data for: %q", waiting)
		case <-again.C:
			signups(t, p)
			waiting = unanswered(t, prometheus, waiting)
		}
	}
}

// dashboardQueries returns what the panels ask, for a server that is scraped every second.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("packaging/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			all = append(all, strings.ReplaceAll(target.Expr, "$__rate_interval", "10s"))
		}
	}
	return all
}

// unanswered asks queries and returns those without data.
func unanswered(t *testing.T, prometheus string, queries []string) []string {
	t.Helper()
	var left []string
	for _, q := range queries {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, prometheus+"/api/v1/query?query="+url.QueryEscape(q), nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Status string
			Data   struct{ Result []any }
		}
		err = json.NewDecoder(w.Body).Decode(&answer)
		_ = w.Body.Close()
		if err != nil || w.StatusCode != http.StatusOK && w.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: status %d, %v", q, w.StatusCode, err)
		}
		if len(answer.Data.Result) == 0 {
			left = append(left, q)
		}
	}
	return left
}

var listening = regexp.MustCompile(`msg="Listening on" address=(127\.0\.0\.1:\d+)`)

// startPrometheus starts one that scrapes a target every second, and returns its address.
func startPrometheus(t *testing.T, program, target string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: ringfence\n    static_configs: [{targets: [%q]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return "http://" + m[1]
		}
	}
	t.Fatal("Prometheus ended before it listened")
	return ""
}
